"""MCAP files (extra `mcap`): the wanted fields of topics whose messages are JSON, in order of their log time.

    column in the wiring: "<topic>:<field>", the field with dots inside objects and [i] inside arrays: "/pose:p.x[0]"

Messages in other encodings (ROS, Protocol Buffers) need their schema's decoder and are not read.
"""

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pollux.core.errors import InputError, MessageError
from pollux.core.extras import need
from pollux.runtime.connect.base import Unread
from pollux.runtime.connect.ulog import Said
from pollux.runtime.connect.wire import Message, number, read_json
from pollux.runtime.tables import closest

STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_mcap(path: Path, columns: Mapping[str, str], origin: float, source: str, site: str) -> Iterator[Said]:
    """The values of the columns in order of log time (nanoseconds since 1970, plus `origin` seconds).

    Raises `InputError` when the file is no MCAP or a topic is missing or not JSON.
    """
    reading = need("mcap.reader", "mcap")
    broken = need("mcap.exceptions", "mcap").McapError
    wanted: dict[str, list[tuple[str, str]]] = {}
    for column, tag in columns.items():
        topic, _, field = column.rpartition(":")
        wanted.setdefault(topic, []).append((field, tag))
    if not wanted or "" in wanted:
        raise InputError(
            f"A column of an MCAP file reads 'topic:field': {path} has {list(columns)}. Correct `columns`."
        )
    try:
        with path.open("rb") as file:
            reader = reading.make_reader(file)
            _check(path, reader, wanted)
            for _, channel, message in reader.iter_messages(topics=list(wanted)):
                t = origin + message.log_time / 1e9
                yield from _said(path, wanted[channel.topic], channel.topic, message.data, t, (source, site))
    except (OSError, ValueError, struct.error, broken) as error:
        raise InputError(f"A record is a readable MCAP file: {path}: {error}. Correct the path or file.") from error


def _check(path: Path, reader: Any, wanted: Mapping[str, Any]) -> None:
    summary = reader.get_summary()
    channels = {} if summary is None else {c.topic: c.message_encoding for c in summary.channels.values()}
    for topic in wanted:
        if topic not in channels:
            raise InputError(f"A record has the topics that the wiring names: {path} has no {topic!r}. "
                             f"{closest(topic, channels)}")  # fmt: skip
        if channels[topic] != "json":
            raise InputError(f"A topic is read as JSON: {topic!r} of {path} is {channels[topic]!r}. Convert the file.")


def _said(
    path: Path, fields: list[tuple[str, str]], topic: str, data: bytes, t: float, origin: tuple[str, str]
) -> Iterator[Said]:
    source, site = origin
    try:
        body = read_json(data, limit=1 << 20)
    except MessageError as error:
        yield Said(t, None, Unread(source, f"{path.name}:{topic}", data[:1024], error))
        return
    for field, tag in fields:
        try:
            value = number("v", _dig(body, field))
        except MessageError as error:
            yield Said(t, None, Unread(source, f"{path.name}:{topic}:{field}", data[:1024], error))
        else:
            yield Said(t, None if math.isnan(value) else Message(source, site, tag, t, value), None)


def _dig(body: Any, field: str) -> Any:
    """The value at a field; null when something on the way is not there."""
    for name, index in STEP.findall(field):
        if name:
            body = body.get(name) if isinstance(body, dict) else None
        else:
            body = body[int(index)] if isinstance(body, list) and int(index) < len(body) else None
    return float(body) if isinstance(body, bool) else body if not isinstance(body, dict | list) else json.dumps(body)
