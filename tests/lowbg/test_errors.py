from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lowbg.decision.policy import load_policy, read_sources
from lowbg.errors import ConfigError
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
