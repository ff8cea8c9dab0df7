from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.s3_server import S3, no_fault, s3_server

# Of several workers each takes a core: small models gain nothing from more threads, and wait for
# each other where cores are few.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it sends to the background deaf to Ctrl-C, and so would be what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3]:
    """An S3 server of this session."""
    pytest.importorskip("moto.server")
    pytest.importorskip("obstore")
    with s3_server() as found:
        yield found


@pytest.fixture
def s3(s3_process: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server with nothing counted and no faults; the environment names it."""
    from lowbg.storage import objects

    for name, value in s3_process.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "FIRST_WAIT_S", 0.01)
    s3_process.plan = no_fault
    s3_process.requests.clear()
    s3_process.faults.clear()
    yield s3_process
    s3_process.plan = no_fault
