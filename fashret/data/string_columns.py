"""Columns of strings that stay in Arrow: their codes, and their distinct values as a sequence."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_READ = 4096
"""Values that are read at a time."""


def encode(
    column: pa.ChunkedArray, unknown: Sequence[str] = ()
) -> tuple[NDArray[np.int32], pa.Array]:
    """Encode a column of strings as codes into its sorted distinct values.

    Args:
        column: N strings, null for none.
        unknown: spellings of no value.

    Returns:
        (N,) int codes, -1 where there is no value; and the values.
    """
    distinct = pc.drop_null(pc.unique(column))
    if unknown:
        distinct = distinct.filter(pc.invert(pc.is_in(distinct, value_set=pa.array(unknown))))
    values = distinct.take(pc.sort_indices(distinct))
    codes = pc.fill_null(pc.index_in(column, value_set=values), -1)
    return codes.to_numpy(), values


class Strings(Sequence[str]):
    """Strings that are read from Arrow when they are asked for: a tenth of the memory of a list.

    Args:
        values: the strings, none of them null.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Strings(self._values[index])
        value: str = self._values[int(index)].as_py()
        return value

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _READ):
            yield from self._values[start : start + _READ].to_pylist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as that of a list
