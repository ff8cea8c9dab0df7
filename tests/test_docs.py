"""README and docs: examples run as written, links lead somewhere, options and words are known."""

from __future__ import annotations

import difflib
import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.options import TABLE, current
from examples.make_sample import ai_documents, human_documents
from tests.pages import (
    DOCS,
    PAGES,
    README,
    ROOT,
    Block,
    Shown,
    blocks,
    headings,
    name,
    prose,
    read,
)
from tests.pages import commands as shown_commands
from typer.main import get_command

import lowbg
from lowbg.decision.policy import parse_policy
from lowbg_cli.app import app
from lowbg_cli.option_tables import commands

MOST_UNRUN = 5
"""Blocks that no test runs: a new one needs a reason, and this number raised."""

SAMPLE_WORDS = 64_857
"""The sample's size when its output was written down: other Pythons have other topics."""

COMMAND_PAGES = sorted((DOCS / "commands").glob("*.md"))

END = "\x1e"

OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


def same_sample() -> bool:
    """Whether the sample is the one that the pages' output was written down for."""
    texts = [document["text"] for document in human_documents() + ai_documents()]
    return sum(len(text.split()) for text in texts) == SAMPLE_WORDS


# --- examples


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sample/`, as the README's first command makes it."""
    folder = tmp_path_factory.mktemp("docs") / "sample"
    script = ROOT / "examples" / "make_sample.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    # Else the first command that needs one says that it compiles kernels, which no page shows.
    warm = [sys.executable, "-m", "lowbg_cli", "warm-up", "--quiet"]
    subprocess.run(warm, check=True, capture_output=True)
    return folder


@pytest.fixture
def desk(sample: Path, tmp_path: Path) -> Path:
    """A folder in which a reader would type the examples."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "sample").mkdir()
    for shard in sample.iterdir():
        (folder / "sample" / shard.name).write_bytes(shard.read_bytes())
    (folder / "examples").symlink_to(ROOT / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    python = shlex.quote(sys.executable)
    for tool, call in (("lowbg", f"{python} -m lowbg_cli"), ("python", python)):
        (tools / tool).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (tools / tool).chmod(0o755)
    return folder


def environment(desk: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "COLUMNS"))}
    path = f"{desk.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # Unbuffered, so that stdout and stderr come in the order in which a terminal shows them.
    return {**kept, "PATH": path, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def run(desk: Path, shown: list[Shown]) -> list[tuple[int, str]]:
    """Exit code and output of each command, all of them in one shell."""
    script = "".join(
        f"{each.command}\n__code=$?; printf '{END}%s{END}' $__code; (exit $__code)\n"
        for each in shown
    )
    ended = subprocess.run(
        ["bash", "-c", script], cwd=desk, env=environment(desk), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    parts = ended.stdout.split(END)
    assert len(parts) == 2 * len(shown) + 1, ended.stdout
    return [(int(parts[i + 1]), parts[i]) for i in range(0, len(parts) - 1, 2)]


def settled(line: str) -> str:
    """A line of output without what differs from run to run: times, dates."""
    line = re.sub(r" in [\d.,]+ (s|min|h) · [\d.,]+ MB/s", " in … s · … MB/s", line)
    return re.sub(r"\b20[2-9]\d-\d\d-\d\d\b", "DATE", line).rstrip()


def matches(expected: tuple[str, ...], output: str) -> bool:
    """Whether the output is what the page shows, where a line `…` stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(settled(line)) + r"\n"
        for line in expected
        if line.strip()
    )
    lines = [settled(line) for line in output.splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines if line)) is not None


def difference(expected: tuple[str, ...], output: str) -> str:
    return "\n".join(difflib.unified_diff(expected, output.splitlines(), "page", "run", n=1))


def check(desk: Path, where: str, shown: list[Shown]) -> None:
    """Runs commands; each must end with 0, but where the next one is `echo $?`."""
    for i, (code, output) in enumerate(run(desk, shown)):
        asked = i + 1 < len(shown) and shown[i + 1].command == "echo $?"
        assert code == 0 or asked, f"{where}: $ {shown[i].command}\nexit {code}\n{output}"
        if shown[i].output and (same_sample() or shown[i].command == "echo $?"):
            told = difference(shown[i].output, output)
            assert matches(shown[i].output, output), f"{where}: $ {shown[i].command}\n{told}"


def runnable(page: Path) -> list[Block]:
    """The blocks that run, in order."""
    return [
        block
        for block in blocks(read(page))
        if block.language == "python" or (block.language == "console" and not block.words)
    ]


def installed(shown: Shown) -> Shown | None:
    """A command as it is where lowbg is installed already; None where that is all it does."""
    steps = shown.command.split(" && ")
    if not steps[0].startswith("python3 -m venv"):
        return shown
    rest = [step.removeprefix(".venv/bin/") for step in steps[2:]]
    return None if rest == ["pytest"] else Shown(" && ".join(rest), shown.output)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name)
def test_examples_run_as_written(page: Path, desk: Path) -> None:
    for block in runnable(page):
        where = f"{name(page)}:{block.line}"
        if block.language == "console":
            shown = [installed(each) for each in shown_commands(block)]
            check(desk, where, [each for each in shown if each])
            continue
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", block.text],
            cwd=desk, env=environment(desk), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{where}:\n{ended.stderr}"


def test_few_examples_are_not_run() -> None:
    marks = [(name(p), b) for p in PAGES for b in blocks(read(p), "console") if b.words]
    assert {block.words for _, block in marks} <= {("unrun",), ("recipe",)}
    unrun = [f"{page}:{block.line}" for page, block in marks if block.words == ("unrun",)]
    assert len(unrun) <= MOST_UNRUN, unrun


def test_what_the_output_comparison_sees() -> None:
    expected = ("2 shards in 14.8 s · 0.0 MB/s", "…", "  human  45")
    assert matches(expected, "2 shards in 0.3 s · 1.2 MB/s\n  any\n  line\n  human  45\n")
    assert not matches(expected, "2 shards in 0.3 s · 1.2 MB/s\n  human  46\n")
    assert not matches(expected[:1], "2 shards in 0.3 s · 1.2 MB/s\n  human  45\n")


POLICIES = [
    pytest.param(block.text, id=f"{name(page)}:{block.line}")
    for page in PAGES
    for block in blocks(read(page), "toml")
    if block.words == ("policy",)
]


@pytest.mark.parametrize("text", POLICIES)
def test_every_policy_is_one(text: str, tmp_path: Path) -> None:
    for mentioned in re.findall(r'"@([^"]+)"', text):
        (tmp_path / mentioned).write_text("farm.example\n", encoding="utf-8")
    parse_policy(text, folder=tmp_path)


# --- commands and options


@functools.cache
def known_options() -> dict[str, frozenset[str]]:
    """Command → the names of its options."""
    return {
        name: frozenset(
            flag
            for option in command.options
            if not option.is_argument
            for names in option.flags
            for flag in names.split("/")
        )
        | {"--help", "-h"}
        for name, command in commands().items()
    }


def mentioned_calls() -> Iterator[tuple[str, str]]:
    """Every call of lowbg in code, whatever the block's language, with its place."""
    for page in PAGES:
        text = read(page)
        shown = [block.text for block in blocks(text)] + re.findall(r"`([^`\n]+)`", prose(text))
        for code in shown:
            for call in re.findall(r"(?<![\w./-])lowbg ([a-z][^|#;>\n]*)", code):
                yield name(page), call


def test_every_command_and_option_that_is_shown_exists() -> None:
    calls = list(mentioned_calls())
    assert len(calls) > 60
    for page, call in calls:
        words = call.split()
        command = " ".join(words[:2]) if " ".join(words[:2]) in known_options() else words[0]
        groups = {known.split()[0] for known in known_options()}
        others = {"warning:", "error:", "help"}
        assert command in groups | known_options().keys() | others, (page, call)
        for option in OPTION.findall(call):
            options = known_options().get(command, frozenset())
            assert option in options, f"{page}: lowbg {call}: {option}"


def test_every_option_that_is_named_exists() -> None:
    own = (option for parameter in get_command(app).params for option in parameter.opts)
    known = frozenset[str](own).union(*known_options().values())
    for page in PAGES:
        for option in re.findall(r"`(--[a-z][\w-]*)[^`\n]*`", prose(read(page))):
            assert option in known, f"{name(page)}: {option}"


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    pages = {page.stem for page in COMMAND_PAGES}
    assert pages == {command.split()[0] for command in commands()}
    tables = [found[1] for page in COMMAND_PAGES for found in TABLE.finditer(read(page))]
    assert sorted(tables) == sorted(commands())


@pytest.mark.parametrize("page", [*COMMAND_PAGES, DOCS / "policy.md"], ids=name)
def test_the_tables_of_options_say_what_help_says(page: Path) -> None:
    assert TABLE.search(read(page))
    assert current(read(page)) == read(page), "run `python docs/options.py --write`"


# --- links


def anchors(page: Path) -> set[str]:
    """What a link to a part of the page may name: its headings as GitHub writes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading[1].replace("`", "").lower()).replace(" ", "-")
        for heading in headings(read(page))
    }


LINKED = (*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks").glob("*/README.md")))


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(there), target


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set[Path](), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s:#]+)", prose(read(page))):
            waiting.append((page.parent / target).resolve())
    assert {page for page in PAGES if page not in reached} <= {README}


def test_the_readme_is_short() -> None:
    assert len(read(README).splitlines()) <= 250


# --- words


def glossary() -> list[tuple[str, list[str]]]:
    """Each word of the glossary, and those that aren't used for it."""
    rows = re.findall(
        r"^\| \*\*(.+?)\*\*[^|]*\|[^|]*\| (.*?) ?\|$", read(DOCS / "glossary.md"), re.MULTILINE
    )
    return [(word, [other for other in others.split(", ") if other]) for word, others in rows]


def test_one_word_for_one_thing() -> None:
    rows = glossary()
    assert len(rows) > 25
    words = [word for word, _ in rows]
    assert len(set(words)) == len(words)
    avoided = {other: word for word, others in rows for other in others}
    assert len(avoided) > 15
    assert not avoided.keys() & set(words)
    for page in PAGES:
        if page.name == "glossary.md":
            continue
        text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", " ", prose(read(page)))
        for other, word in avoided.items():
            found = re.search(rf"\b{re.escape(other)}s?\b", text, flags=re.IGNORECASE)
            line = text.count("\n", 0, found.start()) + 1 if found else 0
            assert not found, f"{name(page)}:{line}: say {word!r}, not {other!r}"


# --- the public API


def test_every_public_name_has_its_words() -> None:
    page = read(DOCS / "api.md")
    for public in lowbg.__all__:
        if public != "__version__":
            assert re.search(rf"^`?.*`{public}[(`].*\n(?:\n|: )", page, re.MULTILINE), public


def test_the_columns_of_a_row_are_told() -> None:
    page = read(DOCS / "output.md")
    for column in lowbg.columns():
        assert f"`{column.name}`" in page, column.name
