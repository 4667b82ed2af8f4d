"""Ranges of tags as nodes of a binary tree, so that all ranges which hold one tag are known without a search.

A range of 2^w tags begins at a multiple of 2^w and is the node `2^(32 - w) + (tag >> w)`: 1 is the root (all tags),
2^32 + tag the one tag. A tag is in 33 ranges.
"""

from collections.abc import Iterator

import numpy as np

BITS = 32
"""Tags are 32-bit numbers."""


def node(low: int, width: int) -> int:
    """The range of 2^width tags that begins at `low`."""
    return (1 << (BITS - width)) + (low >> width)


def nodes_of(tag: int) -> list[int]:
    """All ranges that hold a tag."""
    return [node(tag, width) for width in range(BITS + 1)]


def tags_of(node: int) -> tuple[int, int]:
    """The first and the last tag of a range."""
    width = BITS + 1 - node.bit_length()
    low = (node << width) - (1 << BITS)
    return low, low + (1 << width) - 1


def split(tag: np.ndarray, low: int, width: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """Cut sorted tags of one range into (node, from, to) of at most `limit` rows each, or of one tag."""
    todo = [(low, width, 0, len(tag))]
    while todo:
        low, width, a, b = todo.pop()
        if a == b:
            continue
        if b - a <= limit or width == 0:
            yield node(low, width), a, b
            continue
        middle = low + (1 << (width - 1))
        cut = a + int(tag[a:b].searchsorted(np.uint32(middle)))
        todo += [(middle, width - 1, cut, b), (low, width - 1, a, cut)]
