"""Object stores, against a server that speaks S3 and goes wrong."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from tests.s3_server import BUCKET, S3, Fault, free_port, no_fault

from lowbg.errors import ConfigError, InputError
from lowbg.runs.inputs import discover
from lowbg.storage import objects, store_settings
from lowbg.storage.compression import open_binary, open_input
from lowbg.storage.objects import ConflictError, ObjectStore, StoreError, object_url
from lowbg.storage.store_settings import aws_profile

pytestmark = pytest.mark.slow


def _store(name: str) -> ObjectStore:
    return ObjectStore(f"s3://{BUCKET}/{name}")


def test_objects_come_back(s3: S3, tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(_store("round")))
    data = os.urandom(20 << 20)
    (tmp_path / "data").write_bytes(data)
    assert store.list() == {}
    store.upload("a/date=2021-01-01/big #1 100%.bin", tmp_path / "data")
    store.put("a/small", b"x")
    store.put("ab/small", b"y")
    assert {name: each.size for name, each in store.list("a").items()} == {
        "a/date=2021-01-01/big #1 100%.bin": len(data),
        "a/small": 1,
    }
    with store.open("a/date=2021-01-01/big #1 100%.bin") as file:
        assert file.read() == data
        assert file.read() == b""
        file.seek(-5, os.SEEK_END)
        assert file.read(10) == data[-5:]
        file.seek(objects.RANGE_BYTES - 3)
        assert file.read(7) == data[objects.RANGE_BYTES - 3 :][:7]
    store.download("a/small", tmp_path / "small")
    assert (tmp_path / "small").read_bytes() == b"x" == store.read("a/small")
    store.delete(["a/small", "not there"])
    assert store.head("a/small") is store.read("a/small") is None
    with pytest.raises(FileNotFoundError):
        store.open("a/small")


def test_puts_are_conditional(s3: S3) -> None:
    store = _store("conditional")
    first = store.create("lock", b"1")
    with pytest.raises(ConflictError):
        store.create("lock", b"2")
    second = store.put("lock", b"2", instead_of=first)
    with pytest.raises(ConflictError):
        store.put("lock", b"3", instead_of=first)
    assert store.put("lock", b"3", instead_of=second) != second
    assert store.read("lock") == b"3"


def test_an_object_that_changes_is_not_read_on(s3: S3) -> None:
    store = _store("changing")
    store.put("a", os.urandom(2 * objects.RANGE_BYTES))
    with store.open("a") as file:
        file.read(10)
        store.put("a", os.urandom(2 * objects.RANGE_BYTES))
        file.seek(objects.RANGE_BYTES + 10)
        file._ranges.clear()  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="changed while it was read"):
            file.read(10)


@pytest.mark.parametrize("fault", ["500", "503", "cut", "refused", "lost", "slow"])
def test_what_may_pass_is_tried_again(fault: Fault, s3: S3, tmp_path: Path) -> None:
    store = _store(f"faulty-{fault}")
    data = os.urandom(2 * objects.RANGE_BYTES + 5)
    (tmp_path / "data").write_bytes(data)
    # Every other request goes wrong; of slow ones fewer, since each takes its time.
    every = 5 if fault == "slow" else 2
    s3.plan = lambda method, path, before: fault if sum(s3.requests.values()) % every == 1 else None
    store.upload("big", tmp_path / "data")
    assert [each.size for each in store.list().values()] == [len(data)]
    with store.open("big") as file:
        assert file.read() == data
    assert s3.faults[fault] > 1


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_an_upload_whose_last_answer_is_lost_is_made_again(
    fault: Fault, s3: S3, tmp_path: Path
) -> None:
    """Asked again the store knows no such upload: it is complete already."""
    data = os.urandom(2 * objects.RANGE_BYTES)
    (tmp_path / "data").write_bytes(data)
    s3.plan = lambda method, path, before: (
        fault if method == "POST" and "uploadId" in path and not s3.faults else None
    )
    _store("answered").upload("big", tmp_path / "data")
    assert s3.faults == {fault: 1}
    assert _store("answered").read("big") == data


def test_what_does_not_pass_is_said(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "ATTEMPTS", 2)
    monkeypatch.setattr(store_settings, "OBSTORE_RETRIES", 1)
    s3.plan = lambda method, path, before: "503"
    with pytest.raises(StoreError, match="503"):
        _store("never").read("a")
    s3.plan = no_fault
    with pytest.raises(StoreError, match="no such bucket"):
        ObjectStore("s3://no-such-bucket/x").create("a", b"")


def test_who_waits_is_told_why(
    s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_settings, "OBSTORE_RETRIES", 0)
    s3.plan = lambda method, path, before: "503" if before < 2 else None
    store = _store("waiting")
    store.put("quick", b"")
    assert not caplog.messages
    monkeypatch.setattr(objects, "PATIENCE_S", 0.0)
    for name in ("a", "b"):
        store.put(name, b"")
    (said,) = caplog.messages
    assert said.startswith(f"{store.url}: ")
    assert said.endswith("; trying again")
    assert "503" in said


def test_a_server_that_does_not_listen_is_named(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setattr(objects, "ATTEMPTS", 1)
    monkeypatch.setattr(store_settings, "OBSTORE_RETRIES", 0)
    for ask in (lambda: _store("x").list(), lambda: _store("x").read("a")):
        with pytest.raises(StoreError, match=f"^{nobody} can't be reached"):
            ask()


def test_inputs_are_listed_and_read(s3: S3) -> None:
    store = _store("inputs")
    for name in ("b/2.jsonl", "b/1.jsonl", "b/README", "b/_SUCCESS", "c/3.jsonl"):
        store.put(name, b'{"text": "One."}\n')
    found = discover([f"s3://{BUCKET}/inputs/b"])
    assert [(shard.name, shard.size) for shard in found] == [("1.jsonl", 17), ("2.jsonl", 17)]
    assert found[0].path == f"s3://{BUCKET}/inputs/b/1.jsonl"
    with open_input(found[0].path) as stream:
        assert stream.read(100) == b'{"text": "One."}\n'
    glob = discover([f"s3://{BUCKET}/inputs/*/*.jsonl"])
    assert [shard.name for shard in glob] == ["b/1.jsonl", "b/2.jsonl", "c/3.jsonl"]
    assert [s.name for s in discover([f"s3://{BUCKET}/inputs/c/3.jsonl"])] == ["3.jsonl"]
    with pytest.raises(ConfigError, match="no such file"):
        discover([f"s3://{BUCKET}/inputs/d"])
    with pytest.raises(InputError, match="no such file"):
        open_binary(f"s3://{BUCKET}/inputs/d.jsonl")


def test_urls_are_told_from_paths() -> None:
    assert object_url(Path("s3://bucket/a/b/")) == "s3://bucket/a/b"
    assert object_url("GS://bucket/a") == "gs://bucket/a"
    assert not objects.is_object_url("s3/bucket")
    assert not objects.is_object_url("https://x.org/s3://b")


def test_profiles_are_read_as_aws_has_them(tmp_path: Path) -> None:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = d\naws_secret_access_key = e%f\n"
        "[lab]\naws_access_key_id = l\naws_secret_access_key = m\naws_session_token = n\n"
    )
    (folder / "config").write_text("[default]\nregion = eu-west-1\n[profile lab]\nregion = us-x\n")
    home = {"HOME": str(tmp_path)}
    assert aws_profile(home) == {
        "access_key_id": "d", "secret_access_key": "e%f", "region": "eu-west-1",
    }  # fmt: skip
    assert aws_profile({**home, "AWS_PROFILE": "lab"}) == {
        "access_key_id": "l", "secret_access_key": "m", "token": "n", "region": "us-x",
    }  # fmt: skip
    said = {**home, "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "r"}
    assert aws_profile(said) == {}
    assert aws_profile({"HOME": str(tmp_path / "none")}) == {}
