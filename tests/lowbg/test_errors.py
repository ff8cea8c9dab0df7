from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lowbg.decision.policy import load_policy, read_sources
from lowbg.errors import (
    PROBLEMS_VERSION,
    ConfigError,
    CutStreamError,
    FormatError,
    InputError,
    OutputError,
    ProblemKind,
)
from lowbg.scorers.watermark import read_keys


@pytest.mark.parametrize(
    "read",
    [load_policy, read_keys, lambda path: read_sources([f"@{path}"], Path())],
    ids=["policy", "watermark", "sources"],
)
def test_a_missing_file_is_named_once(read: Callable[[Path], object], tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    with pytest.raises(ConfigError) as caught:
        read(absent)
    assert str(caught.value).count(str(absent)) == 1
    assert str(caught.value).endswith("(No such file or directory)")


def test_a_file_that_is_no_text_says_where(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_bytes(b"[decision]\n\xff")
    with pytest.raises(ConfigError, match="position 11"):
        load_policy(policy)


def test_the_kinds_of_problems_stay_what_they_are_within_a_version() -> None:
    """Reports, manifests and checkpoints hold these strings."""
    assert PROBLEMS_VERSION == 1
    assert [kind.value for kind in ProblemKind if not kind.of_records] == [
        "input", "cutstream", "format", "no_text", "output", "worker"
    ]  # fmt: skip
    assert [kind.value for kind in ProblemKind if kind.of_records] == [
        "invalid_json", "invalid_utf8", "not_an_object", "missing_text", "null_text",
        "text_not_string", "too_large", "cut", "unreadable", "malformed",
    ]  # fmt: skip


def test_damage_lasts_and_what_may_pass_does_not() -> None:
    passing = [kind for kind in ProblemKind if not kind.lasting]
    assert passing == [ProblemKind.INPUT, ProblemKind.OUTPUT, ProblemKind.WORKER]


def test_every_error_of_an_input_has_its_kind() -> None:
    kinds = {
        error: error.problem for error in (InputError, CutStreamError, FormatError, OutputError)
    }
    assert [*kinds.values()] == ["input", "cutstream", "format", "output"]

    class Torn(FormatError):
        """A format of others raises an error of its own."""

    assert Torn("torn").problem is ProblemKind.FORMAT
