"""From an output and its labels to a server, and to its end."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowbg.config import RunConfig
from lowbg.errors import ConfigError, cause
from lowbg.jobs.explain import explain
from lowbg.jobs.review.app import Site, application
from lowbg.jobs.review.drawing import draw, output_files, texts_of
from lowbg.jobs.review.labels import LabelsFile
from lowbg.jobs.review.queue import Review
from lowbg.runs.engine import Engine
from lowbg.storage.whole_files import is_there


def open_labels(root: Path, path: Path, config: RunConfig, size: int) -> LabelsFile:
    """The labels at `path`; where there are none yet, `size` documents are drawn.

    Raises `ConfigError` where `root` is no output of filter, or was made by another policy.
    """
    if is_there(path):
        return LabelsFile.open(path)
    output_files(root)
    engine = Engine(config.policy).setup()
    return LabelsFile.create(path, draw(root, config, engine, size))


def serve(
    root: Path,
    file: LabelsFile,
    config: RunConfig,
    *,
    port: int = 0,
    ready: Callable[[str], None],
) -> None:
    """Serves the page on the loopback address until it is closed there, or by a signal.

    `ready` is told its address. Raises `ConfigError` where the extra isn't installed, the port is
    taken, or the output isn't what the labels are of.
    """
    uvicorn = _uvicorn()
    texts = texts_of(root, file.design, config)
    engine = Engine(config.policy).setup()
    server: Any = None

    def stop() -> None:
        server.should_exit = True

    site = Site(
        name=root.resolve().name,
        design=file.design,
        review=Review(file),
        texts=texts,
        explain=lambda text, language: explain(engine, text, language=language),
        stop=stop,
    )
    listening = _socket(port)
    settings = uvicorn.Config(
        application(site),
        access_log=False,
        log_level=logging.ERROR,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _server(uvicorn, settings)
    ready(site.listen_at(listening.getsockname()[1]))
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()


def _server(uvicorn: Any, settings: Any) -> Any:
    """A server that a signal closes, and that is all: uvicorn's own raises it again at its end."""

    class Server(uvicorn.Server):  # type: ignore[misc]
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {
                number: signal.signal(number, self.handle_exit)
                for number in (signal.SIGINT, signal.SIGTERM)
            }
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server(settings)


def _uvicorn() -> Any:
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f"review needs the extra 'review', which isn't installed ({error}). "
            "Run: pip install 'lowbg[review]'"
        ) from error
    return uvicorn


def _socket(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(64)  # Who is told the address may come at once.
    except OSError as error:
        listening.close()
        raise ConfigError(f"port {port} can't be used ({cause(error)}); name another") from error
    return listening
