"""A store of version 1, made from text: its tables as they were, and rows packed and sealed here, not by the store."""

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b

import numpy as np

SQLITE = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE tag(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, name TEXT NOT NULL, seal BLOB NOT NULL,
                 UNIQUE(twin, name)) STRICT;
CREATE TABLE block(first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, received REAL NOT NULL, data BLOB NOT NULL,
                   previous BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE chunk(id INTEGER PRIMARY KEY, tag INTEGER NOT NULL, t_min REAL NOT NULL, t_max REAL NOT NULL,
                   rows INTEGER NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX chunk_by_tag ON chunk(tag, t_max, t_min);
CREATE TABLE track(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, t_min REAL NOT NULL, t_max REAL NOT NULL,
                   rows INTEGER NOT NULL, width INTEGER NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX track_by_twin ON track(twin, t_max, t_min);
CREATE TABLE snapshot(id INTEGER PRIMARY KEY, twin TEXT NOT NULL, seq INTEGER NOT NULL, t REAL NOT NULL,
                      model TEXT NOT NULL, data BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX snapshot_by_twin ON snapshot(twin, id);
CREATE TABLE event(id INTEGER PRIMARY KEY, t REAL NOT NULL, twin TEXT NOT NULL, kind TEXT NOT NULL,
                   ref TEXT NOT NULL, data TEXT NOT NULL, seq INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE INDEX event_by_kind ON event(twin, kind, id);
CREATE INDEX event_by_seq ON event(twin, seq, id);
CREATE TABLE refused(id INTEGER PRIMARY KEY, received REAL NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL,
                     reason TEXT NOT NULL, message TEXT NOT NULL, payload BLOB NOT NULL, seal BLOB NOT NULL) STRICT;
CREATE TABLE refused_count(reason TEXT PRIMARY KEY, n INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
"""

POSTGRES = """
CREATE TABLE meta(key text PRIMARY KEY, value bigint NOT NULL, seal bytea NOT NULL);
CREATE TABLE tag(id bigint PRIMARY KEY, twin text NOT NULL, name text NOT NULL, seal bytea NOT NULL,
                 UNIQUE(twin, name));
CREATE TABLE block(first bigint PRIMARY KEY, rows bigint NOT NULL, received float8 NOT NULL, data bytea NOT NULL,
                   previous bytea NOT NULL, seal bytea NOT NULL);
CREATE TABLE chunk(id bigint PRIMARY KEY, tag bigint NOT NULL, t_min float8 NOT NULL, t_max float8 NOT NULL,
                   rows bigint NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX chunk_by_tag ON chunk(tag, t_max, t_min);
CREATE TABLE track(id bigint PRIMARY KEY, twin text NOT NULL, t_min float8 NOT NULL, t_max float8 NOT NULL,
                   rows bigint NOT NULL, width bigint NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX track_by_twin ON track(twin, t_max, t_min);
CREATE TABLE snapshot(id bigint PRIMARY KEY, twin text NOT NULL, seq bigint NOT NULL, t float8 NOT NULL,
                      model text NOT NULL, data bytea NOT NULL, seal bytea NOT NULL);
CREATE INDEX snapshot_by_twin ON snapshot(twin, id);
CREATE TABLE event(id bigint PRIMARY KEY, t float8 NOT NULL, twin text NOT NULL, kind text NOT NULL,
                   ref text NOT NULL, data text NOT NULL, seq bigint NOT NULL, seal bytea NOT NULL);
CREATE INDEX event_by_kind ON event(twin, kind, id);
CREATE INDEX event_by_seq ON event(twin, seq, id);
CREATE TABLE refused(id bigint PRIMARY KEY, received float8 NOT NULL, source text NOT NULL, topic text NOT NULL,
                     reason text NOT NULL, message text NOT NULL, payload bytea NOT NULL, seal bytea NOT NULL);
CREATE TABLE refused_count(reason text COLLATE "C" PRIMARY KEY, n bigint NOT NULL, seal bytea NOT NULL);
CREATE TABLE pollux(version bigint NOT NULL);
"""

TAGS = ("x", "y")
CHUNKS, CHUNK_ROWS = 40, 20
"""Chunks of each tag, with these rows."""
TAIL = 30
"""Rows of each tag that were not compacted."""


def seal(*fields: int | float | str | bytes) -> bytes:
    """BLAKE2b over the fields, each with its kind, as version 1 defines it."""
    digest = blake2b(digest_size=16)
    for field in fields:
        if isinstance(field, int):
            digest.update(b"i%d;" % field)
        elif isinstance(field, float):
            digest.update(b"f" + struct.pack("<d", field))
        elif isinstance(field, str):
            digest.update(b"s%d;" % len(field.encode()) + field.encode())
        else:
            digest.update(b"b%d;" % len(field) + field)
    return digest.digest()


def readings(tag: int) -> tuple[np.ndarray, np.ndarray]:
    """(t, value) of a tag: one reading each 10 s, and the first of each chunk repeats the last of the one before."""
    t = 1e6 + 10.0 * np.arange(CHUNKS * CHUNK_ROWS + TAIL)
    again = np.arange(CHUNK_ROWS, CHUNKS * CHUNK_ROWS, CHUNK_ROWS)
    t[again] = t[again - 1]
    return t, np.random.default_rng(tag).standard_normal(len(t))


def history(tag: int) -> tuple[np.ndarray, np.ndarray]:
    """What a store must answer: each instant once, the first to come."""
    t, value = readings(tag)
    t, first = np.unique(t, return_index=True)
    return t, value[first]


def rows() -> Iterator[tuple[str, tuple[int | float | str | bytes, ...]]]:
    """(table, row) of everything in the store."""
    of_tag = {k: readings(k) for k in range(1, len(TAGS) + 1)}
    for k, name in enumerate(TAGS, 1):
        yield "tag", (k, "a", name, seal(k, "a", name))
    key, first, previous = 0, 0, b""
    for part in range(CHUNKS + 1):
        at = slice(part * CHUNK_ROWS, (part + 1) * CHUNK_ROWS if part < CHUNKS else None)
        t = np.concatenate([of_tag[k][0][at] for k in of_tag])
        value = np.concatenate([of_tag[k][1][at] for k in of_tag])
        tags = np.repeat(np.array(list(of_tag), "<u4"), len(t) // len(of_tag))
        data = t.tobytes() + value.tobytes() + tags.tobytes()
        digest = seal(first, len(t), 5.0, data, previous)
        yield "block", (first, len(t), 5.0, data, previous, digest)
        first, previous = first + len(t), digest
        for k, (t, value) in of_tag.items() if part < CHUNKS else ():
            key += 1
            fields = (key, k, float(t[at][0]), float(t[at][-1]), CHUNK_ROWS, t[at].tobytes() + value[at].tobytes())
            yield "chunk", (*fields, seal(*fields))
    compacted = len(TAGS) * CHUNKS * CHUNK_ROWS
    yield "meta", ("compacted", compacted, seal("compacted", compacted))
    snapshot = (1, "a", compacted, 1e6, "model", b"state")
    yield "snapshot", (*snapshot, seal(*snapshot))
    event = (1, 2.0, "a", "alarm", "ref", '{"k": 1}', 3)
    yield "event", (*event, seal(*event))


def fill(execute: Callable[[str, tuple[int | float | str | bytes, ...]], object], mark: str) -> None:
    """Write them; `mark` stands for a value in a statement."""
    for table, row in rows():
        execute(f"INSERT INTO {table} VALUES({','.join(mark for _ in row)})", row)
