"""No output takes another's place, and none goes to a URL."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import AI, HUMAN, lines
from typer.testing import Result

from lowbg.errors import ConfigError
from lowbg.formats.base import Reader
from lowbg.runs.reading import Source
from lowbg.storage.files import AtomicFile, refuse_url

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]

_LOCAL = "a URL, and this is written to local paths alone"
_NO_STORE = "the URL of no store to which lowbg writes"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(HUMAN[0], AI[0], HUMAN[1]))
    return path


@pytest.mark.parametrize("option", ["--report", "--quarantine-to"])
@pytest.mark.parametrize("named", ["file", "link", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_stdout_and_another_output_are_one_file(
    option: str, named: str, mode: str, start: Start, shard: Path, tmp_path: Path
) -> None:
    out, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(out)
    name = {"file": out, "link": link}.get(named, named)
    with out.open(mode) as stdout:
        process = start("filter", shard, "--discard-ai", option, name, stdout=stdout)
        _, err = process.communicate()
    assert process.returncode == 2
    assert f"{option} {name}: stdout goes there, too; name another file" in err.decode()
    assert out.read_bytes() == b""


def test_a_pipe_takes_both(start: Start, shard: Path) -> None:
    process = start("filter", shard, "--ai-to", "/dev/stdout", "-q", stdout=subprocess.PIPE)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert sorted(out.splitlines()) == sorted(shard.read_bytes().splitlines())


@pytest.mark.parametrize(
    "options",
    [
        ("filter", "IN", "--ai-to", "a", "--report", "b"),
        ("filter", "IN", "--ai-to", "a", "--quarantine-to", "b"),
        ("eval", "IN", "--json", "a", "--markdown", "b"),
        ("gate", "IN", "--junit", "a", "--json", "b"),
    ],
)
def test_two_names_of_one_file(options: Sequence[str], run: Run, shard: Path) -> None:
    folder = shard.parent
    (folder / "a").write_bytes(b"mine")
    os.link(folder / "a", folder / "b")
    given = [{"IN": shard}.get(o, folder / o if len(o) == 1 else o) for o in options]
    result = run(*given)
    assert result.exit_code == 2
    assert f"/b: {options[-4]} writes to it; name another file" in " ".join(result.stderr.split())
    assert (folder / "a").read_bytes() == b"mine"


@pytest.mark.parametrize("option", ["--json", "--html", "--markdown"])
def test_an_input_is_no_output(option: str, run: Run, shard: Path) -> None:
    before = shard.read_bytes()
    assert run("eval", shard, option, shard).exit_code == 2
    assert shard.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "url", "why"),
    [
        (("filter", "IN", "--ai-to"), "hf://datasets/a/b.jsonl", _LOCAL),
        (("filter", "IN", "--ai-to"), "s3://b/ai.jsonl", _LOCAL),
        (("filter", "IN", "--discard-ai", "--quarantine-to"), "az://a/b", _LOCAL),
        (("filter", "IN", "-o", "out", "--log-file"), "s3://b/log", _LOCAL),
        (("filter", "IN", "--discard-ai", "--report"), "https://x.org/r.json", _NO_STORE),
        (("eval", "IN", "--json"), "hf://a/b", _NO_STORE),
        (("mix", "--human", "IN", "--synthetic", "IN", "-o"), "https://x.org/m", _NO_STORE),
        (("drift", "baseline", "IN", "-o"), "http://x.org/base.json", _NO_STORE),
        (("gate", "IN", "--json"), "hf://b/g.json", _NO_STORE),
    ],
)
def test_a_url_is_no_output(
    options: Sequence[str],
    url: str,
    why: str,
    run: Run,
    shard: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shard.parent)
    result = run(*(shard if option == "IN" else option for option in options), url)
    assert result.exit_code == 2
    assert f"{url} is {why}" in " ".join(result.stderr.split())
    assert [path.name for path in shard.parent.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("command", ["filter", "score"])
def test_an_output_is_no_url_but_of_a_store(
    command: str, run: Run, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shard.parent)
    result = run(command, shard, "-o", "hf://datasets/a/b")
    assert result.exit_code == 2
    assert "hf://datasets/a/b is the URL of no store to which lowbg writes (s3://, s3a://" in (
        " ".join(result.stderr.split())
    )
    scratch = run(command, shard, "-o", "out", "--scratch", "tmp")
    assert "--scratch: only where -o is a URL" in scratch.stderr
    assert [path.name for path in shard.parent.iterdir()] == ["in.jsonl"]


def test_a_scratch_is_one_s_own(
    run: Run, shard: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / f"lowbg-{os.getuid()}").symlink_to(tmp_path)
    result = run("filter", shard, "-o", "s3://bucket/out")
    assert result.exit_code == 2
    assert "belongs to somebody else; name a folder of your own with --scratch" in (
        " ".join(result.stderr.split())
    )


def test_the_library_refuses_urls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="s3://bucket/file is a URL"):
        AtomicFile(Path("s3://bucket/file"))
    assert not [*tmp_path.iterdir()]
    for name in ("C:/folder", "a/b:/c", "./s3:/x"):
        refuse_url(name)


@pytest.mark.parametrize("target", ["/dev/null", "pipe"])
def test_nothing_lies_beside_a_device_or_a_pipe(
    target: str, start: Start, shard: Path, tmp_path: Path
) -> None:
    shard.write_bytes(shard.read_bytes() + b"{bad\n")
    if target == "pipe":
        target = str(tmp_path / "pipe")
        os.mkfifo(target)
        reader = subprocess.Popen(["cat", target], stdout=subprocess.DEVNULL)
    process = start("filter", shard, "--ai-to", target, "-q", stdout=subprocess.PIPE)
    out, err = process.communicate()
    if target != "/dev/null":
        assert reader.wait() == 0
    assert process.returncode == 3
    assert out.count(b"\n") >= 2
    assert b"1 record could not be read and went nowhere; --quarantine-to" in err
    assert not Path(f"{target}.quarantine.jsonl").exists()


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(lines(HUMAN[2]))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(lines(HUMAN[0]))
    other.rename(path)


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_grow, _cut, _overwrite, _replace, _remove])
@pytest.mark.parametrize("command", ["filter", "score", "pipe"])
def test_a_file_that_changes_while_it_is_read_fails(
    command: str,
    change: Callable[[Path], None],
    run: Run,
    shard: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = Source.open

    def then_changed(self: Source) -> Reader:
        reader = opened(self)
        change(shard)
        return reader

    monkeypatch.setattr(Source, "open", then_changed)
    out = tmp_path / "out"
    options = {
        "filter": ("filter", shard, "-o", out, "--workers", 1),
        "score": ("score", shard, "-o", out, "--workers", 1),
        "pipe": ("filter", shard, "--discard-ai"),
    }[command]
    result = run(*options, "-q")
    assert result.exit_code == 3, result.stderr
    assert "in.jsonl: changed while it was read" in " ".join(result.stderr.split())
    if command != "pipe":
        assert not [*out.glob("human/*"), *out.glob("*.jsonl")]
        report = json.loads((out / "report.json").read_bytes())
        assert "changed while it was read" in str(report["problems"])
