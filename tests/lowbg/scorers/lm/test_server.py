"""Requests to a server: what is tried again, what is said of errors, and where a key goes."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lowbg.config import LmDtype, LmSettings, is_served
from lowbg.errors import ConfigError, ModelError
from lowbg.scorers.lm.served import _ends_of
from lowbg.scorers.lm.server import KEY, RefusedError, Server
from lowbg.scorers.lm.shipped import probe_for
from lowbg.scorers.lm.store import locate

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server that answers requests (path, headers) so; its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            status, headers, body = answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
        running.shutdown()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have been waited before the next tries."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.delenv(KEY, raising=False)
    return pauses


def test_pauses_grow_and_a_wish_of_the_server_is_kept(slept: list[float]) -> None:
    with (
        answering(lambda *_: (502, {}, b"")) as address,
        pytest.raises(ModelError, match=r"/v1/models: asked 6 times, the last time: 502 Bad"),
    ):
        Server.at(address, 5.0).get("/models")
    assert len(slept) == 5
    assert all(0.25 * 2**k <= pause <= 0.5 * 2**k for k, pause in enumerate(slept))
    slept.clear()
    left = [429, 429]

    def busy(*_: Any) -> Answer:
        status = left.pop() if left else 200
        return status, {"Retry-After": "7"}, b'{"ok": 1}'

    with answering(busy) as address:
        assert Server.at(address, 5.0).post("/completions", {}) == {"ok": 1}
    assert slept == [7.0, 7.0]


def test_what_will_not_change_is_told_at_once(slept: list[float]) -> None:
    body = json.dumps({"error": {"message": "too\n long"}}).encode()
    with (
        answering(lambda *_: (400, {}, body)) as address,
        pytest.raises(RefusedError, match=r"/v1/completions: 400 Bad Request: too long$") as caught,
    ):
        Server.at(address, 5.0).post("/completions", {})
    assert caught.value.status == 400
    # Workers send what they raise to the process that started them.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert slept == []


def test_a_page_is_no_answer() -> None:
    with (
        answering(lambda *_: (200, {}, b"<html>Welcome")) as address,
        pytest.raises(ModelError, match=r"no JSON came, but '<html>Welcome'"),
    ):
        Server.at(address, 5.0).get("/models")


def test_nobody_there_and_nobody_that_answers(slept: list[float]) -> None:
    with answering(lambda *_: (200, {}, b"{}")) as address:
        pass
    with pytest.raises(ModelError, match=r"asked 6 times, the last time: .*refused"):
        Server.at(address, 5.0).get("/models")
    asleep = threading.Event()

    def silent(*_: Any) -> Answer:
        asleep.wait(20)
        return 200, {}, b"{}"

    with answering(silent) as address:
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer within 0\.1 s; `extras\.lm\.timeout`"):
            Server.at(address, 0.1).get("/models")
        assert time.monotonic() - began < 10
        asleep.set()


def test_a_key_goes_to_the_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect isn't followed, and what the server says of the key isn't repeated."""
    monkeypatch.setenv(KEY, "sesame-4711")
    seen: list[str | None] = []

    def other(path: str, headers: dict[str, str]) -> Answer:
        seen.append(headers.get("Authorization"))
        return 200, {}, b"{}"

    with (
        answering(other) as elsewhere,
        answering(lambda *_: (302, {"Location": elsewhere}, b"see sesame-4711")) as address,
        pytest.raises(ModelError, match=r"302 Found: see \*\*\*") as caught,
    ):
        Server.at(address, 5.0).get("/models")
    assert seen == []
    assert "4711" not in str(caught.value) + repr(Server.at("http://h", 1.0))
    monkeypatch.setenv(KEY, "sesame\n4711")
    with pytest.raises(ConfigError, match=f"^{KEY}: has a letter") as caught_too:
        Server.at("http://h/v1", 1.0)
    assert "4711" not in str(caught_too.value)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("HTTP://Host:8000", "http://host:8000/v1"),
        ("https://h/lm/v1", "https://h/lm/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert is_served(address)
    assert Server.at(address, 1.0).url == url


@pytest.mark.parametrize("address", ["http://me:secret@h/v1", "http://h/v1?key=secret", "http://"])
def test_addresses_that_hold_more_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Server.at(address, 1.0)
    assert "secret" not in str(caught.value)


def test_what_a_server_does_not_take_is_refused() -> None:
    address = "http://127.0.0.1:8000/v1"
    no_use: dict[str, Any] = {
        "performer": "gpt2", "probe": "p", "dtype": LmDtype.BFLOAT16, "device": "cpu",
        "batch_tokens": 9,
    }  # fmt: skip
    for setting, value in no_use.items():
        with pytest.raises(ConfigError, match=rf"leave out `extras\.lm\.{setting}`"):
            LmSettings(address, **{setting: value})
    only: dict[str, Any] = {"name": "x", "requests": 2, "timeout": 3.0}
    for setting, value in only.items():
        with pytest.raises(ConfigError, match=rf"one that runs here; .*`extras\.lm\.{setting}`"):
            LmSettings("gpt2", **{setting: value})
    LmSettings(address, probe="none", name="x", requests=2, timeout=3.0)
    assert probe_for(address) is None
    with pytest.raises(ConfigError, match=r"a server gives log-probabilities alone"):
        locate(address, "`extras.lm.model`")


def test_tokens_are_found_in_the_text() -> None:
    pieces = ["<s>", "Gr", "�", "�", "ße", ",", " 世", "�", "!"]
    assert _ends_of("Grüße, 世界!", pieces).tolist() == [0, 2, 2, 2, 5, 6, 8, 8, 10]
    assert _ends_of("one two", ["one", "two"]).tolist() == [3, 7]  # without their spaces
