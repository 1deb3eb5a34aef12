"""Things side by side, as many as there is room for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

Sized = TypeVar("Sized", str, bytes)


def packed(items: Iterable[Sized], room: int, *, between: int, most: int | None = None) -> Iterator[Sequence[Sized]]:
    """In their order, with so much `between` two, and no more than `most`; one that is too large stands alone."""
    several: list[Sized] = []
    size = 0
    for item in items:
        if several and (size + len(item) + between > room or len(several) == most):
            yield several
            several, size = [], 0
        several.append(item)
        size += len(item) + between
    if several:
        yield several
