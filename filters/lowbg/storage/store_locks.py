"""One run at a time in a store: an object that is made where there is none, and kept fresh.

A run that dies leaves it; it counts until it is `STALE_S` old by the store's own clock, or, on the
machine where the run was, until its process is gone.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from lowbg.errors import LockedError
from lowbg.storage.objects import ConflictError, ObjectStore, StoreError

_log = logging.getLogger(__name__)

LOCK: Final = ".lowbg/lock.json"
BEAT_S: Final = 30.0
"""How often the holder says that it is still there."""

STALE_S: Final = 5 * BEAT_S
"""After so long without a word another run may take it."""


@contextmanager
def store_lock(store: ObjectStore) -> Iterator[Callable[[], bool]]:
    """Holds the place in the store for this process; within, says whether it still does.

    Raises `LockedError`, which names the holder's pid and host, where another one holds it.
    """
    held = _Held(store)
    thread = threading.Thread(target=held.keep, name="lowbg-store-lock", daemon=True)
    thread.start()
    try:
        yield lambda: not held.lost
    finally:
        held.ended.set()
        thread.join()
        if not held.lost:
            with suppress(StoreError):
                store.delete([LOCK])


class _Held:
    """The lock, from when it is had."""

    def __init__(self, store: ObjectStore) -> None:
        self.lost = False
        self.ended = threading.Event()
        self._store = store
        self._note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "token": uuid.uuid4().hex,
        }
        self._version = self._take()

    def _take(self) -> str:
        data = json.dumps(self._note).encode()
        try:
            return self._store.create(LOCK, data)
        except ConflictError:
            pass
        stored = self._store.head(LOCK)
        if stored is None:  # It was let go in between.
            return self._store.create(LOCK, data)
        note = _parsed(self._store.read(LOCK))
        version = str(stored.version)
        if note.get("token") == self._note["token"]:  # Made, but its answer was lost.
            return version
        if not self._is_dead(note) and self._now() - stored.modified < dt.timedelta(
            seconds=STALE_S
        ):
            raise self._locked(note)
        _log.warning("%s: the lock of a run that died is taken over", self._store.url)
        try:
            return self._store.put(LOCK, data, instead_of=version)
        except ConflictError as error:
            raise self._locked(note) from error

    def _now(self) -> dt.datetime:
        """The time by the store's clock."""
        name = f".lowbg/clock-{self._note['token']}"
        self._store.put(name, b"")
        stored = self._store.head(name)
        self._store.delete([name])
        return stored.modified if stored is not None else dt.datetime.now(dt.UTC)

    def _is_dead(self, note: dict[str, Any]) -> bool:
        """Whether the holder was a process of this machine that is gone."""
        pid = note.get("pid")
        if note.get("host") != socket.gethostname() or not isinstance(pid, int):
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def _locked(self, note: dict[str, Any]) -> LockedError:
        who = ", ".join(
            f"{what} {note[key]}"
            for what, key in (("pid", "pid"), ("host", "host"), ("since", "started"))
            if key in note
        )
        return LockedError(
            f"{self._store.url}: another run is writing there ({who or 'it just started'}). Wait "
            f"for it, or choose another `output`; one that died counts for {STALE_S:.0f} s more."
        )

    def keep(self) -> None:
        """Says that the run is still there, until it ends."""
        while not self.ended.wait(BEAT_S):
            try:
                data = json.dumps(self._note).encode()
                self._version = self._store.put(LOCK, data, instead_of=self._version)
            except ConflictError:
                # It may be the answer to an earlier attempt that came through.
                stored, note = self._store.head(LOCK), _parsed(self._store.read(LOCK))
                if stored is None or note.get("token") != self._note["token"]:
                    self.lost = True
                    return
                self._version = str(stored.version)
            except StoreError as error:
                _log.warning("%s: the lock can't be renewed (%s)", self._store.url, error)


def _parsed(data: bytes | None) -> dict[str, Any]:
    try:
        note = json.loads(data or b"")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
