"""Orders and acknowledgements on the wire.

topic pollux/<site>/command/<actuator>   {"id", "sequence", "t", "expires", "v"}
topic pollux/<site>/ack                  {"id", "sequence", "t", "status", "v"}
topic pollux/<site>/fault                {"kind", "where", "size", "duration"}      demo plants only
"""

import json

from pollux.core.errors import MessageError
from pollux.runtime.connect.base import Ack, Order
from pollux.runtime.connect.wire import number, read_json, refuse


def order_packet(order: Order, prefix: str = "pollux") -> tuple[str, bytes]:
    """(topic, payload) of an order."""
    body = {
        "id": order.id, "sequence": order.sequence, "t": order.t, "expires": order.expires, "v": order.value,
    }  # fmt: skip
    return f"{prefix}/{order.site}/command/{order.actuator}", json.dumps(body, allow_nan=False).encode()


def fault_packet(
    site: str, kind: str, where: str, size: float, duration: float | None, prefix: str = "pollux"
) -> tuple[str, bytes]:
    """(topic, payload) of a fault for a demo plant."""
    body = {"kind": kind, "where": where, "size": size, "duration": duration}
    return f"{prefix}/{site}/fault", json.dumps(body, allow_nan=False).encode()


def parse_ack(site: str, payload: bytes) -> Ack:
    """The acknowledgement in a packet. Raises `MessageError`."""
    body = read_json(payload)
    sequence, value = body.get("sequence"), body.get("v")
    if not isinstance(body.get("id"), str) or not isinstance(body.get("status"), str):
        refuse("malformed", "an acknowledgement has `id` and `status`", body, "Answer with those of the order.")
    if isinstance(sequence, bool) or not isinstance(sequence, int):
        refuse("malformed", "`sequence` is a whole number", sequence, "Answer with that of the order.")
    try:
        taken = None if value is None else number("v", value)
    except MessageError:
        taken = None  # a pump may answer "on": that it answered counts
    return Ack(site, body["id"][:200], sequence, number("t", body.get("t")), body["status"][:40], taken)
