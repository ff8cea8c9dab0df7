"""`lowbg gate` from the command line: pass, fail, undecided, and every way to ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from examples.make_sample import ai_documents, human_documents
from typer.testing import Result

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
CRAWL = Path(__file__).resolve().parents[3] / "shared" / "data" / "crawl"

POLICY = """
[gate]
max_ai_share = 0.10
min_scored_documents = 5
max_quarantined_share = 0.0
min_human_token_share = 0.5
[gate.max_phrase_hits]
assistant_self_reference = 0
chat_boilerplate = 0
"""


def write(path: Path, documents: list[dict[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    lines = "".join(json.dumps(document) + "\n" for document in documents).encode()
    path.write_bytes(zstandard.compress(lines) if path.suffix == ".zst" else lines)
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write(tmp_path / "clean" / "human.jsonl", human_documents()).parent


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    human = human_documents()
    write(tmp_path / "mixed" / "a.jsonl.zst", human[:25])
    return write(tmp_path / "mixed" / "b.jsonl", human[25:] + ai_documents()).parent


def test_a_clean_corpus_passes(run: Run, clean: Path, policy: Path) -> None:
    result = run("gate", clean, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"lowbg: gate passed: {clean}: 50 records")
    assert "FAIL" not in result.stdout
    assert "max_ai_share" in result.stdout
    assert run("gate", clean, "--policy", policy, "-q").stderr == ""


def test_a_contaminated_one_fails_with_the_reason_and_where(
    run: Run, mixed: Path, policy: Path, tmp_path: Path
) -> None:
    to = tmp_path / "gate.json"
    result = run("gate", mixed, "--policy", policy, "--json", to)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"lowbg: error: gate failed: {mixed}")
    assert result.stderr.count("\n") == 1
    report = json.loads(to.read_bytes())
    failed = {f["rule"]: f for f in report["findings"] if f["status"] == "fail"}
    assert failed.keys() == {"max_ai_share", "max_phrase_hits.chat_boilerplate"}
    assert failed["max_ai_share"]["places"][0]["path"] == str(mixed / "b.jsonl")
    hits = failed["max_phrase_hits.chat_boilerplate"]["places"]
    lines = (mixed / "b.jsonl").read_text(encoding="utf-8").splitlines()
    for place in hits:
        assert place["path"] == str(mixed / "b.jsonl")
        # The record is one of the AI documents, which come last.
        assert len(lines) - len(ai_documents()) <= place["record"] < len(lines)
    assert "b.jsonl: 10 of" in result.stdout


def test_too_small_a_sample_is_undecided_and_says_so(
    run: Run, clean: Path, tmp_path: Path, policy: Path
) -> None:
    args = ("gate", clean, "--max-ai-share", "0.05", "--sample", "10", "--seed", "1")
    result = run(*args)
    assert result.exit_code == 1
    assert "lowbg: error: gate undecided:" in result.stderr
    assert "sample of 10 out of 50 documents (seed 1)" in result.stderr
    assert "too few documents to decide" in " ".join(result.stdout.split())
    allowed = run(*args, "--undecided", "pass", "--junit", tmp_path / "j.xml")
    assert allowed.exit_code == 0
    assert "lowbg: warning: gate undecided:" in allowed.stderr
    assert "<skipped" in (tmp_path / "j.xml").read_text(encoding="utf-8")
    # A failure stays one.
    assert run(*args, "--undecided", "pass", "--min-scored-documents", 3).exit_code == 0
    sure = run("gate", clean, "--max-ai-share", "0.5", "--sample", "40")
    assert sure.exit_code == 0


@pytest.mark.slow
def test_a_policy_s_limits_can_be_overridden(run: Run, mixed: Path, policy: Path) -> None:
    args = ("gate", mixed, "--policy", policy, "-q")
    assert run(*args, "--max-ai-share", "0.9").exit_code == 1
    looser = (*args, "--max-ai-share", "0.9", "--max-phrase-hits", "chat_boilerplate=50")
    assert run(*looser).exit_code == 0
    assert run(*looser, "--min-human-token-share", "0.999").exit_code == 1
    assert run(*looser, "--min-scored-documents", "1000").exit_code == 1
    by_host = ("--max-ai-share-by", "host=0.5", "--min-group-documents", "5")
    hosts = run(*looser, *by_host)
    assert hosts.exit_code == 1
    assert "blog.example.com" in hosts.stdout
    assert run(*looser, "--max-ai-share-by", "host=0.5").exit_code == 0  # Too few to judge.
    # 10 of 55 are AI: 18.2 %, and up to 30.3 %.
    raw = (*looser[:-4], "--max-phrase-hits", "chat_boilerplate=50", "--max-ai-share", "0.19")
    assert run(*raw).exit_code == 1
    assert run(*raw, "--statistic", "raw").exit_code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to judge by"),
        (["--max-ai-share-by", "planet=0.1"], "'planet' is none of language, year"),
        (["--max-ai-share-by", "host"], "write GROUP=SHARE"),
        (["--max-ai-share-by", "host=2"], "'2' is not between 0 and 1"),
        (["--max-ai-share-by", "host=nan"], "'nan' is no share"),
        (["--max-ai-share-by", "source=0.1"], "source_field go together"),
        (["--max-phrase-hits", "refusal=x"], "'x' is no whole number"),
        (["--max-phrase-hits", "refused=1"], "did you mean 'refusal'"),
        (["--max-ai-share", "0.1", "--seed", "1"], "--seed: only with --sample"),
        (["--max-ai-share-by", "shard=0.1", "--statistic", "estimate"], "no estimates by shard"),
        (["--max-ai-share", "0.1", "--json", "no/such/x.json"], "its directory doesn't exist"),
        (["--max-ai-share", "0.1", "--json", "x", "--junit", "x"], "name another file"),
        (["--max-ai-share", "0.1", "--json", "-", "--junit", "-"], "name two files"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_read(
    args: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    # The input doesn't exist: it would be complained of otherwise.
    result = run("gate", tmp_path / "absent.jsonl", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_stdin_and_json_to_stdout(run: Run, mixed: Path) -> None:
    data = (mixed / "b.jsonl").read_bytes()
    result = run("gate", "-", "--max-ai-share", "0.01", "--json", "-", stdin=data)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["status"], report["subject"]) == ("fail", "standard input")
    assert report["records"] == data.count(b"\n")


def test_a_cut_input_ends_with_3(run: Run, mixed: Path) -> None:
    path = mixed / "a.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-20])
    result = run("gate", mixed, "--max-ai-share", "0.01")
    assert result.exit_code == 3
    assert "gate could not be judged" in result.stderr
    assert "ERROR" in result.stdout


@pytest.mark.slow
def test_an_input_that_cannot_be_read_does_not_pass(run: Run, clean: Path, tmp_path: Path) -> None:
    """AI text under another field's name is none that the other rules could see."""
    unread = [{"body": document["text"]} for document in ai_documents()]
    write(clean / "b.jsonl", unread)
    args = ("--max-ai-share", "0.2")
    by_data = run("gate", clean, *args)
    assert run("filter", clean, "-o", tmp_path / "out", "-q").exit_code == 0
    for result in (by_data, run("gate", tmp_path / "out", *args)):
        assert result.exit_code == 3
        assert "readable_inputs" in result.stderr
        assert "no record of 1 of the 2 inputs can be read" in " ".join(result.stdout.split())
        assert "b.jsonl" in result.stdout
    assert run("gate", clean, *args, "--max-quarantined-share", "0.5").exit_code == 0
    assert run("gate", clean, *args, "--max-quarantined-share", "0.1").exit_code == 1


def test_files_that_are_not_looked_at_fail_the_gate(run: Run, clean: Path, tmp_path: Path) -> None:
    """Nothing says of a file with an unknown ending that it is clean; a quiet run says so, too."""
    write(clean / "ai.jsonl.lz4", ai_documents())
    (clean / "README.md").write_text("A data set", encoding="utf-8")
    to = tmp_path / "gate.json"
    by_data = run("gate", clean, "--max-ai-share", "0.2", "-q", "--json", to)
    readme, unknown = sorted(json.loads(to.read_bytes())["left_out"], key=lambda each: each["path"])
    assert (unknown["path"], unknown["kind"]) == (str(clean / "ai.jsonl.lz4"), "ending")
    assert "decompress it on its way: lz4 -dc" in unknown["reason"]
    assert readme["kind"] == "metadata"
    assert run("filter", clean, "-o", tmp_path / "out", "-q").exit_code == 0
    for result in (by_data, run("gate", tmp_path / "out", "--max-ai-share", "0.2", "-q")):
        assert result.exit_code == 1
        assert "scored, 1 file left out" in " ".join(result.stdout.split())
        assert "FAIL max_left_out_files 1 at most 0" in " ".join(result.stdout.split())
        assert "ai.jsonl.lz4: ending '.lz4'" in " ".join(result.stdout.split())
    allowed = ("gate", clean, "--max-ai-share", "0.2", "-q")
    assert run(*allowed, "--max-left-out-files", "1").exit_code == 0
    assert run(*allowed, "--exclude", "*.lz4").exit_code == 0


@pytest.mark.parametrize("command", ["filter", "score"])
def test_a_run_whose_inputs_are_not_all_there_is_incomplete(
    command: str, run: Run, clean: Path, tmp_path: Path
) -> None:
    (clean / "z.jsonl").symlink_to(".git/annex/objects/absent")
    ended = run(command, clean, "-o", tmp_path / "out")
    assert ended.exit_code == 3
    assert "z.jsonl: a broken link to .git/annex/objects/absent: the data" in ended.stderr
    (clean / "z.jsonl").unlink()
    assert run(command, clean, "-o", tmp_path / "out", "--overwrite", "-q").exit_code == 0


def test_github_gets_annotations_and_a_summary(
    run: Run, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "summary.md"
    to.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(to))
    args = ("gate", mixed, "--max-ai-share", "0.1", "-q")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert "::" not in run(*args).stdout
    assert to.read_text(encoding="utf-8") == "before\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = run(*args).stdout.splitlines()
    file = str(mixed / "b.jsonl")
    assert lines[-1].startswith(f"::error file={file},title=lowbg gate%3A max_ai_share::")
    assert to.read_text(encoding="utf-8").startswith("before\n### ❌ lowbg gate failed\n")
    assert "::error" not in run(*args, "--no-github").stdout
    # Data on stdout stays data.
    piped = run(*args, "--json", "-")
    json.loads(piped.stdout)
    assert "::error" in piped.stderr


@pytest.fixture
def finished(run: Run, mixed: Path, tmp_path: Path) -> Path:
    assert run("filter", mixed, "-o", tmp_path / "out", "-q").exit_code == 0
    return tmp_path / "out"


def test_a_finished_run_is_judged_by_its_report(
    run: Run, finished: Path, mixed: Path, policy: Path, tmp_path: Path
) -> None:
    by_data, by_report = tmp_path / "data.json", tmp_path / "report.json"
    data = run("gate", mixed, "--policy", policy, "--json", by_data)
    for given in (finished, finished / "report.json"):
        report = run("gate", given, "--policy", policy, "--json", by_report)
        assert (report.exit_code, data.exit_code) == (1, 1)
        one, other = (json.loads(path.read_bytes()) for path in (by_data, by_report))
        for key in ("rule", "part", "status", "value", "interval", "limit"):
            assert [f[key] for f in one["findings"]] == [f[key] for f in other["findings"]], key
    # What it wrote is another data set than what it read.
    human = run("gate", finished / "human", "--policy", policy, "-q")
    assert human.exit_code == 0, human.output


def test_several_reports_are_judged_together(
    run: Run, finished: Path, clean: Path, tmp_path: Path
) -> None:
    assert run("filter", clean, "-o", tmp_path / "second", "-q").exit_code == 0
    args = ("--max-ai-share", "0.12", "--statistic", "raw")
    assert run("gate", finished, *args).exit_code == 1  # 10 of 55
    assert run("gate", finished, tmp_path / "second", *args).exit_code == 0  # 10 of 100


def test_a_report_that_is_named_twice_counts_once(run: Run, finished: Path, tmp_path: Path) -> None:
    args = ("--max-ai-share", "0.12", "--statistic", "raw", "--min-scored-documents", "56")
    report, copy = finished / "report.json", tmp_path / "copy.json"
    copy.write_bytes(report.read_bytes())
    for again in (finished, f"{finished}/", report, copy):
        result = run("gate", finished, again, *args)
        assert (result.exit_code, "55 scored" in result.stdout) == (1, True)
        assert "the same report; it counts once" in result.stderr
    assert "warning" not in run("gate", finished, finished, *args, "-q").stderr


def test_a_mix_has_no_report(run: Run, clean: Path, tmp_path: Path) -> None:
    synthetic = write(tmp_path / "ai" / "ai.jsonl", ai_documents())
    made = run("mix", "--human", clean, "--synthetic", synthetic, "-o", tmp_path / "m")
    assert made.exit_code == 0, made.stderr
    result = run("gate", tmp_path / "m", "--max-ai-share", "0.5")
    assert result.exit_code == 2
    assert f"writes no report; judge its data, such as {tmp_path / 'm' / 'human'}" in result.stderr


def test_the_manifest_of_others_makes_no_run(run: Run, clean: Path) -> None:
    (clean / "manifest.json").write_text('{"name": "a data set"}\n', encoding="utf-8")
    result = run("gate", clean, "--max-ai-share", "0.5", "--max-quarantined-share", "0.1")
    assert result.exit_code == 0, result.stderr
    assert "51 records" in result.stderr


def test_a_report_cannot_say_everything(run: Run, finished: Path, mixed: Path) -> None:
    for args, message in [
        (["--max-ai-share-by", "source=0.1", "--source-field", "id"],
         f"a report doesn't count by 'id'; judge the data itself: lowbg gate {mixed}"),
        (["--max-ai-share", "0.1", "--sample", "5"], "--sample: "),
        (["--max-ai-share", "0.1", "--text-field", "body"], "--text-field: "),
        (["--max-ai-share", "0.1", "--trust-before", "2022-11-30"],
         "trust_before was not set, is 2022-11-30"),
    ]:  # fmt: skip
        result = run("gate", finished, *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
    mixture = run("gate", finished, mixed, "--max-ai-share", "0.1")
    assert (mixture.exit_code, "judge them one by one" in mixture.stderr) == (2, True)


@pytest.mark.parametrize(
    ("stated", "refused"),
    [
        ("", True),
        ("[thresholds]\nmax_phrase_hits = 1\n", True),
        ("[thresholds]\nmax_phrase_hits = 1\nmin_perplexity = 9\nmin_burstiness = -1\n", False),
    ],
)
def test_under_rule_thresholds_the_rate_decides_where_it_sets_a_limit(
    stated: str, refused: bool, run: Run, mixed: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    rule = f'[decision]\nrule = "thresholds"\n{stated}'
    one.write_text(rule)
    other.write_text(rule.replace("[decision]", "[decision]\ntarget_fpr = 0.1"))
    out = tmp_path / "out"
    assert run("filter", mixed, "-o", out, "--policy", one, "-q").exit_code == 0
    same = run("gate", out, "--policy", one, "--max-ai-share", "1")
    assert same.exit_code == 0, same.output
    result = run("gate", out, "--policy", other, "--max-ai-share", "1")
    assert result.exit_code == (2 if refused else 0), result.output
    assert ("target_fpr was 0.01, is 0.1" in result.stderr) is refused


def test_only_a_whole_and_honest_report_is_judged(run: Run, finished: Path) -> None:
    args = ("gate", finished, "--max-ai-share", "0.9")
    assert run(*args).exit_code == 0
    report = finished / "report.json"
    stored = report.read_bytes()
    report.write_bytes(stored.replace(b'"ai": 10', b'"ai": 0'))
    for given in (finished, report):
        edited = run("gate", given, *args[2:])
        assert edited.exit_code == 2
        assert "not the report that the run wrote" in edited.stderr
    report.write_bytes(stored)
    (finished / "manifest.json").unlink()
    unfinished = run(*args)
    assert unfinished.exit_code == 2
    assert "didn't finish" in unfinished.stderr


@pytest.mark.slow
def test_a_reader_that_left_is_no_defect(start: Start, mixed: Path) -> None:
    process = start("gate", mixed, "--max-ai-share", "0.1", "--json", "-")
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.returncode in (1, 141)


@pytest.mark.skipif(not CRAWL.is_dir(), reason="no crawl sample here")
def test_the_crawl_sample_fails(run: Run, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.replace("0.10", "0.05"), encoding="utf-8")
    shard = CRAWL / "shard-00004.jsonl.gz"
    result = run("gate", shard, "--policy", policy, "--json", tmp_path / "gate.json")
    assert result.exit_code == 1
    findings = json.loads((tmp_path / "gate.json").read_bytes())["findings"]
    failed = {f["rule"]: f["places"] for f in findings if f["status"] == "fail"}
    assert "max_phrase_hits.assistant_self_reference" in failed
    assert all(p["path"] == str(shard) for p in failed["max_phrase_hits.assistant_self_reference"])
