"""The journal: blocks of readings in the order of acceptance, each sealed over its content and its predecessor's seal.

The chain of seals and the row numbers without gaps make a missing, swapped or altered block visible to who reads.
"""

from collections.abc import Iterator

from pollux.core.errors import CorruptionError
from pollux.runtime.store.base import Block, Rows
from pollux.runtime.store.layout import pack_block, unpack_block
from pollux.runtime.store.seal import check_seal, seal
from pollux.runtime.store.sql import Connection, fetch

PAGE = 64
"""Blocks fetched at a time."""


class Journal:
    """The writing end; the end of the chain is kept in memory and follows commits."""

    def __init__(self, connection: Connection):
        self._connection = connection
        row = connection.execute(
            "SELECT first, rows, received, data, previous, seal FROM block ORDER BY first DESC LIMIT 1"
        ).fetchone()
        self.end: tuple[int, bytes] = (0, b"")
        """The next row's number and the seal of the last block; set it back where a transaction is undone."""
        if row is not None:
            _verified(row)
            self.end = row[0] + row[1], row[5]

    @property
    def next_seq(self) -> int:
        """The number that the next row will get."""
        return self.end[0]

    def append(self, rows: Rows, received: float) -> int:
        """Add a block inside the caller's transaction; the sequence number of its first row."""
        (first, previous), n = self.end, len(rows)
        if n == 0:
            return first
        data = pack_block(rows)
        digest = seal(first, n, received, data, previous)
        self._connection.execute("INSERT INTO block VALUES(?,?,?,?,?,?)", (first, n, received, data, previous, digest))
        self.end = first + n, digest
        return first


def read_blocks(connection: Connection, start: int) -> Iterator[Block]:
    """Verified blocks from row `start` on. Raises `CorruptionError` at the first damage or gap."""
    at = connection.execute("SELECT max(first) FROM block WHERE first<=?", (start,)).get
    oldest = connection.execute("SELECT min(first) FROM block").get
    if at is None and oldest is not None:
        raise CorruptionError(
            f"The journal must reach back to row {start}: it begins at row {oldest}. Start from a newer snapshot."
        )
    expected, previous = at, None
    while True:
        page = fetch(
            connection,
            "SELECT first, rows, received, data, previous, seal FROM block WHERE first>=? ORDER BY first LIMIT ?",
            (expected or 0, PAGE),
        )
        for row in page:
            block = _verified(row)
            if row[0] != expected or (previous is not None and row[4] != previous):
                raise CorruptionError(
                    f"Journal rows are numbered without gaps: expected the block at row {expected}, found {row[0]}. "
                    "A block was lost or moved; restore the store from a copy."
                )
            expected, previous = row[0] + row[1], row[5]
            if expected > start:
                yield _from(block, start)
        if len(page) < PAGE:
            return


def _verified(row: tuple) -> Block:
    first, n, received, data, previous, digest = row
    check_seal(f"journal block at row {first}", digest, first, n, received, data, previous)
    return Block(first, received, unpack_block(data, n))


def _from(block: Block, start: int) -> Block:
    skip = start - block.first
    if skip <= 0:
        return block
    rows = block.rows
    return Block(start, block.received, Rows(rows.t[skip:], rows.tag[skip:], rows.value[skip:]))
