"""A near-certain phrase that a text says of itself, and one that it only quotes or discusses."""

from __future__ import annotations

import pytest

from lowbg.config import Artifacts, Policy
from lowbg.detector import Detector
from lowbg.scorers.phrases.quoting import stated

SAID = [
    "As an AI language model, I don't have a body, but these shorts look comfortable.",
    "As an AI, I cannot give a personal opinion. The house has three rooms.",
    "I'm a large language model, so I can't taste it. Add salt.",
    "I'm sorry, but as an AI language model I cannot write this review.",
    "As of my last knowledge update in September 2021, the bridge was still closed.",
    "As of my last update in April 2023, two ferries ran a day.",
    "The old mill reopened in May.citeturn0search3 It grinds rye.",
    "The mill reopened. :contentReference[oaicite:0]{index=0}",
    "See the timetable: https://example.org/ferry?utm_source=chatgpt.com",
    "Como modelo de lenguaje, no puedo probar el plato, pero suele llevar azafrán.",
    "Como uma IA, não tenho experiências pessoais com a praia.",
    "En tant que modèle de langage, je ne peux pas visiter le musée.",
    "Als KI-Sprachmodell habe ich keine eigene Meinung zur neuen Brücke.",
    "Als KI kann ich den Geschmack nicht beurteilen.",
    "Как языковая модель, я не могу дать совет по этому поводу.",
    "На момент моего последнего обновления мост был закрыт.",
    "作为一个AI语言模型，我没有个人观点，但这座桥很美。",
    "截至我的知识更新，这座桥仍然关闭。",
    "私はAIなので、実際に食べることはできません。",
    "言語モデルとして、私は個人的な意見を持っていません。",
    # In a language without a list, and in none.
    "Bron är stängd i dag. As an AI language model, I cannot check the timetable.",
    "【85†L261-L264】",
    # What heads an answer is no word of saying; nor is what stands in another sentence.
    "Answer: As an AI language model, I don't have a favourite. Blue is often liked.",
    "It said so itself. As an AI language model, I have no view of the new bridge.",
    "I am an AI assistant created by OpenAI to answer questions about ferries.",
]
"""Each short: none is long enough for the tables."""

QUOTED = [
    'The review began "As an AI language model, I don\'t have a body" and went on from there.',
    "The review began “As an AI, I cannot wear shoes” and had five stars.",
    "She read aloud: «Como modelo de lenguaje, no puedo opinar», and laughed.",
    "Die Rezension begann mit „Als KI-Sprachmodell habe ich keine Füße“, mit fünf Sternen.",
    "Отзыв начинался так: «Как языковая модель, я не могу носить обувь».",
    "这条评论写着“作为一个AI语言模型，我没有脚”。",
    "レビューには「私はAIなので、食べられません」とあった。",
    "His answer was 'As an AI language model, I cannot' and nothing else.",
    "The page still had `As an AI language model, I cannot` in its second line.",
    "> As an AI language model, I cannot wear shoes.\n\nFive stars, though.",
    # Not between marks, but about such text.
    "ChatGPT: I apologize, but as an AI language model, I cannot compile your code.\nMe: read.",
    "Spam is found easily: search for As an AI language model, I, and see what chatbots sell.",
    "A list of AI phrases: as of my last knowledge update; as an AI language model, I cannot.",
    "Links with utm_source=chatgpt.com tell a site's owner how many readers ChatGPT sends.",
    "LLMs leave citeturn0search3 in what people paste.",
    "Sprachmodelle verraten sich. Als KI-Sprachmodell habe ich keine Meinung, steht dann da.",
    "Нейросети выдают себя: как языковая модель, я не могу.",
    "大模型常说：作为一个AI语言模型，我没有观点。",
    # Another machine than ChatGPT, or what somebody is told to say, without any marks.
    "When I asked Claude for its view it said nothing more than As an AI, I cannot. Odd.",
    "Gemini was no help: I'm a large language model, so I can't taste it. I asked my mother.",
    "OpenAI's product has it in every answer. As an AI language model, I don't have a body.",
    "The machine answered: As an AI, I cannot give a personal opinion. That was the interview.",
    "The student's essay began with As an AI language model, I cannot, in its first line.",
    "The assistant refused. As an AI, I cannot help with that, it wrote, and we went home.",
    "Perguntei ao programa e ele disse: Como uma IA, não tenho experiências pessoais. Rimos.",
    "Ich fragte, und die Antwort war: Als KI habe ich keine eigene Meinung. Na gut.",
    "Programme répond toujours: En tant que modèle de langage, je ne peux pas. Bref.",
    "El programa respondió: Como modelo de lenguaje, no puedo opinar. Y ya está.",
    "Программа ответила: как языковая модель, я не могу дать совет. Вот и всё.",
    "我问了文心一言。作为一个AI语言模型，我没有个人观点。就这样。",
    "它回答：作为一个AI语言模型，我没有个人观点。就这样。",
    "私はAIなので、実際に食べることはできません、と答えた。",
]

NO_SUCH_PHRASE = [
    "As an AI researcher, I spent a year in Lyon, and I cannot say that it helped.",
    "Désolé, mais en tant que père, je ne peux pas accepter cela.",
    "Es tut mir leid, aber als Lehrer habe ich dafür keine Zeit.",
    "Como ia não havia pressa, fui a pé até a praia.",
    "E claro, posso estar errado sobre isto.",
    "Mi fecha de corte es el día quince de cada mes, según el banco.",
    "As of my last update, the baby was sleeping through the night.",
    "We are sorry, but we cannot fulfill your request for a refund.",
    "我是一个人工智能程序员，住在杭州。",
    "私は言語モデルを研究しています。",
    "GPT-3, as an AI language model developed in 2020, writes plausible sentences.",
    "OpenAI's usage policies changed again, and so did its prices.",
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.mark.parametrize("text", SAID)
def test_what_a_text_says_of_itself_decides(detector: Detector, text: str) -> None:
    row = detector.score([text]).to_pylist()[0]
    assert row["verdict"] == "ai"
    assert row["ai_score"] is None
    assert row["artifacts"]
    assert row["reasons"][0].startswith(f"contains '{row['artifacts'][0]}' (")
    assert row["reasons"][0].endswith(": near-certain")


@pytest.mark.parametrize("text", QUOTED)
def test_what_is_quoted_or_discussed_decides_nothing(detector: Detector, text: str) -> None:
    row = detector.score([text]).to_pylist()[0]
    assert row["verdict"] != "ai"
    assert row["artifacts"] == []
    assert [phrase for phrase in row["phrases"] if phrase.startswith("quoted:")]


@pytest.mark.parametrize("text", NO_SUCH_PHRASE)
def test_what_people_say_is_none(detector: Detector, text: str) -> None:
    row = detector.score([text]).to_pylist()[0]
    assert row["verdict"] != "ai"
    assert row["artifacts"] == []
    assert not [phrase for phrase in row["phrases"] if phrase.startswith("quoted:")]


def test_as_a_report_it_decides_nothing() -> None:
    told = Detector(Policy(artifacts=Artifacts.REPORT)).score(SAID).to_pylist()
    assert {row["verdict"] for row in told} == {"unscored"}
    assert all(row["artifacts"] for row in told)


def test_quoted_hits_are_no_hits(detector: Detector) -> None:
    said, quoted = detector.score(
        [SAID[0] + " It rained.", QUOTED[0].replace("a body", "a body, it said,")]
    ).to_pylist()
    assert said["phrase_hits_per_1k_words"] > 0
    assert quoted["phrase_hits_per_1k_words"] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("It's 5\" wide. X is here.", True),  # An inch is no quotation: nothing closes it.
        ('He said "no". X is here, "yes".', True),
        ('He said "X is here", and no.', False),
        ("Don't say X. It won't do.", True),
        ("'X' is what it said.", False),
        ('"Elsewhere a mark is open\nX is on its own line. "', True),
        ("As ChatGPT, X.", True),
        ("I am ChatGPT. X.", True),
        ("X, says ChatGPT.", False),
        ("Where X, a language model like me is lost.", True),
        # However long the line is, and what is quoted before it and around it.
        (f'"{"Long ago. " * 400}" ends here, and "X is here" follows.', False),
        (f'"{"Long ago. " * 400}" ends here. X is here, "yes".', True),
        (f'"X is here. {"Long ago. " * 400}" So it ends.', False),
        (f"> {'Long ago. ' * 400} X is here.", False),
        ('> Long ago.\n"No." X is here.', True),
    ],
)
def test_where_a_phrase_stands(text: str, says: bool) -> None:
    data = text.encode()
    at = data.index(b"X")
    assert stated(data, [(at, at + 1)]) == [says]
