"""Bringing the tables of an earlier version to today's, in place.

Each version is reached in a transaction of its own. What rewrites data goes before it in transactions that each do a
part: killed at any instant, the next start goes on where the last transaction ended.

1 -> 2: `chunk`, which held one channel, becomes `chunk_1`; the table of today is made beside it.
2 -> 3: the rows of `chunk_1` are written to `chunk`, with the levels that charts read; `chunk_1` goes.
"""

import logging
from collections.abc import Callable, Mapping

import numpy as np

from pollux.core.errors import CorruptionError
from pollux.runtime.store.base import Rows
from pollux.runtime.store.chunks import ChunkWriter, without_known
from pollux.runtime.store.layout import sort_by_tag_and_time
from pollux.runtime.store.seal import check_seal
from pollux.runtime.store.sql import Connection, fetch

log = logging.getLogger("pollux.store")

PART = 64
"""Chunks rewritten in one transaction: at most 8 MB."""


def upgrade(
    connection: Connection, version: int, statements: Mapping[int, str], reached: Callable[[int], object]
) -> int:
    """Go from `version` as far as `statements` (version -> what leads to the next) do; the version reached.

    `reached` notes it, inside the transaction.
    """
    while version in statements:
        log.warning("The store has version %d: it is brought to version %d.", version, version + 1)
        more = version in PARTS
        while more:
            with connection:
                more = PARTS[version](connection)
        with connection:
            for statement in statements[version].split(";"):
                if statement.strip():
                    connection.execute(statement)
            reached(version + 1)
        version += 1
    return version


def _rewrite_chunks(connection: Connection) -> bool:
    """A part of 2 -> 3; whether there may be more."""
    found = fetch(
        connection, "SELECT id, tag, t_min, t_max, rows, data, seal FROM chunk_1 ORDER BY id LIMIT ?", (PART,)
    )
    writer = ChunkWriter(connection)
    for *fields, digest in found:
        key, tag, _, _, n, data = fields
        check_seal(f"chunk {key}", digest, *fields)
        if len(data) != 16 * n:
            raise CorruptionError(f"A chunk of {n} rows had {16 * n} bytes: chunk {key} has {len(data)}.")
        t, value = np.frombuffer(data, "<f8", n), np.frombuffer(data, "<f8", n, 8 * n)
        rows = sort_by_tag_and_time(Rows(t, np.full(n, tag, np.uint32), value))
        writer.keep(without_known(connection, rows, np.ones(len(rows), bool)), tag, 0)
    if found:
        connection.execute("DELETE FROM chunk_1 WHERE id <= ?", (found[-1][0],))
    return len(found) == PART


PARTS: Mapping[int, Callable[[Connection], bool]] = {2: _rewrite_chunks}
"""From which version on there is something to rewrite."""
