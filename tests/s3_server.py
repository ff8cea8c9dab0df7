"""An S3 server on the loopback address, and a proxy in front of it that goes wrong on purpose."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.request import Request, urlopen

Fault = Literal["500", "503", "cut", "slow", "refused", "lost"]
"""500, 503: answered so. cut: the connection breaks in the middle of the body. slow: the answer
comes late. refused: the connection breaks before anything is done. lost: it is done, but the
connection breaks before any answer."""

Plan = Callable[[str, str, int], Fault | None]
"""What goes wrong with a request: its method, its path, and how many such there were before."""

SLOW_S = 3.0
BUCKET = "lake"


def no_fault(method: str, path: str, before: int) -> Fault | None:
    """Nothing goes wrong."""
    return None


@dataclass
class S3:
    """The server as clients see it: through the proxy. `plan` may be changed at any time."""

    endpoint: str
    plan: Plan = no_fault
    requests: Counter[str] = field(default_factory=Counter)
    """Requests by method and path."""
    faults: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to know, as its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "LOWBG_STORE_TIMEOUT": "2",
        }

    def fault(self, method: str, path: str) -> Fault | None:
        """Counts a request; what is to go wrong with it."""
        key = f"{method} {path.partition('?')[0]}"
        with self.lock:
            before = self.requests[key]
            self.requests[key] += 1
            found = self.plan(method, path, before)
            if found is not None:
                self.faults[found] += 1
        return found


@contextmanager
def s3_server() -> Iterator[S3]:
    """moto's server, as a process of its own, with an empty bucket; and the proxy."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy = None
    try:
        wait_for(port)
        urlopen(Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")).close()
        proxy = _Proxy(("127.0.0.1", 0), _Handler)
        proxy.port = port
        proxy.s3 = S3(f"http://127.0.0.1:{proxy.server_address[1]}")
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy.s3
    finally:
        if proxy is not None:
            proxy.shutdown()
            proxy.server_close()
        server.kill()
        server.wait()


def free_port() -> int:
    """A port of the loopback address that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    """Returns when somebody listens to it."""
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < until, "the server doesn't start"
            time.sleep(0.05)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    port: int
    s3: S3

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def handle_one_request(self) -> None:
        """One request, of any method."""
        self.raw_requestline = self.rfile.readline(1 << 16)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._body()
        fault = self.server.s3.fault(self.command, self.path)
        if fault == "refused":
            self._break()
            return
        if fault in ("500", "503"):
            self._answer(int(fault), [], b"<Error><Code>SlowDown</Code></Error>")
            return
        if fault == "slow":
            time.sleep(SLOW_S)
        status, headers, data = self._ask(body)
        if fault == "lost":
            self._break()
            return
        self._answer(status, headers, data, cut=fault == "cut")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        to = http.client.HTTPConnection("127.0.0.1", self.server.port)
        own = ("connection", "transfer-encoding", "expect", "content-length")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in own}
        to.request(self.command, self.path, body, headers)
        answer = to.getresponse()
        data = answer.read()
        to.close()
        return answer.status, answer.getheaders(), data

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        size = str(len(data))
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
            elif name.lower() == "content-length" and self.command == "HEAD":
                size = value
        self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
