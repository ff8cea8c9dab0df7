"""A command's options are the settings of the groups that it takes.

A command is a function whose parameters are groups: dataclasses whose fields are settings
(`lowbg.settings`). What the parser needs is made from them, and the function receives them filled.
Nothing else is declared of an option: help, tables in the documentation and messages follow.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from lowbg.errors import ConfigError, LowbgError
from lowbg.settings import (
    ABOVE_ZERO,
    Declared,
    Setting,
    declared,
    default_text,
    fields_of,
    is_list,
    is_table,
    setting_of,
    without_null,
)
from lowbg_cli import first_use, terminal
from lowbg_cli.exits import ExitCode, ended
from lowbg_cli.values import checker_of, converted, parsed_kind, parser_of
from lowbg_cli.wording import Wording
from lowbg_cli.writing import refuse_shared

INPUT: Final = "INPUT"
"""What options stand for whose values are files, directories or globs."""

_OF = "changes of"


class Changes(Struct, frozen=True):
    """What the command line says of a configuration: new values by key, and their options."""

    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    flags: Mapping[str, str] = msgspec.field(default_factory=dict)

    def within(self, name: str) -> list[str]:
        """The options that were given of the settings in a part of the configuration."""
        return [flag for key, flag in self.flags.items() if f"{key}.".startswith(f"{name}.")]


def changes_of(struct: type) -> Any:
    """A field of a group, of type `Changes`: its options are all settings of a configuration."""
    return dataclasses.field(default_factory=Changes, metadata={_OF: struct})


class Only(Struct, frozen=True):
    """In `Annotated[Group, Only(…)]`: the settings that a command takes, by key or path."""

    names: Sequence[str] = ()
    without: Sequence[str] = ()

    def takes(self, own: Declared) -> bool:
        """Whether it is one of them; without names all are."""
        return (not self.names or own.within(self.names)) and not own.within(self.without)


class Option(Struct, frozen=True, eq=False):
    """An option (or argument) of a command.

    `parameter` is the function's, `group` its type, `path` what leads to the value in the group;
    `changes`: it is one of a configuration's `Changes`.
    """

    parameter: str
    group: Any
    path: tuple[str, ...]
    own: Declared
    changes: bool = False

    @property
    def setting(self) -> Setting:
        """What is declared of it."""
        return self.own.setting

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names, as `--output` and `-o`; an argument's stands for its value."""
        return self.own.flags

    @property
    def flag(self) -> str:
        """The name by which messages call it."""
        return self.own.flag

    @property
    def is_argument(self) -> bool:
        """Whether it stands on the command line without a name."""
        return not self.flags[0].startswith("-")

    @property
    def value_name(self) -> str:
        """What stands for its value in help: the unit, or the choices; empty for a flag."""
        kind = self.own.kind
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return f"<{'|'.join(kind)}>"
        return "" if self.is_argument or kind is bool else self.setting.unit

    @property
    def takes_several(self) -> bool:
        """Whether it may be given more than once."""
        return is_list(self.own.kind) or is_table(self.own.kind)

    @property
    def name(self) -> str:
        """What the parser calls it."""
        return "_".join((self.parameter, *self.path))

    @property
    def required(self) -> bool:
        """Whether the command doesn't start without it."""
        return self.own.default is MISSING and not self.changes

    @property
    def notes(self) -> str:
        """Its default and limits, as its help ends."""
        default = default_text(self.own)
        least, most = self.setting.least, self.setting.most
        low = "" if least is None else f"{least:g}<="
        low = "0<" if least == ABOVE_ZERO else low
        high = "" if most is None else f"<={most:g}"
        limits = f"x>={least:g}" if low.endswith("=") and not high else f"{low}x{high}"
        if self.own.kind not in (int, float) or limits == "x":
            limits = ""
        return "; ".join(part for part in (default and f"default: {default}", limits) if part)

    @property
    def help(self) -> str:
        """What `--help` says of it."""
        return f"{self.setting.help} [{self.notes}]" if self.notes else self.setting.help

    def parameter_of_parser(self) -> inspect.Parameter:
        """What typer makes the option from."""
        import typer

        own, kind = self.own, parsed_kind(self.own)
        info: Any
        if self.is_argument:
            info = typer.Argument(metavar=self.flags[0], help=self.help, show_default=False)
        else:
            info = typer.Option(
                *self.flags,
                metavar=self.setting.unit or None,
                help=self.help,
                show_default=False,
                hidden=self.setting.hidden,
                rich_help_panel=self.setting.heading,
                parser=parser_of(own),
                callback=checker_of(own),
            )
        default: Any
        if self.required:
            default, annotation = inspect.Parameter.empty, kind
        elif kind is bool and self.own.default is not None:
            default, annotation = False, bool
        else:
            default, annotation = None, kind | None
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[annotation, info],
        )


class Given(Struct, frozen=True):
    """The options that the command line gave, in order of their declaration."""

    options: Sequence[Option] = ()

    def of(self, *groups: type) -> list[str]:
        """Those of these groups."""
        return [option.flag for option in self.options if option.group in groups]

    def among(self, *flags: str) -> list[str]:
        """Those with one of these names."""
        return [option.flag for option in self.options if option.flag in flags]


def refuse(flags: Sequence[str], why: str) -> None:
    """Raises `ConfigError` where there are options that would have no effect."""
    if flags:
        raise ConfigError(f"{', '.join(flags)}: {why}")


class Command(Struct, frozen=True):
    """A command: what does it, and the options that it takes."""

    function: Callable[..., ExitCode]
    options: tuple[Option, ...]

    @property
    def wording(self) -> Wording:
        """The words for the library's messages."""
        return Wording([option.own for option in self.options if not option.is_argument])

    @property
    def takes_loose_words(self) -> bool:
        """Whether loose words belong to the list option before them: see `several`."""
        lists = [option for option in self.options if option.takes_several]
        if any(option.value_name == INPUT for option in lists):
            return True
        return bool(lists) and not any(option.is_argument for option in self.options)

    def callback(self) -> Callable[..., None]:
        """What typer registers: the function behind a signature that lists every option."""
        import typer

        def run(context: typer.Context, **values: Any) -> None:
            given = [option for option in self.options if _is_given(context, option.name)]
            raise typer.Exit(self.run({option: values[option.name] for option in given}))

        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        parameters = [context, *(option.parameter_of_parser() for option in self.options)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__name__, run.__doc__ = self.function.__name__, self.function.__doc__
        return run

    def run(self, said: Mapping[Option, Any]) -> int:
        """Does it, with the options that the command line gave and their parsed values.

        Returns the exit code. The options are in the order of their declaration.
        """
        given = [*said]
        quiet = any(option.flag == "--quiet" for option in given)
        first_use.compile_together(quiet=quiet)

        def call() -> ExitCode:
            refuse_shared((option.own, value) for option, value in said.items())
            return self.function(**self._filled(said))

        with terminal.speaking(self.wording, quiet=quiet):
            return ended(call, lambda error: self.explain(error, given))

    def explain(self, error: LowbgError, given: Sequence[Option]) -> str:
        """An error's message, with the option of the setting that it is about."""
        message = self.wording(str(error))
        of_key = [option for option in self.options if option.own.key == error.key]
        if not of_key or error.file is not None:
            return message
        flag = of_key[0].flag
        if flag in (word.strip(".,:;()") for word in message.split()):
            return message
        return f"{flag}: {message}" if of_key[0] in given else f"{message} ({flag})"

    def _filled(self, values: Mapping[Option, Any]) -> dict[str, Any]:
        """The function's arguments: every group, with what the command line says."""
        filled: dict[str, Any] = {}
        for name, (kind, single) in _parameters(self.function).items():
            own = [option for option in self.options if option.parameter == name]
            said = {
                option: converted(option.own, option.flag, values[option])
                for option in own
                if option in values
            }
            if kind is Given:
                filled[name] = Given(tuple(values))
            elif single is not None:
                filled[name] = next(iter(said.values()), own[0].own.default)
            else:
                filled[name] = _group(kind, said, own, ())
        return filled


class Group(Struct, frozen=True):
    """Commands under one name."""

    help: str
    commands: Mapping[str, Command]


def command(function: Callable[..., ExitCode]) -> Command:
    """A command made of a function that takes groups."""
    return Command(function, tuple(_options(function)))


def _is_given(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Setting | None]]:
    """Each parameter's type, and its setting where it is one by itself."""
    hints = typing.get_type_hints(function, include_extras=True)
    found: dict[str, tuple[Any, Setting | None]] = {}
    for name in inspect.signature(function).parameters:
        kind, notes = _unwrapped(hints[name])
        found[name] = (kind, next((n for n in notes if isinstance(n, Setting)), None))
    return found


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    notes = hint.__metadata__ if typing.get_origin(hint) is Annotated else ()
    bare = typing.get_args(hint)[0] if notes else hint
    return without_null(bare), notes


def _options(function: Callable[..., Any]) -> Iterator[Option]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, notes = _unwrapped(hints[name])
        single = next((note for note in notes if isinstance(note, Setting)), None)
        only = next((note for note in notes if isinstance(note, Only)), Only())
        if single is not None:
            empty = parameter.default is inspect.Parameter.empty
            default = MISSING if empty else parameter.default
            own = Declared((name,), kind, default, single)
            yield Option(name, None, (name,), own)
        elif kind is not Given:
            yield from (o for o in _of_group(name, kind, kind, ()) if only.takes(o.own))


def _of_group(parameter: str, group: Any, kind: Any, path: tuple[str, ...]) -> Iterator[Option]:
    for field, of in fields_of(kind):
        at, own = (*path, field.name), setting_of(field)
        if of is Changes:
            yield from (
                Option(parameter, group, (*at, *each.path), each, changes=True)
                for each in declared(field.metadata[_OF])
                if each.setting.flags is not None
            )
        elif own is not None:
            each = next(each for each in declared(kind, path) if each.path == at)
            yield Option(parameter, group, at, each)
        elif dataclasses.is_dataclass(of):
            yield from _of_group(parameter, group, of, at)


def _group(
    kind: Any, said: Mapping[Option, Any], own: Sequence[Option], path: tuple[str, ...]
) -> Any:
    """A group, or a part of one, with what was said of it."""
    values: dict[str, Any] = {}
    for field, of in fields_of(kind):
        at = (*path, field.name)
        inner = {option: value for option, value in said.items() if option.path[: len(at)] == at}
        if of is Changes:
            _require_leads(field.metadata[_OF], inner, own)
            values[field.name] = Changes(
                {option.own.key: value for option, value in inner.items()},
                {option.own.key: option.flag for option in inner},
            )
        elif setting_of(field) is not None:
            if inner:
                (values[field.name],) = inner.values()
        elif dataclasses.is_dataclass(of):
            values[field.name] = _group(of, said, own, at)
    return kind(**values)


def _require_leads(struct: type, said: Mapping[Option, Any], own: Sequence[Option]) -> None:
    """Raises `ConfigError` for options of a part that is null without another option."""
    given = [option.own for option in said]
    for lead in declared(struct):
        if lead.default is not MISSING or lead in given:
            continue
        part = lead.path[:-1]
        flags = [option.flag for option in said if option.own.path[: len(part)] == part]
        owner = next((o for o in own if o.own == lead), None)
        if flags and owner is not None:
            refuse(flags, f"only with {owner.flag} {owner.setting.unit}")
