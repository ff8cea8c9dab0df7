"""lowbg's own files: what is written comes back, and what is damaged says where."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lowbg.errors import ConfigError, LowbgError
from lowbg.jobs.drift.baseline import BASELINE
from lowbg.jobs.drift.history import CHECK
from lowbg.jobs.filter import RESERVED
from lowbg.jobs.gate.render_json import GATE_REPORT
from lowbg.jobs.mix.measure import MEASURED
from lowbg.report.collect import report_file
from lowbg.report.statistics import Statistics
from lowbg.runs.checkpoints import CHECKPOINT, RECORD, SEALED
from lowbg.runs.manifest import MANIFEST
from lowbg.storage.typed import FileType, compact, swiftly

FILES: dict[str, FileType[Any]] = {
    "baseline": BASELINE, "check": CHECK, "checkpoint": CHECKPOINT, "gate": GATE_REPORT,
    "manifest": MANIFEST, "measured": MEASURED, "record": RECORD, "report": report_file(),
    "reserved": RESERVED, "sealed": SEALED,
}  # fmt: skip

LARGEST = 2**53
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def counted(draw: st.DrawFn) -> Statistics:
    """Statistics that counted a little of everything."""
    made = Statistics()
    made.totals += draw(st.integers(0, 9))
    for name in draw(st.lists(TEXTS, max_size=3)):
        made.add_quarantined(name, draw(st.integers(0, 9)), 10)
        made.years.add([name], np.full((1, made.years.width), draw(st.integers(0, 9))))
    return made


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1e-3)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(ODD)
def test_it_is_written_as_python_writes_it(plain: Any) -> None:
    told = json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"
    assert compact(plain) == told
    found = swiftly(plain, indent=True)
    if found is not None:
        told = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False).encode()
        assert found == told


@pytest.mark.parametrize("odd", ["\x7f", "é’", "\U0001f600", "\ud800", '\x1f"\\', "1e-5,"])
def test_odd_characters_are_escaped_as_python_does(odd: str) -> None:
    assert compact({"a": odd}) == json.dumps({"a": odd}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("value", [1e-5, 1.5e-7, 0.00012, 1e16, 5e-324, -3.2e-5, 123456789.000012])
def test_small_numbers_are_spelled_as_python_does(value: float) -> None:
    assert compact([value]) == f"[{value!r}]\n".encode()


@functools.cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type that a file's struct uses; what it may lack is sometimes lacking."""
    if get_origin(kind) is Annotated:
        base, limits = get_args(kind)[0], kind.__metadata__[0]
        if limits.min_length is not None:
            return st.lists(values(get_args(base)[0]), min_size=2, max_size=2)
        if base is int:
            return st.integers(limits.ge, LARGEST)
        if base is float:
            return st.floats(limits.ge, limits.le, allow_infinity=False)
        return values(base)
    simple = {
        Any: ANY, int: st.integers(-LARGEST, LARGEST), bool: st.booleans(), str: TEXTS,
        float: st.floats(allow_nan=False, allow_infinity=False), bytes: st.binary(max_size=9),
        type(None): st.none(), msgspec.UnsetType: st.just(msgspec.UNSET),
        Statistics: counted(),
    }  # fmt: skip
    if kind in simple:
        return simple[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (list, Sequence):
        return st.lists(values(args[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=2)
    if origin is tuple and args[1:] == (...,):
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, args))
    if args:  # A union.
        return st.one_of(*map(values, args))
    if issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        names = inspect.signature(kind).parameters
        return st.builds(kind, **{name: values(hints[name]) for name in names})
    return st.from_type(kind)


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_comes_back(name: str, data: st.DataObject) -> None:
    file = FILES[name]
    content = data.draw(values(file.content))
    written = file.encode(content)
    read = file.decode(written, "x.json")
    assert read == content
    assert file.encode(read) == written


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_damaged_is_refused_by_its_name(name: str, data: st.DataObject) -> None:
    file = FILES[name]
    written = file.encode(data.draw(values(file.content)))
    cut = written[: data.draw(st.integers(0, len(written) - 2))]
    other = re.sub(rb'"lowbg([^"]*)/1"', rb'"lowbg\1/2"', written)
    damaged = [cut, b"\xff" + written, b"[" * 100_000, b"null", b"[1]", b"NaN"]
    if b'"schema"' in written:
        damaged += [other, b"{}", b'{"schema": 1}']
    for each in damaged:
        with pytest.raises(file.error, match=rf"(?s)^out/x\.json: .+\. {re.escape(file.advice)}$"):
            file.decode(each, "out/x.json")


def of(name: str, needed: Callable[[Any], Any] = lambda content: True) -> Any:
    """The plain values of a small file that holds what is `needed`."""
    found: list[bytes] = []

    @given(values(FILES[name].content))
    @settings(max_examples=100, database=None, derandomize=True, deadline=None,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    def draw(content: Any) -> None:
        if needed(content):
            found.append(FILES[name].encode(content))

    draw()
    return json.loads(min(found, key=len))


def named(content: Any, *keys: str) -> Any:
    """Puts what lies under the first key at `keys` under "one", between others like it."""
    for key in keys[:-1]:
        content = content[key]
    found = next(iter(content[keys[-1]].values()))
    content[keys[-1]] = {name: copy.deepcopy(found) for name in ("a", "b", "one", "z")}
    return content[keys[-1]]["one"]


@pytest.mark.parametrize(
    ("name", "needed", "spoil", "message"),
    [
        ("record", lambda c: getattr(c, "inputs", None) and hasattr(c, "places"),
         lambda c: named(c, "inputs").update(size="1"), "inputs.one.size: expected int, got str"),
        ("record", None, lambda c: c.pop("models", c.pop("mix", 0)), "missing"),
        ("checkpoint", None, lambda c: c["tally"].update(x=1), "tally.x: unknown key"),
        ("checkpoint", lambda c: c.parts,
         lambda c: named(c, "parts").update(stored=None),
         "parts.one.stored: expected int, got null"),
        ("sealed", None, lambda c: c["result"]["statistics"]["totals"].pop(),
         "result.statistics: totals: of the shape (3, 3); expected (4, 3)"),
        ("sealed", lambda c: len(c.result.statistics.years),
         lambda c: named(c, "result", "statistics", "years").__setitem__(2, 0.5),
         "result.statistics: years.one[2]: expected int, got float"),
        ("manifest", lambda c: len(c.files) > 1, lambda c: c["files"][1].pop("sha256"),
         "files[1].sha256: missing"),
        ("manifest", None, lambda c: c["totals"].update(human=-1),
         "totals.human: expected int >= 0"),
        ("baseline", lambda c: c.figures, lambda c: named(c, "figures").update(low=[]),
         "figures.one.low: expected float | null, got array"),
        ("check", lambda c: c.changes, lambda c: c["changes"][0].update(form="x"),
         "changes[0].form: invalid enum value 'x'"),
        ("measured", None, lambda c: c.update(sources=[1]), "sources[0]: expected str, got int"),
        ("reserved", lambda c: c, lambda c: c.update({next(iter(c)): ["a"]}),
         "expected array of length 2, got 1"),
        ("report", lambda c: c.runs, lambda c: c["runs"][0].update(workers=True),
         "runs[0].workers: expected int, got bool"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_place(
    name: str, needed: Any, spoil: Callable[[Any], object], message: str
) -> None:
    content = of(name, needed or (lambda content: True))
    spoil(content)
    with pytest.raises(FILES[name].error, match=re.escape(message)) as caught:
        FILES[name].decode(compact(content), "out/x.json")
    assert str(caught.value).startswith("out/x.json: ")


def test_another_version_that_wrote_a_file_is_named() -> None:
    content = {**of("manifest"), "version": "0.0.7", "more": 1}
    with pytest.raises(ConfigError, match=r"x: more: unknown key; lowbg 0\.0\.7 wrote it\. "):
        MANIFEST.decode(compact(content), "x")


@pytest.mark.parametrize("name", ["report", "gate"])
def test_keys_that_a_later_version_added_are_passed_over(name: str) -> None:
    content = of(name)
    read = FILES[name].decode(compact({**content, "added": [1]}), "x")
    assert json.loads(FILES[name].encode(read)) == content


def test_a_name_that_is_no_unicode_comes_back() -> None:
    assert RESERVED.decode(RESERVED.encode({"\udcff": ("a", "b")}), "x") == {"\udcff": ("a", "b")}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert RECORD.read_if_there(path) is None
    with pytest.raises(LowbgError, match=r"none\.json: cannot be read \(No such file"):
        RECORD.read(path)
