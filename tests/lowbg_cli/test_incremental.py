"""`lowbg filter --incremental`: what is new is added, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.make_sample import ai_documents, human_documents
from typer.testing import Result

from lowbg.amounts import bytes_text
from lowbg.formats import open_reader
from lowbg.stopping import STOP

Run = Callable[..., Result]

HUMAN = [document["text"][:1_200] for document in human_documents()]
AI = [document["text"] for document in ai_documents()]
EVERY_BATCH = ("--batch-bytes", "20000", "--checkpoint-seconds", "0", "--executor", "serial")


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    yield
    STOP.reset()


def add(folder: Path, name: str, count: int = 60, first: int = 0) -> Path:
    """A shard of numbered documents, one of them broken."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [AI[i % len(AI)] if i % 5 == 0 else HUMAN[i % len(HUMAN)] for i in range(count)]
    rows = [
        json.dumps({"id": first + i, "text": text, "language": "en"})
        for i, text in enumerate(texts)
    ]
    path.write_text("\n".join([*rows, "{broken"]) + "\n", encoding="utf-8")
    return path


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in ("human", "ai", "quarantine")
        for path in sorted((out / folder).rglob("*.jsonl"))
    }


def report(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "report.json").read_bytes())
    return values


def same_as_at_once(run: Run, inputs: Path, out: Path, once: Path) -> None:
    """The output is that of one run over everything, report and manifest too."""
    assert run("filter", inputs, "-o", once, "-q").exit_code == 0
    assert files(out) == files(once)
    one, other = report(out), report(once)
    for key in ("totals", "counters", "conservation", "languages", "hosts", "rejected"):
        assert one[key] == other[key], key
    assert {s["shard"] for s in one["shards"]} == {s["shard"] for s in other["shards"]}
    for directory in (out, once):
        assert run("verify", directory).exit_code == 0


@pytest.mark.slow
def test_night_after_night(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    args = ("filter", incoming, "-o", out, "--incremental")
    incoming.mkdir()
    empty = run(*args)
    assert empty.exit_code == 0
    assert "nothing new" in empty.stderr
    for night in range(3):
        add(incoming, f"2026-01-0{night}/part.jsonl", first=100 * night)
        before = files(out)
        result = run(*args)
        assert result.exit_code == 0
        assert f"1 new shard; {night} shard" in result.stderr
        assert before.items() <= files(out).items()
    assert len(report(out)["runs"]) == 4
    same_as_at_once(run, incoming, out, tmp_path / "once")


def test_a_night_without_news_changes_nothing(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out, "--incremental")
    assert run(*args).exit_code == 0
    watched = [path for path in out.rglob("*") if path.is_file() and path.name != "lock"]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}
    result = run(*args, "--fail-above", "0", "--strict")  # Both are asked of what is new.
    assert result.exit_code == 0
    assert result.stderr == (
        f"lowbg: nothing new; {out} stays as it is (1 shard processed before)\n"
    )
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched} == before


def test_what_is_new_alone_is_read_and_judged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out, "--incremental", "--executor", "serial", "-q")
    assert run(*args, "--fail-above", "0.01").exit_code == 1
    (incoming / "b.jsonl").write_text(json.dumps({"text": HUMAN[0], "language": "en"}) + "\n")
    opened = []

    def noting(path: Any, *rest: Any) -> Any:
        opened.append(Path(path).name)
        return open_reader(path, *rest)

    monkeypatch.setattr("lowbg.runs.reading.open_reader", noting)
    assert run(*args, "--fail-above", "0.01").exit_code == 0
    assert opened == ["b.jsonl"]


@pytest.mark.slow
def test_inputs_may_be_taken_away(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    args = ("filter", incoming, "-o", out, "--incremental", "-q")
    everything = tmp_path / "everything"
    for name in ("a.jsonl", "b.jsonl"):
        path = add(incoming, name, first=ord(name[0]))
        result = run(*args)
        assert (result.exit_code, result.stderr) == (0, "")
        everything.mkdir(exist_ok=True)
        path.rename(everything / name)
    assert run(*args).exit_code == 0
    same_as_at_once(run, everything, out, tmp_path / "once")


@pytest.mark.slow
def test_a_changed_input_is_an_error_that_names_it(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    changed = add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out, "--incremental", "-q")
    assert run(*args).exit_code == 0
    before, manifest = files(out), (out / "manifest.json").read_bytes()
    add(incoming, "a.jsonl", 90)
    add(incoming, "b.jsonl")
    refused = run(*args)
    assert refused.exit_code == 2
    assert str(changed) in refused.stderr
    assert "--changed redo" in refused.stderr
    assert files(out) == before
    assert (out / "manifest.json").read_bytes() == manifest
    kept = run(*args, "--changed", "keep")
    assert kept.exit_code == 0
    assert "a.jsonl had" in kept.stderr
    assert before.items() <= files(out).items()
    assert "human/b.jsonl" in files(out)
    assert run("verify", out).exit_code == 0
    assert run(*args).exit_code == 2  # It is still another one.
    assert run(*args, "--changed", "redo").exit_code == 0
    same_as_at_once(run, incoming, out, tmp_path / "once")
    assert run(*args).exit_code == 0


@pytest.mark.slow
def test_nothing_stays_of_an_input_that_cannot_be_done_again(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    args = ("filter", incoming, "-o", out, "--incremental", "-q", "--changed", "redo")
    add(incoming, "a.jsonl")
    add(incoming, "b.jsonl")
    assert run(*args).exit_code == 0
    (incoming / "a.jsonl").write_bytes(b"PAR1 no Parquet PAR1")
    assert run(*args).exit_code == 3
    assert not [name for name in files(out) if "a.jsonl" in name]
    assert "human/b.jsonl" in files(out)
    assert run("verify", out).exit_code == 3
    # It failed; once it is gone, nothing speaks of it any more.
    (incoming / "a.jsonl").unlink()
    gone = run(*args)
    assert gone.exit_code == 0
    assert "a.jsonl: no longer among the inputs" in gone.stderr
    assert [shard["shard"] for shard in report(out)["shards"]] == ["b.jsonl"]
    assert run(*args).stderr == ""


def test_another_file_of_the_same_name_is_no_change(run: Run, tmp_path: Path) -> None:
    first = add(tmp_path / "monday", "part.jsonl")
    second = add(tmp_path / "tuesday", "part.jsonl", 90)
    out = tmp_path / "out"
    assert run("filter", first.parent, "-o", out, "--incremental", "-q").exit_code == 0
    before = files(out)
    for more in ((), ("--changed", "redo")):
        clash = run("filter", second.parent, "-o", out, "--incremental", "-q", *more)
        assert clash.exit_code == 2
        assert f"{second} would be written over what came of {first}" in clash.stderr
    both = run("filter", first.parent, second.parent, "-o", out, "--incremental", "-q")
    assert both.exit_code == 2
    assert "was processed as part.jsonl and would be monday/part.jsonl now" in both.stderr
    assert files(out) == before


def test_a_relative_path_is_the_same_file_elsewhere(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "incoming", "a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert run("filter", "incoming", "-o", "out", "--incremental", "-q").exit_code == 0
    monkeypatch.chdir("/")
    again = run("filter", tmp_path / "incoming", "-o", tmp_path / "out", "--incremental")
    assert "nothing new" in again.stderr
    assert again.exit_code == 0


@pytest.mark.slow
def test_the_same_relative_path_elsewhere_is_another_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a job that changes into each night's folder: nothing may be lost, nor passed over."""
    out = tmp_path / "out"
    first = add(tmp_path / "monday", "incoming/part.jsonl")
    add(tmp_path / "tuesday", "incoming/part.jsonl", 90)
    monkeypatch.chdir(tmp_path / "monday")
    args = ("filter", "incoming", "-o", out, "--incremental", "-q")
    assert run(*args).exit_code == 0
    before = files(out)
    monkeypatch.chdir(tmp_path / "tuesday")
    for changed in ("refuse", "keep", "redo"):
        clash = run(*args, "--changed", changed)
        assert clash.exit_code == 2
        assert f"would be written over what came of {first}" in clash.stderr
    assert files(out) == before
    # Another night's run in between doesn't make it forget where that one was.
    add(tmp_path / "tuesday", "other/more.jsonl")
    assert run("filter", "other", *args[2:]).exit_code == 0
    assert "would be written over" in run(*args, "--changed", "redo").stderr


def test_outputs_that_were_taken_away_with_their_input(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    args = ("filter", incoming, "-o", out, "--incremental", "-q")
    add(incoming, "a.jsonl")
    add(incoming, "b.jsonl")
    assert run(*args).exit_code == 0
    (incoming / "a.jsonl").unlink()
    (out / "human" / "a.jsonl").unlink()
    result = run(*args)
    assert result.exit_code == 0
    assert "a.jsonl: no longer among the inputs, and what came of them is not whole" in (
        result.stderr
    )
    assert [shard["shard"] for shard in report(out)["shards"]] == ["b.jsonl"]


def test_folders_whose_names_no_longer_clash(run: Run, tmp_path: Path) -> None:
    one, two = add(tmp_path / "one", "part.jsonl"), add(tmp_path / "two", "part.jsonl", 90)
    args = ("-o", tmp_path / "out", "--incremental", "-q")
    assert run("filter", one.parent, two.parent, *args).exit_code == 0
    one.unlink()
    refused = run("filter", one.parent, two.parent, *args)
    assert refused.exit_code == 2
    assert "give the folder above them instead" in refused.stderr
    above = tmp_path / "above"
    above.mkdir()
    two.parent.rename(above / "two")
    assert run("filter", above, *args).exit_code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--incremental", "--resume"], "choose one"),
        (["--incremental", "--overwrite"], "choose one"),
        (["--changed", "redo"], "--changed: only with --incremental"),
    ],
)
def test_options_that_contradict_each_other(
    args: list[str], message: str, run: Run, tmp_path: Path
) -> None:
    result = run("filter", tmp_path, "-o", tmp_path / "out", *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_cannot_be_known_again_is_refused(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    add(tmp_path / "in", "a.jsonl")
    assert run("filter", tmp_path / "in", "-o", out, "--incremental", "-q").exit_code == 0
    piped = run("filter", "-", "-o", out, "--incremental", stdin=b"{}\n")
    assert piped.exit_code == 2
    assert "can be read only once" in piped.stderr
    in_a_pipe = run("filter", tmp_path / "in", "--incremental", "--discard-ai")
    assert in_a_pipe.exit_code == 2
    assert "--incremental: only with -o DIR" in in_a_pipe.stderr


@pytest.mark.slow
def test_other_settings_are_refused_but_for_the_gate(run: Run, tmp_path: Path) -> None:
    incoming, out, policy = tmp_path / "in", tmp_path / "out", tmp_path / "p.toml"
    add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out, "--incremental", "-q", "--policy", policy)
    policy.write_text("[gate]\nmax_ai_share = 0.1\n")
    assert run(*args).exit_code == 0
    add(incoming, "b.jsonl")
    policy.write_text("[gate]\nmax_ai_share = 0.2\n")
    assert run(*args).exit_code == 0
    assert not [p for p in report(out)["problems"] if p["kind"] == "policy"]
    policy.write_text("[decision]\ntarget_fpr = 0.02\n")
    add(incoming, "c.jsonl")
    refused = run(*args)
    assert refused.exit_code == 2
    assert "target_fpr was 0.01, is 0.02" in refused.stderr


@pytest.mark.slow
def test_a_plain_run_can_be_added_to(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl")
    assert run("filter", incoming, "-o", out, "-q").exit_code == 0
    refused = run("filter", incoming, "-o", out, "-q")
    assert "--incremental" in refused.stderr
    add(incoming, "b.jsonl")
    assert run("filter", incoming, "-o", out, "-q", "--incremental").exit_code == 0
    same_as_at_once(run, incoming, out, tmp_path / "once")


@pytest.mark.slow
def test_a_glob_may_match_nothing_but_a_folder_must_be_there(run: Run, tmp_path: Path) -> None:
    incoming = tmp_path / "in"
    incoming.mkdir()
    args = ("-o", tmp_path / "out", "--incremental", "-q")
    assert run("filter", incoming / "*.jsonl", *args).exit_code == 0
    assert run("filter", tmp_path / "typo" / "*.jsonl", *args).exit_code == 2
    assert run("filter", tmp_path / "typo", *args).exit_code == 2
    assert run("filter", incoming / "*.jsonl", "-o", tmp_path / "x", "-q").exit_code == 2


@pytest.mark.slow
def test_resuming_keeps_the_runs_before(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jsonl", "b.jsonl"):
        add(incoming, name)
        assert run("filter", incoming, "-o", out, "--incremental", "-q").exit_code == 0
    before = report(out)["runs"]
    assert len(before) == 2
    add(incoming, "c.jsonl")
    resumed = run("filter", incoming, "-o", out, "--resume")
    assert resumed.exit_code == 0
    assert "2 shards had been finished" in resumed.stderr
    runs = report(out)["runs"]
    assert runs[:2] == before
    sizes = [shard["text_bytes"] for shard in report(out)["shards"]]
    assert [each["text_bytes"] for each in runs] == sizes
    assert report(out)["throughput"]["done_text_bytes"] == sum(sizes)
    # What is told of the run that has ended is its own.
    assert f"{bytes_text(sizes[2])} of {bytes_text(sum(sizes))} in " in resumed.stderr
    same_as_at_once(run, incoming, out, tmp_path / "once")


def test_resuming_what_is_done_changes_nothing(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out)
    assert run(*args).exit_code == 0
    watched = [*(out / name for name in ("report.json", "report.html", "manifest.json"))]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}
    result = run(*args, "--resume")
    assert result.exit_code == 0
    assert "1 shard had been finished" in result.stderr
    assert "done before" in result.stderr
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched} == before
    # All that is asked of it is still judged, and what is gone is made again.
    assert run(*args, "--resume", "--strict", "-q").exit_code == 3
    (out / "report.html").unlink()
    assert run(*args, "--resume", "-q").exit_code == 0
    assert (out / "report.html").is_file()


@pytest.mark.parametrize("going_on", ["--incremental", "--resume"])
def test_data_that_is_not_there_is_noted_though_nothing_else_is_new(
    going_on: str, run: Run, tmp_path: Path
) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl")
    args = ("filter", incoming, "-o", out, "-q", going_on)
    assert run(*args).exit_code == 0
    assert run("verify", out).exit_code == 0
    link = incoming / "b.jsonl"
    link.symlink_to(tmp_path / "nowhere")
    for _ in range(2):  # Once it is noted, no run is noted for it again.
        assert run(*args).exit_code == 3
        assert [each["path"] for each in report(out)["inputs"]["skipped"]] == [str(link)]
        assert len(report(out)["runs"]) == 2
        found = run("verify", out)
        assert found.exit_code == 3
        assert found.stdout == (
            f"incomplete: {link}: was not there to process: a broken link to "
            f"{tmp_path / 'nowhere'}\n"
        )
    link.unlink()
    add(incoming, "b.jsonl")
    assert run(*args).exit_code == 0
    assert run("verify", out).exit_code == 0


def test_a_run_that_failed_in_part_stays_in_the_history(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl")
    (incoming / "b.jsonl").write_bytes(b"PAR1 no Parquet PAR1")
    args = ("filter", incoming, "-o", out, "-q")
    assert run(*args).exit_code == 3
    add(incoming, "b.jsonl")
    assert run(*args, "--resume").exit_code == 0
    first, second = report(out)["runs"]
    assert (first["records"], second["records"]) == (61, 61)


@pytest.mark.slow
def test_what_is_done_again_is_no_part_of_the_size(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    args = ("filter", incoming, "-o", out, "--incremental")
    add(incoming, "a.jsonl")
    add(incoming, "b.jsonl")
    assert run(*args).exit_code == 0
    read = report(out)["throughput"]["text_bytes"]
    add(incoming, "b.jsonl", 20)
    again = run(*args, "--changed", "redo")
    first, second = report(out)["shards"]
    own, size = second["text_bytes"], first["text_bytes"] + second["text_bytes"]
    assert f" · {bytes_text(own)} of {bytes_text(size)} in " in again.stderr
    speed = report(out)["throughput"]
    assert (speed["text_bytes"], speed["done_text_bytes"]) == (size, read + own)
    told = run("report", out / "report.json")
    assert f" · {bytes_text(size)}, {bytes_text(read + own)} read in " in " ".join(
        told.stdout.split()
    )


@pytest.mark.parametrize("going_on", ["--incremental", "--resume"])
def test_what_was_left_out_and_is_so_no_more(going_on: str, run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl")
    for name in ("fetched", "given-up", "excluded", "still"):
        (incoming / f"{name}.jsonl").symlink_to(tmp_path / "nowhere")
    args = ("filter", incoming, "-o", out, "-q")
    assert run(*args).exit_code == 3
    assert len(report(out)["inputs"]["skipped"]) == 4
    (incoming / "fetched.jsonl").unlink()
    add(incoming, "fetched.jsonl")
    (incoming / "given-up.jsonl").unlink()
    assert run(*args, going_on, "--exclude", "excluded.jsonl").exit_code == 3
    skipped = {each["path"]: each["kind"] for each in report(out)["inputs"]["skipped"]}
    assert skipped == {
        str(incoming / "excluded.jsonl"): "excluded",
        str(incoming / "still.jsonl"): "broken_link",
    }
    assert len(report(out)["inputs"]["skipped"]) == 2
    # Of a folder that isn't there any more nothing is known.
    elsewhere = tmp_path / "elsewhere"
    add(elsewhere, "z.jsonl")
    shutil.rmtree(incoming)
    run("filter", elsewhere, "-o", out, "-q", going_on)
    assert {each["path"] for each in report(out)["inputs"]["skipped"]} == skipped.keys()


KILLED = """
import os, signal, sys
import lowbg.runs.checkpoints as checkpoints
import lowbg.runs.directory as directory

def killing(module, name, after):
    original = getattr(module, name)
    def act(*args, **kwargs):
        if not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, act)

where = os.environ["WHERE"]
if where == "in a shard":
    killing(checkpoints.Journal, "save", True)
elif where == "before its names":
    killing(checkpoints.Journal, "seal", True)
elif where == "before the report":
    killing(directory, "write_json", False)
elif where == "before the manifest":
    killing(directory, "write_manifest", False)
sys.argv[0] = "lowbg"
from lowbg_cli.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["in a shard", "before its names", "before the report", "before the manifest"]
)
def test_a_killed_night_is_made_good_by_the_next(where: str, run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl", 100)
    args = ["filter", str(incoming), "-o", str(out), "--incremental", "-q", *EVERY_BATCH]
    assert run(*args).exit_code == 0
    add(incoming, "b.jsonl", 100, first=500)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *args],
        env={**os.environ, "WHERE": where},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "manifest.json").exists()
    add(incoming, "c.jsonl", 100, first=900)
    goes_on = run(*[arg for arg in args if arg != "-q"])
    assert goes_on.exit_code == 0, goes_on.stderr
    # What the killed run had finished has been in no report, and is told as new.
    known = 2 if where == "before the manifest" else 1
    assert f"{3 - known} new shard" in goes_on.stderr
    assert len(report(out)["runs"]) == known + 1
    same_as_at_once(run, incoming, out, tmp_path / "once")


@pytest.mark.slow
def test_a_file_that_was_still_growing_when_the_run_was_killed(run: Run, tmp_path: Path) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    add(incoming, "a.jsonl", 100)
    args = ["filter", str(incoming), "-o", str(out), "--incremental", "-q", *EVERY_BATCH]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *args],
        env={**os.environ, "WHERE": "in a shard"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    add(incoming, "a.jsonl", 130)
    assert run(*args).exit_code == 0
    same_as_at_once(run, incoming, out, tmp_path / "once")


@pytest.mark.slow
def test_the_reserve_gets_what_a_killed_run_did_not_bring(run: Run, tmp_path: Path) -> None:
    incoming, out, reserve = (tmp_path / name for name in ("incoming", "out", "reserve"))
    add(incoming, "a.jsonl")
    kept = ("--trust", "language=en", "--reserve", reserve)
    args = ("filter", incoming, "-o", out, "--incremental", "-q", *kept)
    assert run(*args).exit_code == 0
    names = sorted(path.name for path in reserve.glob("names/*"))
    assert names
    shutil.rmtree(reserve)
    (out / ".lowbg" / "reserved.json").unlink()
    assert run(*args).exit_code == 0  # Nothing new, but for the reserve.
    assert sorted(path.name for path in reserve.glob("names/*")) == names
    assert run("verify", reserve).exit_code == 0
