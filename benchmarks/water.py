"""Work item `water`: operate and watch a city's water network that somebody else modelled (EPANET's Net1).

`pollux` is the energy cost of seven days under Pollux's MPC, peers are the network's own controls and the best
schedule in hindsight (each on the same plant, demand and tariff; means over the seeds, corrected for the water left in
the tank). `ratio` = Pollux / own controls. `error` is the worst excess over the hindsight schedule.

Configuration: seeds (10), days (7), fault_seeds (2), quiet_weeks (4), quiet_seeds (2), parts ("schedule,faults,quiet").
"""

import sys
from typing import Any

from benchmarks import _water_faults as faults
from benchmarks._water_schedule import Controller, week
from benchmarks._water_walk import Walk
from pollux.twins.water.clairvoyant import probe

DEFAULT = {
    "seeds": 10, "days": 7, "fault_seeds": 2, "quiet_weeks": 4, "quiet_seeds": 2, "parts": "schedule,faults,quiet",
}  # fmt: skip


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Run the parts that are asked for; figures of a part that is left out are null."""
    config = {**DEFAULT, **config}
    parts, walk = config["parts"].split(","), Walk()
    result: dict[str, Any] = {
        "item": "water", "config": config, "pollux": None, "peers": {}, "ratio": None, "unit": "EUR", "error": None,
    }  # fmt: skip
    if "schedule" in parts:
        result |= _schedule(walk, config)
    if "faults" in parts:
        result["faults"] = _faults(walk, config)
    if "quiet" in parts:
        result["false_alarms"] = {
            f"seed {seed}": faults.false_alarms(walk, seed, 7 * config["quiet_weeks"])
            for seed in range(config["quiet_seeds"])
        }
    return result


def _schedule(walk: Walk, config: dict[str, Any]) -> dict[str, Any]:
    hydraulics, controller, days = probe(), Controller(), config["days"]
    weeks = []
    for seed in range(config["seeds"]):
        accounts = week(seed, days, hydraulics, walk, controller)
        cost = {name: account.adjusted for name, account in accounts.items()}
        weeks.append({
            "seed": seed,
            "to_own": round(cost["pollux"] / cost["own controls"], 4),
            "to_clairvoyant": round(cost["pollux"] / cost["clairvoyant"], 4),
            **accounts["pollux"].figures(),
            "clairvoyant_violations": accounts["clairvoyant"].violations,
            "costs": {k: round(v, 2) for k, v in cost.items()},
        })  # fmt: skip
        print(f"# water seed {seed}: {weeks[-1]['to_own']} of own controls, {weeks[-1]['to_clairvoyant']} of hindsight",
              file=sys.stderr)  # fmt: skip
    mean = {name: sum(w["costs"][name] for w in weeks) / len(weeks) for name in weeks[0]["costs"]}
    return {
        "pollux": round(mean.pop("pollux"), 2),
        "peers": {k: round(v, 2) for k, v in mean.items()},
        "ratio": round(sum(w["to_own"] for w in weeks) / len(weeks), 4),
        "error": round(max(w["to_clairvoyant"] for w in weeks) - 1, 4),
        "worst_to_own": max(w["to_own"] for w in weeks),
        "violations": sum(w["violations"] for w in weeks),
        "weeks": weeks,
    }


def _faults(walk: Walk, config: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, cases, within in (
        ("leak 20 %", faults.leaks(20.0), 6.0),
        ("leak 10 %", faults.leaks(10.0), 24.0),
        ("sensors", faults.sensor_faults(), 24.0),
    ):
        results = [faults.find(walk, case, 40 + seed) for seed in range(config["fault_seeds"]) for case in cases]
        out[name] = {**faults.summary(results, within), "results": results}
        print(f"# water {name}: {faults.summary(results, within)}", file=sys.stderr)
    return out
