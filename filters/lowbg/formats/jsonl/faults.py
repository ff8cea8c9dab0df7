"""Why lines are no records, found for a whole block at once: the words are those of `objects`.

There are as many of them as different faults, not as lines: what is the same is said once.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lowbg.formats.jsonl.objects import Refused, invalid_json, invalid_utf8, judged
from lowbg.formats.paths import has_lists
from lowbg.kernels import json_faults as found

_SAMPLES: Final = {
    found.NO_VALUE: "x",
    found.NO_KEY: "{x",
    found.NO_COLON: '{""',
    found.NO_COMMA: "[1",
    found.CONTROL: '"\t"',
    found.UNTERMINATED: '"',
    found.ESCAPE: '"\\x"',
    found.EXTRA: "1 1",
    found.COMMA_IN_OBJECT: '{"":1,}',
    found.COMMA_IN_LIST: "[1,]",
}
"""A text with each fault of JSON, to have this Python's words for it."""

_VALUES: Final[dict[int, Any]] = {
    found.NULL: None,
    found.BOOLEAN: True,
    found.NUMBER: 0,
    found.STRING: "",
    found.LIST: [],
    found.OBJECT: {},
}


UNDECIDED: Final = -1
"""Of a line that may be a record, or needs another look."""

BLANK: Final = -2


class FaultFinder:
    """Says why lines are no records, where the text is in `text_field`."""

    def __init__(self, text_field: str) -> None:
        self._text_field = text_field
        # What a path leads to is looked up line by line.
        self._names_key = "." not in text_field and not has_lists(text_field)
        # A name with lone surrogates is in no valid line.
        self._key = np.frombuffer(text_field.encode("utf-8", "surrogatepass"), np.uint8)

    def find(
        self, block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[Refused]]:
        """Which of the refusals is each line's; `UNDECIDED`, or `BLANK` where it is no record.

        Line i is `block[starts[i]:ends[i]]`; a line end, or `PADDING`, stands behind it.
        """
        faults = np.empty(len(starts), np.int64)
        details = np.empty(len(starts), np.int64)
        data = np.frombuffer(block, np.uint8)
        found.find(
            *(data, starts, ends, self._key),
            *(int(self._names_key), int(_said(found.COMMA_IN_LIST) != _said(found.NO_VALUE))),
            *(faults, details),
        )
        which = np.full(len(starts), UNDECIDED, np.int64)
        which[faults == found.BLANK] = BLANK
        faulty = faults > found.BLANK
        # A detail is less than a line's bytes times 256.
        distinct, own = np.unique(faults[faulty] << 56 | details[faulty], return_inverse=True)
        which[faulty] = own
        refused = [self._refused(each >> 56, each & (1 << 56) - 1) for each in distinct.tolist()]
        return which, refused

    def _refused(self, fault: int, detail: int) -> Refused:
        if fault == found.WRONG_UTF8:
            return invalid_utf8(detail & 0xFF, detail >> 8)
        if fault in _SAMPLES:
            return invalid_json(_said(fault), detail)
        doc = _VALUES[detail] if fault == found.NOT_AN_OBJECT else {}
        if fault == found.TEXT_IS:
            doc = {self._text_field: _VALUES[detail]}
        refused = judged(doc, self._text_field)
        assert isinstance(refused, Refused)
        return refused


@cache
def _said(fault: int) -> str:
    """What Python's json says of such a fault."""
    try:
        json.loads(_SAMPLES[fault])
    except json.JSONDecodeError as error:
        return error.msg
    raise AssertionError(f"{_SAMPLES[fault]} is no JSON")
