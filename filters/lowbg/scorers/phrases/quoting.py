"""Whether a text that holds a near-certain phrase says it itself, or quotes or discusses it.

Only looked into where there is such a phrase, which is seldom: plain Python. In doubt it is quoted:
what decides alone has to be near-certain.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

_MARKS: Final = re.compile("|".join('"“”„‟«»「」『』〝〞〟＂').encode())
"""What opens or closes a quotation: languages use the same marks either way round."""

_OPENED: Final = re.compile(r"(?:^|[\s(\[{:—–-])['‘‚`][^'‘’`\n]{0,60}$")
_CLOSED: Final = re.compile(r"^[^\n]{0,400}?['’‘`](?!\w)")
"""A single quotation mark or back-tick before the phrase, and one behind it: no apostrophe."""

_BLOCK_QUOTE: Final = re.compile(rb"[ \t]*(?:>|\|)")

_TALK: Final = re.compile(
    r"(?<!i am )(?<!i'm )(?<!i’m )(?<!as )\b(?:"
    r"chat[ -]?gpt\w*|(?:chat|talk)[ -]?bots?|gpt[- ]?[2-9]\w*|llms?|bing chat|github copilot"
    r"|(?:an |the |large |other |these |most |many |of )language models?(?! like (?:me|myself))"
    r"|language models(?! like (?:me|myself))"
    r"|(?:ai|machine|chatbot|llm)[ -](?:generated|written|detect\w+|slop|phrases?|text|content)"
    r"|generative ai|prompt (?:engineering|injection)|system prompts?|jailbreak\w*|the prompts?"
    r"|chatterbots?|modelos? de len?guajes? (?:como|grandes?|extensos?)"
    r"|modelos de linguagem|modelos de lenguaje|ia generativa|modèles de langage"
    r"|ia générative|(?:große[nr]? )?sprachmodellen?|generative ki|ki-generiert\w*"
    r"|языковы[ехм]\w* модел\w+|чат-?бот\w*|нейросет(?:и|ей|ям|ями|ях)|промпт\w*"
    r"|claude|gemini|copilot|deepseek|mistral|llama|grok|siri|alexa|google bard|bard|gigachat"
    r"|(?<!by )(?:openai|anthropic)|алис[аыуе]|яндекс ?gpt"
    r")\b|文心一言|通义千问|豆包|语言模型(?:们|的|是|会|在|经常)|生成式|大模型|聊天机器人|提示词|生成AI|チャットボット|プロンプト",
    re.IGNORECASE,
)
"""Words of those who write about machines that write. "As ChatGPT, I" is none of them."""

_SAYS: Final = re.compile(
    r"(?:\b(?:said|says|repl(?:ied|ies)|answered|answers|responded|responds|wrote|writes"
    r"|t(?:old|ells|elling) \w+|(?:answer|response|reply) (?:was|is|came)"
    r"|(?:began|begins?|start(?:s|ed)?|open(?:s|ed)|end(?:s|ed)?) with"
    r"|dijo|dice|respondió|responde|contestó|escribió|respuesta fue|disse|diz|respondeu|escreveu"
    r"|resposta foi|dit|répondu|répond|réponse (?:était|fut)|sagte|sagt|antwortete|antwortet"
    r"|schrieb|schreibt|antwort (?:war|ist|lautete)|ответил\w*|отвеча\w+|сказал\w*|говорит"
    r"|написал\w*|пишет)\b|回答|回复|写道|说)[^.!?。！？\n]{0,40}$",
    re.IGNORECASE,
)
_SAID: Final = re.compile(
    r"^[^.!?。！？\n]{0,120}?(?:, (?:it|he|she|they) (?:said|says|wrote|writes|replied|answered)\b"
    r"|と(?:答え|言|返|書))",
    re.IGNORECASE,
)
"""Who says it, in the sentence before the phrase or behind it. "Answer:" heads AI text, too."""

_BEFORE: Final = 4 * 70
_BEHIND: Final = 4 * 402
"""Bytes on either side of a phrase that are looked at."""

_BLANK: Final = " "


def stated(data: bytes, places: Sequence[Sequence[int]]) -> list[bool]:
    """Of each near-certain phrase of a text whether the text itself says it.

    `data` is the text's UTF-8, `places` first and last byte + 1 of each phrase, in rising order.
    None is said by a text that talks about machines that write, apart from the phrases themselves;
    nor is one behind an odd number of quotation marks in its line, if one comes later in the text.
    """
    rest, at = [], 0
    for start, end in places:
        rest.append(data[at:start].decode("utf-8", "ignore"))
        at = max(at, end)
    rest.append(data[at:].decode("utf-8", "ignore"))
    if _TALK.search(_BLANK.join(rest)):
        return [False] * len(places)
    marks = [mark.start() for mark in _MARKS.finditer(data)]
    says, line, at = [], 0, 0
    for start, end in places:
        line = max(line, data.rfind(b"\n", at, start) + 1)
        at = start
        between = (bisect_left(marks, start) - bisect_left(marks, line)) % 2
        closed = bool(marks) and marks[-1] >= end
        says.append(not ((between and closed) or _set_apart(data, line, start, end)))
    return says


def _set_apart(data: bytes, line: int, start: int, end: int) -> bool:
    """Whether the phrase, in the line that begins at `line`, is told as what somebody says.

    It stands between single quotation marks, in a block of what somebody else said, or beside a
    word of saying.
    """
    if _BLOCK_QUOTE.match(data, line):
        return True
    before = data[max(line, start - _BEFORE) : start].decode("utf-8", "ignore")
    if _SAYS.search(before):
        return True
    opened = _OPENED.search(before)
    after = data[end : end + _BEHIND].decode("utf-8", "ignore")
    return bool(_SAID.search(after) or (opened and _CLOSED.search(after)))
