"""What arrays kernels take beside plain ones, which have one dimension and may be written to.

A kernel is compiled for the types that its annotations name (`compiler.kernel`): arrays that lie in
one piece, integers of 64 bits, and tuples of such.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray


class Layout(NamedTuple):
    """How an array lies in memory: its dimensions, and whether it may be written to."""

    dimensions: int = 1
    writable: bool = True


Item = TypeVar("Item", bound=np.generic)

Text: TypeAlias = Annotated[NDArray[np.uint8], Layout(writable=False)]
"""Bytes that are only read: UTF-8, a block of a file."""

Rows: TypeAlias = Annotated[NDArray[Item], Layout(dimensions=2)]
"""An array of two dimensions."""

Fixed: TypeAlias = Annotated[NDArray[Item], Layout(writable=False)]
"""An array that is only read, as those of files are that are mapped to memory."""

FixedRows: TypeAlias = Annotated[NDArray[Item], Layout(dimensions=2, writable=False)]
"""Likewise, of two dimensions."""

Pointer: TypeAlias = Any
"""An address, from `vectors.pointer`; indexed like an array."""
