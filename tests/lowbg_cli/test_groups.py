"""An option is declared once, as a field of a dataclass: a toy one shows all that follows."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from lowbg.config import Policy, RunConfig, Thresholds, as_dict
from lowbg.decision.policy import parse_policy
from lowbg.decision.policy_text import policy_text
from lowbg.errors import ConfigError, InputError
from lowbg.settings import Heading, Setting, declared, setting, with_changes
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Changes, Command, Given, Only, changes_of, command
from lowbg_cli.helping import PlainCommand
from lowbg_cli.option_tables import commands, option_table
from lowbg_cli.plan import print_plan

SOURCES = Path(__file__).parents[2] / "cli" / "lowbg_cli"


@dataclass(frozen=True, slots=True)
class ToyThresholds(Thresholds):
    """Thresholds with one more: this field is all that there is of the toy."""

    min_moonlight: float = setting(
        "With rule thresholds: below this it is AI.",
        0.25,
        key="thresholds.min_moonlight",
        unit="LUX",
        heading=Heading.DECISION,
        least=0.0,
        most=9.0,
    )


@dataclass(frozen=True, slots=True)
class ToyPolicy(Policy):
    thresholds: ToyThresholds = field(default_factory=ToyThresholds)


@dataclass(frozen=True, slots=True)
class ToyConfig(RunConfig):
    policy: ToyPolicy = field(default_factory=ToyPolicy)


@dataclass(frozen=True, slots=True)
class ToyOptions:
    changes: Changes = changes_of(ToyConfig)


@dataclass(frozen=True, slots=True)
class Extent:
    """A group of the command's own."""

    wide: bool = setting("How wide.", False)
    times: int = setting("How often.", 1, unit="N", least=1)
    names: tuple[str, ...] = setting("Of whom.", (), unit="NAME")


@command
def toy_command(
    *,
    place: Annotated[str, Setting("Where.", flags="PLACE")],
    options: Annotated[ToyOptions, Only(("thresholds", "gate.max_phrase_hits"))],
    extent: Extent,
    given: Given,
) -> ExitCode:
    """Do nothing."""
    config = with_changes(ToyConfig(), options.changes.values)
    print_plan({"place": place, "given": ", ".join(given.of(Extent))}, config, ())
    typer.echo(extent)
    if place == "the moon":
        raise InputError("it is far away", key="thresholds.min_moonlight")
    return ExitCode.FINISHED


def run(of: Command, *args: str) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=PlainCommand)(of.callback())
    return CliRunner().invoke(app, args)


def test_a_toy_s_help() -> None:
    page = " ".join(run(toy_command, "--help").stdout.split())
    text = "--min-moonlight LUX With rule thresholds: below this it is AI. [default: 0.25; 0<=x<=9]"
    assert text in page
    assert page.index("Decision:") < page.index("--min-moonlight")


def test_a_toy_is_parsed_and_shown_by_dry_run() -> None:
    shown = run(toy_command, "x", "--min-moonlight", "0.5").stdout
    assert re.search(r"^policy\.thresholds\.min_moonlight +0\.5$", shown, re.MULTILINE)
    assert re.search(r"min_moonlight +0\.25$", run(toy_command, "x").stdout, re.MULTILINE)


@pytest.mark.parametrize("value", ["9.5", "nan", "much"])
def test_a_toy_s_limits(value: str) -> None:
    result = run(toy_command, "x", "--min-moonlight", value)
    assert result.exit_code == 2
    assert "--min-moonlight" in result.stderr


def test_a_toy_s_policy_key() -> None:
    policy = parse_policy("[thresholds]\nmin_moonlight = 2\n", kind=ToyPolicy)
    assert isinstance(policy, ToyPolicy)
    assert policy.thresholds.min_moonlight == 2.0
    assert "min_moonlight = 2.0\n" in policy_text(policy)
    assert parse_policy(policy_text(policy), kind=ToyPolicy) == policy
    assert as_dict(policy)["thresholds"]["min_moonlight"] == 2.0
    for text, message in (
        ("min_moonlight = 10", r"thresholds\.min_moonlight is 10; it must be between 0 and 9"),
        ("min_moonligt = 1", r"\[thresholds\] unknown key 'min_moonligt'; .*'min_moonlight'"),
    ):
        with pytest.raises(ConfigError, match=rf"p\.toml: {message}"):
            parse_policy(f"[thresholds]\n{text}", "p.toml", kind=ToyPolicy)


def test_a_toy_s_row_in_the_documentation() -> None:
    table = option_table(toy_command.options)
    assert "| `--min-moonlight LUX` | With rule thresholds: below this it is AI. " in table


def test_a_toy_in_a_message() -> None:
    silent, said = (
        run(toy_command, "the moon", *more).stderr for more in ((), ("--min-moonlight", "1"))
    )
    assert silent == "lowbg: error: it is far away (--min-moonlight)\n"
    assert said == "lowbg: error: --min-moonlight: it is far away\n"


def test_what_was_given_is_no_matter_of_defaults() -> None:
    shown = run(toy_command, "x", "--times", "1", "--names", "a", "--names", "b").stdout
    assert re.search(r"^given +--times, --names$", shown, re.MULTILINE)
    assert "Extent(wide=False, times=1, names=('a', 'b'))" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("refusal", "--max-phrase-hits refusal: write CATEGORY=N"),
        ("refusal=-1", "--max-phrase-hits refusal=-1: '-1' is not a whole number, 0 or more"),
    ],
)
def test_tables_are_read_word_by_word(given: str, message: str) -> None:
    result = run(toy_command, "x", "--max-phrase-hits", given)
    assert (result.exit_code, result.stderr) == (2, f"lowbg: error: {message}\n")


def test_whole_numbers_may_have_their_separators() -> None:
    shown = run(toy_command, "x", "--times", "1,924", "--max-phrase-hits", "refusal=2,000").stdout
    assert "times=1924" in shown
    assert re.search(r"max_phrase_hits.*2000", shown)


def test_settings_left_out_are_no_options() -> None:
    flags = {option.flag for option in toy_command.options}
    assert flags >= {"--min-moonlight", "--min-perplexity", "--max-phrase-hits", "--wide"}
    assert not flags & {"--target-fpr", "--text-field", "--max-ai-share"}


# --- the real commands


@pytest.mark.parametrize("name", commands())
def test_every_option_has_help_and_a_name_of_its_own(name: str) -> None:
    options = commands()[name].options
    assert options
    for option in options:
        assert option.setting.help.endswith((".", "?")), option.flag
    flags = [flag for option in options for flag in option.flags]
    assert len(set(flags)) == len(flags)
    assert len({option.name for option in options}) == len(options)


@pytest.mark.parametrize("name", commands())
def test_a_command_takes_at_most_twelve_groups(name: str) -> None:
    code = commands()[name].function.__code__
    assert code.co_argcount + code.co_kwonlyargcount <= 12


def test_every_key_of_a_policy_has_help_and_one_place() -> None:
    found = declared(Policy)
    keys = [own.key for own in found]
    assert len(set(keys)) == len(keys)
    assert all(own.setting.help and own.setting.key for own in found)


PRIVATE = (
    *("__base__", "registered_commands", "registered_groups", "registered_callback"),
    *("NoArgsIsHelpError", "typer._", "import click", "from click", "type(error).__name__ =="),
    *("fmt: skip", "_click"),
)


def test_nothing_private_of_the_parser_is_used() -> None:
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in PRIVATE if name in text], path


def test_the_parser_s_errors_are_known_by_what_they_promise() -> None:
    """Whatever class they have: an exit code and a message."""
    from lowbg_cli.exits import usage_errors_in_a_line

    class Unheard(Exception):
        exit_code = 2

        def format_message(self) -> str:
            return "No such thing."

    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said),
        pytest.raises(typer.Exit) as ended,
        usage_errors_in_a_line(),
    ):
        raise Unheard
    assert ended.value.exit_code == ExitCode.USAGE
    assert said.getvalue() == "lowbg: error: no such thing; see lowbg --help\n"
    with pytest.raises(ZeroDivisionError), usage_errors_in_a_line():
        raise ZeroDivisionError
