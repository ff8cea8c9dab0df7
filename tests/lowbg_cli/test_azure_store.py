"""Runs from and to Azure's blob storage, where Azurite is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.azure_server import CONTAINER, azure_server, azurite
from tests.lowbg_cli.shards import AI, HUMAN, lines
from tests.lowbg_cli.stored import data_of, fetched
from typer.testing import Result

from lowbg.storage import objects
from lowbg.storage.objects import ConflictError, ObjectStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(azurite() is None, reason="Azurite isn't installed"),
]

Run = Callable[..., Result]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a place in a container, with two shards."""
    with azure_server(tmp_path / "azurite") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        store = ObjectStore(f"az://{CONTAINER}/x")
        store.put("in/a.jsonl", lines(*HUMAN[:6], AI))
        store.put("in/sub/b.jsonl", lines(*HUMAN[6:9]))
        yield store.url


def test_runs_there_write_what_local_ones_do(box: str, run: Run, tmp_path: Path) -> None:
    local = fetched(box, tmp_path / "local")
    mix = ("--min-human", "0.6", "-q", "-o")
    for place in (box, local):
        for command in (
            ("filter", f"{place}/in", "-q", "-o", f"{place}/out"),
            ("verify", f"{place}/out", "-q"),
            ("gate", f"{place}/out/human", "--max-ai-share", "0.9", "--undecided", "pass"),
            ("mix", "--human", f"{place}/out", "--synthetic", f"{place}/in", *mix, f"{place}/mix"),
            ("verify", f"{place}/mix", "-q"),
            ("merge", f"{place}/out", "-q", "-o", f"{place}/whole"),
            ("verify", f"{place}/whole", "-q"),
            ("filter", f"{place}/in", "-q", "-o", f"{place}/out", "--resume"),
            ("filter", f"{place}/in", "-q", "-o", f"{place}/out", "--overwrite"),
        ):
            done = run(*command)
            assert done.exit_code == 0, (command, done.output)
    copy = fetched(box, tmp_path / "copy")
    for output in ("out", "mix", "whole"):
        assert data_of(copy / output) == data_of(local / output)


def test_puts_are_conditional_and_deletes_forgiving(box: str, tmp_path: Path) -> None:
    store = ObjectStore(f"{box}/lock")
    first = store.create("lock", b"1")
    with pytest.raises(ConflictError):
        store.create("lock", b"2")
    store.put("lock", b"2", instead_of=first)
    with pytest.raises(ConflictError):
        store.put("lock", b"3", instead_of=first)
    data = bytes(range(256)) * (2 * objects.RANGE_BYTES // 256)
    (tmp_path / "data").write_bytes(data)
    store.upload("big", tmp_path / "data")
    with store.open("big") as file:
        assert file.read() == data
    store.delete(["none", "big", "nor this", "lock"])
    assert store.list() == {}
