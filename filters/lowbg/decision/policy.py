"""A policy file (TOML) as a `Policy`, and back."""

from __future__ import annotations

import datetime as dt
import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lowbg.config import (
    FprBound,
    Gate,
    GateGroup,
    GateStatistic,
    LmCalibration,
    LmSpread,
    Policy,
    Provenance,
    Rule,
    Thresholds,
    Unscored,
)
from lowbg.decision.lm import FEATURES
from lowbg.decision.provenance import SourcePatterns
from lowbg.errors import ConfigError, cause

KEYS: Mapping[str, tuple[str, ...]] = {
    "": ("decision", "thresholds", "trust", "calibration", "gate", "scorers"),
    "decision": ("rule", "target_fpr", "fpr_bound", "unscored"),
    "thresholds": ("min_perplexity", "min_burstiness", "max_phrase_hits"),
    "trust": (
        "before",
        "date_field",
        "fields",
        "allow_sources",
        "deny_sources",
        "count_fields",
    ),
    "calibration": ("min_ai_scores", "lm"),
    "calibration.lm": ("model", "feature", "band", "min_ai_scores", "languages"),
    "gate": (
        *("max_ai_share", "statistic", "max_ai_share_by", "source_field", "min_group_documents"),
        *("max_phrase_hits", "max_quarantined_share", "min_human_token_share"),
        "min_scored_documents",
    ),
    "gate.max_ai_share_by": tuple(GateGroup),
}
"""The keys of each table of a policy file; the empty name is the file itself."""


def load_policy(path: Path) -> Policy:
    """The policy that the file states; what it leaves out keeps its default.

    Raises `ConfigError`, naming the file and the key, for a file that can't be read, is no TOML,
    has an unknown key (the nearest known one is named) or a value of the wrong kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the policy cannot be read ({cause(error)})") from error
    return parse_policy(text, str(path), path.parent)


def parse_policy(text: str, name: str = "policy", folder: Path = Path()) -> Policy:
    """The policy in `text`; `name` stands in messages, `folder` is where lists of sources lie."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML ({error})") from error
    _check_keys(values, "", name)
    tables = {key: _table(values, key, name) for key in KEYS[""]}
    scorers = tables.pop("scorers")
    if "lm" in tables["calibration"]:
        tables["calibration.lm"] = _table(tables["calibration"], "lm", name, "calibration.")
    for key, table in tables.items():
        _check_keys(table, key, name)
    read = _Reader(name, folder)
    policy = Policy(gate=_gate(tables["gate"], read))
    decision, thresholds, trust = tables["decision"], tables["thresholds"], tables["trust"]
    changes: dict[str, Any] = {
        "scorers": {scorer: _table(scorers, scorer, name, "scorers.") for scorer in scorers},
        **read.given(
            decision,
            "decision",
            rule=Rule,
            target_fpr=_number,
            fpr_bound=FprBound,
            unscored=Unscored,
        ),
        "thresholds": replace(
            Thresholds(),
            **read.given(
                thresholds,
                "thresholds",
                min_perplexity=_number,
                min_burstiness=_number,
                max_phrase_hits=_whole,
            ),
        ),
    }
    dates = read.given(trust, "trust", before=_date, date_field=_text)
    changes["provenance"] = _provenance(trust, read)
    if "before" in dates:
        changes["trust_before"] = dates.pop("before")
    changes["min_ai_scores"] = _scores(tables["calibration"], "calibration.", read)
    if "calibration.lm" in tables:
        changes["lm"] = _lm(tables["calibration.lm"], read)
    try:
        return replace(policy, **changes, **dates)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _scores(table: Mapping[str, Any], prefix: str, read: _Reader) -> dict[str, float]:
    scores = _table(table, "min_ai_scores", read.name, prefix)
    return {
        code: read.value(score, f"{prefix}min_ai_scores.{code}", _share)
        for code, score in scores.items()
    }


def _lm(table: Mapping[str, Any], read: _Reader) -> LmCalibration:
    where = "calibration.lm"
    given = read.given(table, where, model=_text, feature=_feature, band=_band)
    languages = _table(table, "languages", read.name, f"{where}.")
    lacking = [key for key in ("model", "feature") if key not in given]
    if lacking or not languages:
        what = lacking[0] if lacking else "languages"
        raise ConfigError(f"{read.name}: [{where}] lacks {what}; `lowbg calibrate --lm` writes it")
    scores = _scores(table, f"{where}.", read)
    odd = sorted(scores.keys() ^ languages.keys())
    if odd:
        raise ConfigError(
            f"{read.name}: [{where}] must have the same languages in min_ai_scores and languages; "
            f"see {odd[0]!r}"
        )
    return LmCalibration(
        model=given["model"],
        feature=given["feature"],
        band=given.get("band"),
        languages={code: _spread(languages, code, read) for code in languages},
        min_ai_scores=scores,
    )


def _spread(languages: Mapping[str, Any], code: str, read: _Reader) -> LmSpread:
    where = f"calibration.lm.languages.{code}"
    table = _table(languages, code, read.name, "calibration.lm.languages.")
    names = ("mean", "between", "within", "correlation", "min_words")
    odd = sorted(set(table) ^ set(names))
    if odd:
        raise ConfigError(f"{read.name}: [{where}] must have {', '.join(names)}; see {odd[0]!r}")
    numbers = {name: read.value(table[name], f"{where}.{name}", _number) for name in names[:-1]}
    if min(numbers["between"], numbers["within"]) < 0 or not numbers["between"]:
        raise ConfigError(f"{read.name}: [{where}] between and within are variances, above 0")
    least = read.value(table["min_words"], f"{where}.min_words", _whole)
    return LmSpread(**numbers, min_words=least)


def _gate(table: Mapping[str, Any], read: _Reader) -> Gate:
    hits = _table(table, "max_phrase_hits", read.name, "gate.")
    parts = _table(table, "max_ai_share_by", read.name, "gate.")
    _check_keys(parts, "gate.max_ai_share_by", read.name)
    given = read.given(
        table,
        "gate",
        max_ai_share=_share,
        statistic=GateStatistic,
        source_field=_text,
        min_group_documents=_positive,
        max_quarantined_share=_share,
        min_human_token_share=_share,
        min_scored_documents=_whole,
    )
    shares = {
        GateGroup(group): read.value(most, f"gate.max_ai_share_by.{group}", _share)
        for group, most in parts.items()
    }
    counts = {
        category: read.value(most, f"gate.max_phrase_hits.{category}", _whole)
        for category, most in hits.items()
    }
    try:
        return Gate(max_ai_share_by=shares, max_phrase_hits=counts, **given)
    except ConfigError as error:
        raise ConfigError(f"{read.name}: {error}") from error


def _provenance(table: Mapping[str, Any], read: _Reader) -> Provenance:
    fields = _table(table, "fields", read.name, "trust.")

    def sources(value: Any) -> tuple[str, ...]:
        return read_sources(_texts(value), read.folder)

    return replace(
        Provenance(
            fields={
                name: read.value(globs, f"trust.fields.{name}", _texts)
                for name, globs in fields.items()
            }
        ),
        **read.given(
            table, "trust", allow_sources=sources, deny_sources=sources, count_fields=_texts
        ),
    )


def read_sources(patterns: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The patterns, with `@FILE` replaced by those in the file: one a line, `#` for comments.

    A relative path is looked for in `folder`. Raises `ConfigError` where a file can't be read or
    a pattern is none.
    """
    read: list[str] = []
    for pattern in patterns:
        if not pattern.startswith("@"):
            read.append(pattern)
            continue
        path = folder / pattern[1:]
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: the list of sources cannot be read ({cause(error)})"
            ) from error
        bare = (line.partition("#")[0].strip() for line in lines)
        read += [line for line in bare if line]
    SourcePatterns(read)
    return tuple(dict.fromkeys(read))


def _table(values: Mapping[str, Any], key: str, name: str, prefix: str = "") -> dict[str, Any]:
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise ConfigError(
            f"{name}: {prefix}{key} is {table!r}; it must be a table, [{prefix}{key}]"
        )
    return table


def _check_keys(table: Mapping[str, Any], where: str, name: str) -> None:
    known = KEYS[where]
    for key in table:
        if key in known:
            continue
        place = f"[{where}] " if where else ""
        nearest = difflib.get_close_matches(key, known, 1, cutoff=0.0)[0]
        homes = [table_name for table_name, keys in KEYS.items() if table_name and key in keys]
        hint = f"it belongs under [{homes[0]}]" if homes else f"did you mean {nearest!r}?"
        raise ConfigError(f"{name}: {place}unknown key {key!r}; {hint}")


class _Reader:
    """Values of a file, converted; a wrong one is a `ConfigError` that names file and key."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def given(
        self, table: Mapping[str, Any], where: str, **converters: Callable[[Any], Any]
    ) -> dict[str, Any]:
        """The keys of `converters` that `table` has, converted."""
        return {
            key: self.value(table[key], f"{where}.{key}", convert)
            for key, convert in converters.items()
            if key in table
        }

    def value(self, value: Any, where: str, convert: Callable[[Any], Any]) -> Any:
        """One value, converted."""
        try:
            return convert(value)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {where}: {error}") from error
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.name}: {where} is {value!r}; {error}") from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("it must be a number")
    return float(value)


def _share(value: Any) -> float:
    number = _number(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError("it must be between 0 and 1")
    return number


def _feature(value: Any) -> str:
    if value not in FEATURES:
        raise ValueError(f"it must be one of {', '.join(FEATURES)}")
    return str(value)


def _band(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("it must be [low, high]")
    return _share(value[0]), _share(value[1])


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("it must be a whole number, 0 or more")
    return value


def _positive(value: Any) -> int:
    if _whole(value) < 1:
        raise ValueError("it must be a whole number, 1 or more")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("it must be text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) and v for v in values):
        raise ValueError("it must be text, or a list of texts")
    return tuple(values)


def _date(value: Any) -> dt.date:
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("it must be a date, YYYY-MM-DD")
