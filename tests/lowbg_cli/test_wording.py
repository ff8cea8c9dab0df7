"""The library calls settings by their names; a command line calls them by its options."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import lowbg
from lowbg.config import LmSettings, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.report.naming import for_pages
from lowbg.runs.inputs import Shard
from lowbg.scorers.causal_lm import CausalLm
from lowbg.settings import declared
from lowbg_cli import terminal
from lowbg_cli.option_tables import commands
from lowbg_cli.parser import program
from lowbg_cli.wording import ACTIONS

LIBRARY = Path(lowbg.__file__).parent
OPTION = re.compile(r"(?<![\w-])(--[a-z{]|-o\b)")
NAMED = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)(?:=([^`]*))?`")
NO_MESSAGES = {
    " --revision {}",
    "--{}",
    "git lfs pull --include {file}",
    "mlr --icsv --ojsonl cat",
    "mlr --itsv --ojsonl cat",
}
"""Options of other programs, and how a setting's flag is made of its name."""


def strings_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of what is no docstring, declared flag or heading of --help; values are {}."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.keyword) and node.arg == "flags":
            continue
        if isinstance(node, ast.ClassDef) and node.name == "Heading":
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield node.lineno, "".join(map(str, parts))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from strings_of(part)
        else:
            yield from strings_of(node)


def messages() -> Iterator[tuple[str, str]]:
    for path in sorted(LIBRARY.rglob("*.py")):
        for line, text in strings_of(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(LIBRARY)}:{line}", text


def names() -> dict[str, list[str]]:
    """Every setting that messages of the library name, and where."""
    found: dict[str, list[str]] = {}
    for where, text in messages():
        for match in NAMED.finditer(text):
            if match[1] == "lowbg":  # The field that annotation adds.
                continue
            value = (match[2] or "").strip('"')
            key = f"{match[1]}={value}" if match[1] == "existing" else match[1]
            found.setdefault(key, []).append(where)
    return found


def test_the_library_names_no_option() -> None:
    named = [
        f"{where}: {text}"
        for where, text in messages()
        if OPTION.search(text) and text not in NO_MESSAGES
    ]
    assert named == []


def test_every_name_in_a_message_is_a_setting_and_has_an_option() -> None:
    found = names()
    assert len(found) > 20
    for name, where in found.items():
        key, _, value = name.partition("=")
        called = [command.wording.called(key, value or None) for command in commands().values()]
        assert all(flag is None or flag.startswith("-") for flag in called), (name, where)
        # A command that has it calls it so; a setting of runs and a job's own have one everywhere.
        assert any(called), f"{name}: no such setting; {where}"
        if name in ACTIONS or any(name == own.key for own in declared(RunConfig)):
            assert all(called), (name, where)


FILTER, CHECK = (commands()[name].wording for name in ("filter", "verify"))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("name it with `fields.text`.", "name it with --text-field."),
        ("`policy.trust_before` or `trust.before`", "--trust-before or --trust-before"),
        ('`existing="resume"` goes on', "--resume goes on"),
        ('`changed="redo"`; choose another `output`.', "--changed redo; choose another -o."),
        ("needs a model: `extras.lm.model=…`", "needs a model: --lm MODEL"),
        ("`extras.lm.device=cuda:9`: can't", "--lm-device cuda:9: can't"),
        ("`annotate=true`", "--annotate"),
        ("as `lowbg verify out` says", "as `lowbg verify out` says"),
        ("a field `body`, `meta.site`", "a field `body`, `meta.site`"),
    ],
)
def test_a_setting_is_called_by_its_option(message: str, told: str) -> None:
    assert FILTER(message) == told


def test_a_command_without_the_option_says_what_others_call_it() -> None:
    message = 'finish it with `existing="resume"` or `fields.text`, `documents=5`, `output=…`'
    assert CHECK(message) == "finish it with --resume or --text-field, --documents 5, -o"
    assert CHECK("`changed`, `label_field`") == "`changed`, `label_field`"


def test_pages_say_both() -> None:
    assert for_pages("Set `trust.before`, `annotate`") == (
        "Set trust.before (--trust-before DATE), annotate (--annotate)"
    )
    assert for_pages('`existing="resume"` `sample`') == '`existing="resume"` `sample`'


def test_an_error_about_a_setting_names_its_option_once() -> None:
    command = commands()["filter"]
    about = "fields.text"
    assert command.explain(ConfigError("is odd", key=about), ()) == "is odd (--text-field)"
    assert command.explain(ConfigError("see `fields.text`.", key=about), ()) == "see --text-field."


def run(*args: object) -> tuple[int, str]:
    """Exit code, and stderr as it is told."""
    got = CliRunner().invoke(program(), [str(arg) for arg in args])
    return got.exit_code, got.stderr


def test_a_directory_in_use_is_refused_in_both_spellings(tmp_path: Path) -> None:
    shard, out = tmp_path / "a.jsonl", tmp_path / "out"
    shard.write_text('{"text": "One two three."}\n')
    job = FilterJob((Shard(str(shard), "a.jsonl", shard.stat().st_size),), out, RunConfig())
    filter_shards(job)
    with pytest.raises(ConfigError) as refused:
        filter_shards(job)
    tail = "already holds a run. Use {} to go on with it, {} to add what is new, {} to replace it,"
    python = (f'`existing="{name}"`' for name in ("resume", "incremental", "overwrite"))
    assert f"{tail.format(*python)} or choose another `output`." in str(refused.value)
    code, told = run("filter", shard, "-o", out)
    options = ("--resume", "--incremental", "--overwrite")
    assert (code, f"{tail.format(*options)} or choose another -o.\n" in told) == (2, True)


def test_a_shards_problem_is_told_in_both_spellings(tmp_path: Path) -> None:
    table = pa.table({"body": ["One two three."]})
    pq.write_table(table, tmp_path / "a.parquet")
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    code, told = run("filter", tmp_path / "a.parquet", "-o", out, "--log-file", log)
    assert (code, "Name the text column with --text-field.\n" in told) == (3, True)
    (problem,) = json.loads((out / "report.json").read_bytes())["problems"]
    assert problem["message"].endswith("Name the text column with `fields.text`.")
    assert "with fields.text (--text-field FIELD)." in (out / "report.html").read_text("utf-8")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["message"].endswith("with --text-field.") for line in lines] == [
        False,
        True,
        False,
    ]
    assert lines[-1]["problems"][0].endswith("with --text-field.")


def test_a_scorer_without_its_model_says_so_in_both_spellings(tmp_path: Path) -> None:
    shard, model = tmp_path / "a.jsonl", tmp_path / "none"
    shard.write_text('{"text": "One two three."}\n')
    with pytest.raises(ConfigError, match=r"^`extras\.lm\.model` "):
        CausalLm(LmSettings(str(model))).prepare()
    code, told = run("filter", shard, "-o", tmp_path / "out", "--lm", model)
    assert (code, told.startswith("lowbg: error: --lm ")) == (2, True)


def test_a_gates_renderings_name_its_options(tmp_path: Path) -> None:
    shard, result = tmp_path / "a.jsonl", tmp_path / "gate.json"
    lines = (json.dumps({"text": f"{word} walked home slowly."}) for word in ("One", "Two", "Six"))
    shard.write_text("\n".join(lines) + "\n")
    limits = ("--max-phrase-hits", "refusal=0", "--sample", "2", "--json", result)
    code, _ = run("gate", shard, *limits)
    findings = json.loads(result.read_bytes())["findings"]
    finding = next(each for each in findings if each["rule"].startswith("max_phrase_hits"))
    assert (code, finding["reason"].endswith("; judge without --sample")) == (1, True)


def test_what_the_library_logs_is_said_in_options(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("lowbg.toy")
    with terminal.speaking(FILTER):
        log.warning("see `extras.lm.dtype=%s`", "float32")
        log.info("not said")
        logging.getLogger("lowbg").setLevel(logging.INFO)
        log.info("said")
    assert capsys.readouterr().err == ("lowbg: warning: see --lm-dtype float32\nlowbg: said\n")
    terminal.error("`fields.text`")
    assert capsys.readouterr().err == "lowbg: error: `fields.text`\n"
    assert not logging.getLogger("lowbg").handlers
