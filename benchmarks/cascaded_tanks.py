"""Work item `cascaded_tanks`: free-run error and one-step coverage on the test half of the real record.

The twin's parameters and noise levels were learned on the estimation half alone (`python -m
pollux.twins.cascaded_tanks.fit`). The peers are published free-run RMSE on the same samples 50..1023.
"""

from typing import Any

from pollux import check
from pollux.twins.cascaded_tanks import CascadedTanks, Textbook
from pollux.twins.cascaded_tanks.judge import coverage, free_run, one_step, rmse
from pollux.twins.cascaded_tanks.record import halves

PUBLISHED = {
    "GRU (arXiv 2405.10779)": 0.396,
    "P-NARX (arXiv 2405.10779)": 0.413,
    "NLSS2 (Math. Probl. Eng. 2021, 6613425)": 0.343,
    "neural state space with overflow (Forgione, slides)": 0.33,
}


def run(config: dict[str, Any]) -> dict[str, Any]:
    """RMSE in V, physics alone; `data` names the file where it is not under POLLUX_DATA.

    The error is the distance of the one-step coverage from 95 %.
    """
    estimation, test = halves(config.get("data"))
    twin = CascadedTanks()
    scores = one_step(twin, test)
    found = rmse(free_run(twin, test))
    covered = coverage(scores)
    verdict = check(Textbook()).identifiability
    assert verdict is not None
    return {
        "item": "cascaded_tanks",
        "config": {"samples": len(test), "initial": 50, "parameters": 8, "fitted_on": "estimation half"},
        "pollux": found,
        "peers": PUBLISHED,
        "ratio": min(PUBLISHED.values()) / found,
        "unit": "V",
        "error": abs(covered - 0.95),
        "coverage": covered,
        "mean_nis": float((scores**2).mean()),
        "estimation": {"rmse": rmse(free_run(twin, estimation)), "coverage": coverage(one_step(twin, estimation))},
        "textbook": verdict.to_dict(),
    }
