"""What each reviewer is shown next, and what became of it."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from lowbg.jobs.review.labels import Label, LabelLine, LabelsFile

AGAIN_EVERY: Final = 8
"""After so many documents one comes a second time."""
_APART: Final = 6
"""So many others lie between the two times, at the least."""


class Task(NamedTuple):
    """A document to label; `again`: for the second time."""

    document: int
    again: bool


def tasks(documents: int) -> list[Task]:
    """What a reviewer is asked, in order."""
    found: list[Task] = []
    for document in range(documents):
        found.append(Task(document, False))
        if document % AGAIN_EVERY == AGAIN_EVERY - 1 and document >= _APART:
            found.append(Task(document - _APART, True))
    return found


class Review:
    """The labels of all reviewers, under one lock; a label is on disk before the next is shown."""

    def __init__(self, file: LabelsFile) -> None:
        self._file = file
        self._tasks = tasks(len(file.design.documents))
        self._lock = threading.Lock()
        self._seen: dict[str, Task] = {}

    @property
    def labels(self) -> list[LabelLine]:
        """The labels that stand."""
        with self._lock:
            return self._file.standing()

    def next(self, reviewer: str) -> Task | None:
        """What the reviewer has not labelled yet; null where that is all."""
        with self._lock:
            done = {Task(each.document, each.again) for each in self._of(reviewer)}
            return next((task for task in self._tasks if task not in done), None)

    def counts(self, reviewer: str) -> tuple[int, int]:
        """How many documents the reviewer has labelled, and of how many."""
        with self._lock:
            return len(self._of(reviewer)), len(self._tasks)

    def show(self, reviewer: str, task: Task) -> None:
        """Notes that the reviewer has seen verdict and shading of what is to be labelled."""
        with self._lock:
            self._seen[reviewer] = task

    def has_seen(self, reviewer: str, task: Task) -> bool:
        """Whether the reviewer has."""
        return self._seen.get(reviewer) == task

    def label(self, reviewer: str, task: Task, label: Label) -> bool:
        """Notes a label; false where the task isn't the reviewer's next one: sent twice, or old."""
        if self.next(reviewer) != task:
            return False
        line = LabelLine(
            document=task.document, label=label, reviewer=reviewer, again=task.again,
            blind=not self.has_seen(reviewer, task), at=_now(),
        )  # fmt: skip
        with self._lock:
            self._file.add(line)
        return True

    def undo(self, reviewer: str) -> bool:
        """Takes back the reviewer's last label; false where there is none."""
        with self._lock:
            own = self._of(reviewer)
            if not own:
                return False
            last = own[-1]
            self._file.add(
                LabelLine(
                    document=last.document, label=last.label, reviewer=reviewer, again=last.again,
                    blind=last.blind, undo=True, at=_now(),
                )
            )  # fmt: skip
            return True

    def _of(self, reviewer: str) -> Sequence[LabelLine]:
        return [label for label in self._file.standing() if label.reviewer == reviewer]


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
