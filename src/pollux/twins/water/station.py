"""The local controller of the pump station: commands, expiry, duty, and what it does when nobody commands.

A remote pump command is a *duty* in [0, 1]. The station proportions it in time: it adds up the running time
that is owed and switches when the debt exceeds the minimum dwell, so a pump never runs or rests for less than
`DWELL`. Without a valid command for `PATIENCE` the network's own level controls take over (pump on below 110
ft, off above 140 ft, as in Net1); they also take over, whatever the command, while the level is outside the
safe band.
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

FOOT = 0.3048
ON_BELOW, OFF_ABOVE = 110 * FOOT, 140 * FOOT
"""Net1's own controls."""
SAFE_LOW, SAFE_HIGH, RELEASE = 31.0, 45.4, 0.3
DWELL = 900.0
PATIENCE = 2 * 3600.0
VALVES: tuple[str, ...] = ("112", "121", "122")
"""Pipes with a motorised isolation valve."""
ACTUATORS: tuple[str, ...] = ("pump", *(f"valve_{pipe}" for pipe in VALVES))
REMEMBERED = 10_000

Mode = Literal["remote", "local", "override"]
MODES: tuple[Mode, ...] = ("remote", "local", "override")


@dataclass
class Station:
    """Decides pump and valves from the commands it accepted and the level that it measures itself."""

    running: bool = True
    since: float = -1e18
    """Event time of the last switch."""
    duty: float = 1.0
    commanded: float = -1e18
    """Event time of the last valid pump command."""
    debt: float = 0.0
    """Running time owed to the command, s."""
    valves: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(VALVES, True))
    mode: Mode = "local"
    _seen: dict[str, None] = field(default_factory=dict)
    _sequence: dict[str, int] = field(default_factory=dict)
    _override: bool | None = None

    def command(self, actuator: str, message: dict[str, Any], now: float) -> dict[str, Any]:
        """Judge one command message and carry it out if it is good. Returns the acknowledgement.

        A repeated `id` is answered `duplicate` and does nothing; a command past its `expires` is `expired`;
        one with an older `sequence` than the last that was carried out, an unknown actuator or an impossible
        value is `refused`.
        """
        name, sequence, value = str(message.get("id", "")), message.get("sequence"), message.get("v")
        status = self._judge(actuator, name, sequence, message.get("expires"), value, now)
        if status == "done":
            assert isinstance(sequence, int)
            assert isinstance(value, int | float)
            self._seen[name] = None
            self._sequence[actuator] = sequence
            while len(self._seen) > REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self.set(actuator, float(value), now)
        return {"id": name, "sequence": sequence, "t": now, "status": status, "v": value}

    def _judge(
        self, actuator: str, name: str, sequence: object, expires: object, value: object, now: float
    ) -> Literal["done", "expired", "duplicate", "refused"]:
        if name in self._seen:
            return "duplicate"
        if not name or actuator not in ACTUATORS or not isinstance(sequence, int):
            return "refused"
        if not isinstance(value, int | float) or not isinstance(expires, int | float):
            return "refused"
        if not isfinite(value) or not 0.0 <= value <= 1.0:
            return "refused"
        if now >= expires:
            return "expired"
        if sequence <= self._sequence.get(actuator, -1):
            return "refused"
        if actuator != "pump" and self._cuts_off_south(actuator.removeprefix("valve_"), value >= 0.5):
            return "refused"
        return "done"

    def _cuts_off_south(self, pipe: str, opened: bool) -> bool:
        """Interlock: the south hangs on pipes 121 and 122 alone, so they are never both shut."""
        after = {**self.valves, pipe: opened}
        return not (after["121"] or after["122"])

    def set(self, actuator: str, value: float, now: float) -> None:
        """Take a value as commanded at `now`, without the checks of a message."""
        if actuator == "pump":
            self.duty, self.commanded = min(max(value, 0.0), 1.0), now
        else:
            self.valves[actuator.removeprefix("valve_")] = value >= 0.5

    def decide(self, now: float, level: float, step: float) -> bool:
        """Whether the pump runs for the next `step` seconds, given the level (m) that its own float sees."""
        self._override = self._safe(level)
        if self._override is not None:
            self.mode, want, self.debt = "override", self._override, 0.0
        elif now - self.commanded >= PATIENCE:
            self.mode, self.debt = "local", 0.0
            want = True if level < ON_BELOW else False if level > OFF_ABOVE else self.running
        else:
            self.mode = "remote"
            want = self._proportion(step)
        may_switch = self.mode == "override" or now - self.since >= DWELL
        if want != self.running and may_switch:
            self.running, self.since = want, now
        if self.mode == "remote":
            self.debt += step * (self.duty - (1.0 if self.running else 0.0))
        return self.running

    def _safe(self, level: float) -> bool | None:
        """What the safe band demands: True or False for the pump, None when the level is inside."""
        if level <= SAFE_LOW or (self._override is True and level < SAFE_LOW + RELEASE):
            return True
        if level >= SAFE_HIGH or (self._override is False and level > SAFE_HIGH - RELEASE):
            return False
        return None

    def _proportion(self, step: float) -> bool:
        """Run when half a shortest cycle's worth of running is owed, rest when as much too much was given.

        In the shortest cycle that keeps the dwell, the rarer of running and resting lasts one dwell, and the debt
        swings by dwell * max(duty, 1 - duty).
        """
        if self.duty <= 0.0 or self.duty >= 1.0:
            self.debt = 0.0
            return self.duty >= 1.0
        half = DWELL * max(self.duty, 1.0 - self.duty) / 2
        if self.running:
            return self.debt > -half + step * (1.0 - self.duty) / 2
        return self.debt >= half - step * self.duty / 2
