"""The mock twin's memory (alarms, proposals, level, faults) and its answers, in the shapes of the API."""

import math
from pathlib import Path

from plant import INPUTS, MARGINS, PARAMETERS, SENSORS, STATES, STEP, T0, Wave, effect, noise, step_input, stuck, truth

LEVELS = [0.025, 0.25, 0.5, 0.75, 0.975]
Z = [-1.96, -0.674, 0.0, 0.674, 1.96]
BEGUN = T0
"""Nothing was recorded before."""
SCHEMATIC = (Path(__file__).parent / "schematic.svg").read_text()


class Refused(Exception):
    """A command that the mock does not accept."""

    def __init__(self, rule: str, message: str, way_out: str) -> None:
        super().__init__(message)
        self.body = {"error": {"rule": rule, "message": message, "way_out": way_out}}


def _signal(name: str, w: Wave, group: str) -> dict:
    return {
        "name": name,
        "label": w.label,
        "unit": w.unit,
        "low": w.low,
        "high": w.high,
        "noise": w.noise or None,
        "group": group,
    }


class Site:
    """One simulated twin."""

    def __init__(self, name: str, title: str, schematic: bool) -> None:
        self.name, self.title, self.with_schematic = name, title, schematic
        self.schematic = SCHEMATIC
        self.t = T0 + 14 * 3600.0
        self.level, self.stopped, self.stale_since = 2, False, None
        self.faults: list[dict] = []
        self.audit: list[dict] = []
        self.alarms: list[dict] = [
            self._alarm(
                "a1",
                -2400.0,
                1,
                "p_hill",
                "limit_forecast",
                "Hill pressure forecast to fall below 2 bar within 4 h",
                {"probability": 0.31, "threshold": 0.05},
            ),
            self._alarm(
                "a2",
                -6300.0,
                2,
                "q_town",
                "residual",
                "Town demand above its 99 % band for 40 min",
                {"cusum": 9.4, "threshold": 8.0, "nis": 6.1},
            ),
            self._alarm(
                "a3", -16_000.0, 3, "pump_2", "wear", "Pump 2 draws 4 % more power than its curve", {"ratio": 1.04}
            ),
        ]
        self.proposals: list[dict] = [self._proposal("p1", {"pump_2": 0.85, "valve_hill": 72.0})]
        self._note("engine", "start", "", "mirror started")

    def _alarm(
        self, id_: str, dt: float, priority: int, subject: str, cause: str, summary: str, evidence: dict
    ) -> dict:
        return {
            "id": id_,
            "t": self.t + dt,
            "cause": cause,
            "subject": subject,
            "summary": summary,
            "priority": priority,
            "evidence": evidence,
            "state": "active",
            "by": None,
            "note": None,
        }

    def _proposal(self, id_: str, values: dict) -> dict:
        return {
            "id": id_,
            "twin": self.name,
            "t": self.t,
            "proposer": "planner",
            "values": values,
            "reason": "Raises hill pressure before the evening peak while the night tariff fills the tank.",
            "expires": self.t + 5400.0,
            "status": "pending",
            "rule": None,
            "hash": f"h-{id_}",
            "expected": [
                {"label": "Energy cost, 6 h", "unit": "EUR", "acting": 41.2, "not_acting": 44.9},
                {"label": "Lowest hill pressure", "unit": "bar", "acting": 2.36, "not_acting": 1.94},
                {"label": "Lowest tank level", "unit": "m", "acting": 2.2, "not_acting": 2.41},
            ],
            "risk": [{"limit": "hill pressure < 2 bar", "acting": 0.004, "not_acting": 0.31}],
        }

    def _note(self, actor: str, kind: str, reason: str, subject: str) -> None:
        self.audit.append(
            {
                "t": self.t,
                "kind": kind,
                "actor": actor,
                "subject": subject,
                "reason": reason,
                "mac": f"{len(self.audit):08x}",
            }
        )

    def tick(self) -> None:
        """One step of event time."""
        self.t += STEP
        for p in self.proposals:
            if p["status"] == "pending" and self.t > p["expires"]:
                p["status"] = "expired"
        for f in self.faults:
            if not f["seen"] and self.t > f["t"] + 900.0:
                f["seen"] = True
                leak = f["kind"] == "leak"
                self.alarms.append(
                    self._alarm(
                        f"a{len(self.alarms) + 1}",
                        0.0,
                        1 if leak else 2,
                        "p_hill" if leak else f["where"],
                        "process_fault" if leak else "sensor_fault",
                        "Outflow of about 40 m³/h near the hill that no demand explains"
                        if leak
                        else f"{SENSORS[f['where']].label}: readings disagree with every other sensor",
                        {"cusum": 11.2, "threshold": 8.0},
                    )
                )

    def describe(self) -> dict:
        """The definition."""
        faults = [
            {"kind": "leak", "where": ["hill", "north", "centre"], "size": 40.0, "unit": "m^3/h"},
            {"kind": "sensor_bias", "where": list(SENSORS), "size": 0.4, "unit": ""},
            {"kind": "sensor_stuck", "where": list(SENSORS), "size": 0.0, "unit": ""},
            {"kind": "sensor_dropout", "where": list(SENSORS), "size": 0.0, "unit": ""},
            {"kind": "demand_surge", "where": ["hill", "north", "centre"], "size": 60.0, "unit": "m^3/h"},
        ]
        return {
            "name": self.name,
            "title": self.title,
            "doc": "Supply, one tank and two pressure zones.\n\n"
            "Mass balance of the tank; head losses after Hazen and Williams.",
            "states": [_signal(n, w, "state") for n, w in STATES.items()],
            "inputs": [_signal(n, w, "input") for n, w in INPUTS.items()],
            "sensors": [_signal(n, w, "sensor") for n, w in SENSORS.items()],
            "parameters": [
                {
                    "name": n,
                    "label": label,
                    "unit": u,
                    "low": 0.5 * v,
                    "high": 2 * v,
                    "noise": None,
                    "group": "parameter",
                }
                for n, (label, u, v) in PARAMETERS.items()
            ],
            "margins": [{"name": n, "label": label, "unit": u} for n, (label, u) in MARGINS.items()],
            "tracked": ["roughness"],
            "schematic": self.schematic if self.with_schematic else None,
            "site": {"faults": faults} if self.with_schematic else None,
        }

    def _sensor(self, name: str, t: float) -> dict:
        w = SENSORS[name]
        process = [f for f in self.faults if f["kind"] != "sensor_bias"]
        mean = truth(w, t) + effect(name, t, process) + 0.15 * w.noise * noise("e" + name, t)
        value: float | None = truth(w, t) + effect(name, t, self.faults) + w.noise * noise(name, t)
        health, age = "good", 0.0
        kind = stuck(name, t, self.faults)
        if self.stale_since is not None:
            health, age = "stale", t - self.stale_since
        elif kind == "sensor_dropout":
            value, health, age = None, "missing", t - min(f["t"] for f in self.faults)
        elif kind == "sensor_stuck":
            value, health = truth(w, min(f["t"] for f in self.faults)), "suspect"
        wide = 1.96 * (w.noise * 0.55 + 1e-6) * (1.0 if health == "good" else 2.5)
        return {
            "value": value,
            "predicted": mean,
            "low": mean - wide,
            "high": mean + wide,
            "health": health,
            "age": age,
        }

    def _state(self, name: str, t: float) -> dict:
        w = STATES[name]
        mean = truth(w, t) + effect(name, t, self.faults)
        wide = 1.96 * 0.02 * (abs(w.base) + w.swing)
        return {"mean": mean, "low": mean - wide, "high": mean + wide}

    def _margins(self, t: float) -> dict:
        s = {n: self._sensor(n, t)["predicted"] for n in SENSORS}
        return {
            "level_low": s["level"] - 1.0,
            "level_high": 6.0 - s["level"],
            "p_hill_low": s["p_hill"] - 2.0,
            "p_north_low": s["p_north"] - 2.0,
            "power_high": 100.0 - s["power"],
        }

    def recall(self, at: float, event_time: bool) -> dict:
        """What was known at a time since `BEGUN`; what came later has moved the tank volume and one flow since."""
        at = math.floor(at / STEP) * STEP
        if at > self.t:
            raise Refused("input", f"The plant's own clock has not come to {at:.0f}.", "")
        if at < BEGUN:
            raise Refused("input", f"Nothing is kept of twin {self.name!r} at {at:.0f}: no reading had come.", "")
        frame = self.frame(at)
        if not event_time:
            volume, town = frame["states"]["volume"], frame["sensors"]["q_town"]
            wide = volume["high"] - volume["mean"]
            frame["states"]["volume"] = {k: v - 1.5 * wide for k, v in volume.items()}
            town["value"], town["health"], town["age"] = None, "missing", STEP
        return {
            "twin": self.name,
            "at": at,
            "by": "event time" if event_time else "wall clock",
            "t": at,
            "digest": "5f" * 32,
            "rows": 1234,
            "received": at,
            "folded": 57,
            "note": "",
            "frame": frame,
        }

    def frame(self, then: float | None = None) -> dict:
        """What is now, or what was."""
        at = self.t if then is None else then
        alarms = [a for a in self.alarms if a["state"] == "active" and a["t"] <= at]
        worst = min((a["priority"] for a in alarms), default=4)
        return {
            "type": "frame",
            "twin": self.name,
            "t": at,
            "wall": at,
            "status": "act" if worst == 1 else "watch" if worst == 2 else "good",
            "level": self.level,
            "stopped": self.stopped,
            "stale": self.stale_since is not None,
            "data_age": 0.0 if self.stale_since is None else self.t - self.stale_since,
            "sensors": {n: self._sensor(n, at) for n in SENSORS},
            "states": {n: self._state(n, at) for n in STATES},
            "inputs": {n: {"value": step_input(w, at)} for n, w in INPUTS.items()},
            "margins": self._margins(at),
            "nis": 1.02,
            "alarms": [a for a in self.alarms if a["t"] <= at],
            "proposals": self.proposals,
        }

    def diagnose(self) -> dict:
        """What is wrong, and whether the estimate can be trusted."""
        sensors = {n: self._sensor(n, self.t) for n in SENSORS}
        bad = {n: {"stale": 0.0, "missing": 0.0, "suspect": 0.0}.get(s["health"], 1.0) for n, s in sensors.items()}
        drift = {n: 0.1 * k - 0.2 for k, n in enumerate(SENSORS)} | ({"power": 0.9} if self.faults else {})
        each = {
            n: {
                "health": min(bad[n], 0.86 if n == "q_town" else 1.0),
                "readings": 990,
                "refused": 0.021 if n == "q_town" else 0.0,
                "coverage": None if bad[n] == 0.0 else 0.93 if n == "q_town" else 0.951,
                "bias": drift[n],
                "spread": 1.28 if n == "q_town" else 1.01,
                "memory": 0.03,
                "remarks": ["2.1% of its readings lie outside the gate"] if n == "q_town" else [],
            }
            for n in SENSORS
        }
        wrong = bool(self.faults)
        return {
            "findings": [a for a in self.alarms if a["state"] == "active"],
            "nis": 5.9,
            "nis_dof": 6,
            "sensors": {
                n: {"health": s["health"], "age": s["age"], "nis": 0.1 + abs(noise(n, self.t))}
                for n, s in sensors.items()
            },
            "trust": {
                "start": self.t - 990 * STEP,
                "steps": 990,
                "nis": {
                    "ratio": 2.31 if wrong else 1.02,
                    "low": 0.953,
                    "high": 1.048,
                    "readings": 5934,
                    "verdict": "overconfident" if wrong else "consistent",
                    "course": {
                        "t": [self.t - (49 - k) * 20 * STEP for k in range(50)],
                        "ratio": [
                            (2.3 if wrong and k > 40 else 1.0) + 0.12 * noise("nis", 20.0 * k * STEP) for k in range(50)
                        ],
                        "low": [0.7] * 50,
                        "high": [1.35] * 50,
                    },
                },
                "coverage": {"share": 0.83 if wrong else 0.949, "low": 0.943, "high": 0.957, "readings": 5934},
                "sensors": each,
            },
            "time": {
                "newest": self.t,
                "settled": self.t - 2 * STEP,
                "present": self.t,
                "open_ticks": 2,
                "sources": {
                    "plant": {
                        "offset": 0.0,
                        "lag": 2.0,
                        "newest": self.t,
                        "behind": 0.0,
                        "idle": False,
                        "clock_ahead": 0.1,
                        "late": 0,
                        "duplicate": 0,
                        "future": 0,
                    },
                    "laboratory": {
                        "offset": -3600.0,
                        "lag": 7200.0,
                        "newest": self.t - 5000,
                        "behind": 5000.0,
                        "idle": False,
                        "clock_ahead": None,
                        "late": 3,
                        "duplicate": 0,
                        "future": 0,
                    },
                },
            },
            "unfused": {"late": 3, "duplicate": 0, "future": 0},
            "refused": {"late": 3, "unit": 2, "unknown_tag": 12},
        }

    def card(self) -> dict:
        """The row of the fleet page."""
        f = self.frame()
        figures = [
            {"label": SENSORS[n].label, "value": f["sensors"][n]["value"], "unit": SENSORS[n].unit}
            for n in ("level", "p_hill", "q_town")
        ]
        count = sum(a["state"] == "active" for a in self.alarms)
        return {
            "name": self.name,
            "title": self.title,
            "kind": "water network",
            "status": f["status"],
            "health": max(0.2, 1.0 - 0.14 * count),
            "t": self.t,
            "data_age": f["data_age"],
            "alarms": count,
            "level": self.level,
            "figures": figures,
        }

    def history(self, names: list[str], start: float, end: float, points: int) -> dict:
        """The record of some signals."""
        end = min(end, self.t)
        n = max(2, min(points, int((end - start) / STEP)))
        step = max(STEP, (end - start) / n)
        first = math.ceil(start / STEP) * STEP
        times = [first + math.floor(k * step / STEP) * STEP for k in range(n)]
        times = sorted({t for t in times if t <= end})
        out: dict = {}
        for name in names:
            if name in SENSORS:
                rows = [self._sensor(name, t) for t in times]
                out[name] = {
                    "measured": [r["value"] for r in rows],
                    "mean": [r["predicted"] for r in rows],
                    "low": [r["low"] for r in rows],
                    "high": [r["high"] for r in rows],
                }
            elif name in STATES:
                rows = [self._state(name, t) for t in times]
                out[name] = {k: [r[k] for r in rows] for k in ("mean", "low", "high")}
            elif name in INPUTS:
                out[name] = {"mean": [step_input(INPUTS[name], t) for t in times]}
        return {"t": times, "signals": out}

    def forecast(self, hours: float = 12.0, shift: float = 0.0) -> dict:
        """Quantiles of what comes; `shift` is the effect of acting."""
        times = [self.t + k * hours * 3600.0 / 48 for k in range(49)]

        def fan(w: Wave, name: str) -> list[list[float]]:
            spread = [
                (0.3 * w.noise + 0.02 * w.swing + 0.25 * w.swing * math.sqrt((t - self.t) / 43_200.0)) for t in times
            ]
            mid = [
                truth(w, t) + effect(name, t, self.faults) + shift * w.swing * (1 - math.exp((self.t - t) / 7200.0))
                for t in times
            ]
            return [[m + z * s for m, s in zip(mid, spread, strict=True)] for z in Z]

        sensors = {n: fan(w, n) for n, w in SENSORS.items()}
        offset = {
            "level_low": ("level", 1, -1.0),
            "level_high": ("level", -1, 6.0),
            "p_hill_low": ("p_hill", 1, -2.0),
            "p_north_low": ("p_north", 1, -2.0),
            "power_high": ("power", -1, 100.0),
        }
        margins = {m: [[s * v + c for v in row] for row in sensors[n][::s]] for m, (n, s, c) in offset.items()}
        p_hill = max(0.01, min(0.97, 0.31 + (0.3 if self.faults else 0.0) - shift))
        return {
            "type": "forecast",
            "twin": self.name,
            "t0": self.t,
            "times": times,
            "levels": LEVELS,
            "states": {n: fan(w, n) for n, w in STATES.items()},
            "sensors": sensors,
            "margins": margins,
            "plan": {n: [step_input(w, t) for t in times] for n, w in INPUTS.items()},
            "crossings": [
                {
                    "margin": "p_hill_low",
                    "probability": p_hill,
                    "t_median": self.t + 14_800.0,
                    "t_early": self.t + 11_000.0,
                },
                {"margin": "level_low", "probability": 0.02, "t_median": None, "t_early": self.t + 30_000.0},
            ],
        }

    def _find(self, items: list[dict], id_: str) -> dict:
        for item in items:
            if item["id"] == id_:
                return item
        raise Refused("unknown-id", f"Nothing here has the id {id_!r}.", "Reload the page and try again.")

    def command(self, capability: str, body: dict) -> object:
        """One POST."""
        if capability in {"acknowledge", "shelve"}:
            alarm = self._find(self.alarms, body["id"])
            alarm["state"] = "acknowledged" if capability == "acknowledge" else "shelved"
            alarm["by"], alarm["note"] = "operator", body.get("note") or None
            self._note("operator", capability, body.get("note", ""), alarm["id"])
            return alarm
        if capability in {"approve", "reject"}:
            p = self._find(self.proposals, body["id"])
            if p["status"] != "pending":
                raise Refused("approval-used", f"The proposal is already {p['status']}.", "Ask for a new proposal.")
            if capability == "approve" and body["hash"] != p["hash"]:
                raise Refused("approval-hash", "The action changed after it was shown.", "Read it again, then approve.")
            p["status"] = "executed" if capability == "approve" else "rejected"
            self._note("operator", capability, body.get("reason", ""), p["id"])
            return p
        if capability in {"propose", "optimise"}:
            p = self._proposal(f"p{len(self.proposals) + 1}", body.get("values") or {"pump_1": 0.9})
            p["reason"] = body.get("reason") or p["reason"]
            p["proposer"] = "operator" if capability == "propose" else "planner"
            self.proposals.append(p)
            self._note(p["proposer"], capability, p["reason"], p["id"])
            return p
        if capability == "level":
            self.level = int(body["level"])
            self._note("operator", "level", body["reason"], f"L{self.level}")
            return {"level": self.level}
        if capability in {"stop", "reset_stop"}:
            self.stopped = capability == "stop"
            self._note("operator", capability, body["reason"], self.name)
            return {"stopped": self.stopped}
        if capability == "fault":
            if body["kind"] == "clear":
                self.faults.clear()
            else:
                self.faults.append({**body, "t": self.t, "seen": False})
            self._note("operator", "fault", body["kind"], str(body.get("where")))
            return {"ok": True}
        if capability == "what_if":
            push = (body["values"].get("pump_2", 0.4) - 0.4) * 0.8
            return {
                "acting": self.forecast(body.get("hours") or 12.0, push),
                "not_acting": self.forecast(body.get("hours") or 12.0),
            }
        if capability == "ask":
            return self.answer(body["question"])
        raise Refused("unknown-capability", f"There is no capability {capability!r}.", "See the API page.")

    def answer(self, question: str) -> dict:
        """A canned answer that repeats the question."""
        s = self._sensor("p_hill", self.t)
        return {
            "answer": "Pressure hill is 2.61 bar and is forecast to fall below 2 bar with 31 % probability, "
            f"most likely at 18:06. The evening demand drives it. (You asked: {question})",
            "used": [{"capability": "observe", "params": {}}, {"capability": "forecast", "params": {"hours": 12}}],
            "facts": [
                {"label": "Pressure hill", "value": s["value"], "unit": "bar"},
                {"label": "Risk below 2 bar", "value": 0.31, "unit": ""},
            ],
        }

    def explain(self, id_: str) -> dict:
        """Why an alarm fired."""
        a = self._find(self.alarms, id_)
        return {
            "id": id_,
            "text": f"{a['summary']}. The last 40 minutes moved the belief by 2.4 standard deviations.",
            "facts": [{"label": k, "value": v, "unit": ""} for k, v in a["evidence"].items()],
            "chain": [
                {"id": "f-881", "kind": "forecast", "t": a["t"]},
                {"id": "b-9120", "kind": "belief", "t": a["t"]},
                {"id": "r-9120", "kind": "readings", "t": a["t"]},
            ],
        }
