"""What a Sparkplug host knows of an edge node: births, aliases, sequence numbers. A state machine without a wire.

A data message may name its metrics by alias, and an alias means what the last birth said. So when a message is missing
(the sequence number has a gap) or a death belongs to another session (`bdSeq`), aliases are not trusted until the node
has been born again, which is asked for. Source: Eclipse Sparkplug 3.0.0, sections 5.4 to 5.12 and 6.4.
"""

import math
from dataclasses import dataclass, field

from pollux.core.errors import MessageError
from pollux.runtime.connect.sparkplug_payload import Metric, Payload

BD_SEQ = "bdSeq"
SEQUENCE = 256

Address = tuple[str, str, str]
"""(edge node, device or "", metric name)."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a metric said at a time, in seconds since 1970: a number, NaN for "no value", None for what is no number."""

    address: Address
    t: float
    value: float | None


@dataclass
class Outcome:
    """What one message meant."""

    values: list[Value] = field(default_factory=list)
    problems: list[MessageError] = field(default_factory=list)
    rebirth: bool = False
    """The node must be asked to be born again."""


@dataclass
class _Known:
    name: str
    datatype: int | None


@dataclass
class Session:
    """One edge node and its devices."""

    edge: str
    seq: int | None = None
    """That of the last message; None: not born, or not to be trusted."""
    bd_seq: int | None = None
    names: dict[tuple[str, str], _Known] = field(default_factory=dict)
    aliases: dict[tuple[str, int], _Known] = field(default_factory=dict)
    """Keyed by device, "" for the node itself: an alias is unique in the node, so this is the stricter reading."""

    def take(self, kind: str, device: str, payload: Payload, now: float) -> Outcome:
        """A message of the node; `kind` is `NBIRTH`, `NDATA`, `NDEATH`, `DBIRTH`, `DDATA` or `DDEATH`."""
        outcome = Outcome()
        if kind == "NDEATH":
            self._death_of_node(payload, now, outcome)
        elif kind == "NBIRTH":
            self.names.clear()
            self.aliases.clear()
            self.seq, self.bd_seq = payload.seq, _bd_seq(payload)
            if self.seq is None:
                outcome.problems.append(_error("a birth has a sequence number", self.edge))
            self._learn("", payload)
            self._read("", payload, now, outcome)
        elif self._in_sequence(payload, outcome):
            if kind == "DBIRTH":
                self._forget(device)
                self._learn(device, payload)
                self._read(device, payload, now, outcome)
            elif kind == "DDEATH":
                self._death(device, _seconds(payload.timestamp, now), outcome)
            else:
                self._read(device, payload, now, outcome)
        elif kind in ("NDATA", "DDATA"):
            self._read(device, payload, now, outcome)
        return outcome

    def type_of(self, address: Address) -> int | None:
        """Data type that the birth gave."""
        known = self.names.get(address[1:])
        return known.datatype if known else None

    def _in_sequence(self, payload: Payload, outcome: Outcome) -> bool:
        if self.seq is not None and payload.seq == (self.seq + 1) % SEQUENCE:
            self.seq = payload.seq
            return True
        was_known, outcome.rebirth = self.seq is not None, True
        if was_known:
            wanted = (self.seq or 0) + 1
            outcome.problems.append(
                _error(f"messages follow each other: {wanted % SEQUENCE} was expected", f"{self.edge}: {payload.seq}")
            )
        self.seq = None
        self.aliases.clear()
        return False

    def _death_of_node(self, payload: Payload, now: float, outcome: Outcome) -> None:
        """A death of an earlier session comes late and means nothing."""
        if self.seq is None and not self.names:
            return
        dead = _bd_seq(payload)
        if dead is not None and self.bd_seq is not None and dead != self.bd_seq:
            return
        for device in {device for device, _ in self.names}:
            self._death(device, now, outcome)
        self.seq = None

    def _death(self, device: str, t: float, outcome: Outcome) -> None:
        outcome.values += [Value((self.edge, device, name), t, math.nan) for d, name in self.names if d == device]
        self._forget(device)

    def _forget(self, device: str) -> None:
        self.names = {key: known for key, known in self.names.items() if key[0] != device}
        self.aliases = {key: known for key, known in self.aliases.items() if key[0] != device}

    def _learn(self, device: str, payload: Payload) -> None:
        for metric in payload.metrics:
            if metric.name is not None and metric.name != BD_SEQ:
                known = self.names[device, metric.name] = _Known(metric.name, metric.datatype)
                if metric.alias is not None:
                    self.aliases[device, metric.alias] = known

    def _read(self, device: str, payload: Payload, now: float, outcome: Outcome) -> None:
        for metric in payload.metrics:
            if metric.name == BD_SEQ:
                continue
            known = self._known(device, metric)
            if known is None:
                outcome.rebirth = True
                outcome.problems.append(
                    _error(
                        "an alias was given a name by a birth that was heard", f"{self.edge}/{device}: {metric.alias}"
                    )
                )
                continue
            value = metric.number(known.datatype)
            t = _seconds(metric.timestamp if metric.timestamp is not None else payload.timestamp, now)
            outcome.values.append(Value((self.edge, device, known.name), t, value))

    def _known(self, device: str, metric: Metric) -> _Known | None:
        if metric.name is not None:
            return self.names.get((device, metric.name)) or _Known(metric.name, metric.datatype)
        return None if metric.alias is None else self.aliases.get((device, metric.alias))


def _bd_seq(payload: Payload) -> int | None:
    return next((m.value for m in payload.metrics if m.name == BD_SEQ and isinstance(m.value, int)), None)


def _seconds(milliseconds: int | None, now: float) -> float:
    return now if milliseconds is None else milliseconds / 1000


def _error(rule: str, value: str) -> MessageError:
    return MessageError(f"Message refused: {rule}: got {value}. The node is asked to be born again.", "sequence")
