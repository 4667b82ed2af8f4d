"""The benchmark's record: 1,024 samples to estimate on, 1,024 to be judged on, one every 4 s.

The data may not be redistributed, so they are looked for where `POLLUX_DATA` points (default `../shared/data` beside
the checkout). Source: Schoukens and Noël (2017), nonlinearbenchmark.org, cascaded tanks.
"""

import os
from pathlib import Path

import numpy as np

from pollux import Record

PERIOD = 4.0
INITIAL = 50
"""Samples of the test record that may be used to find the first state."""
NAME = "cascaded_tanks/dataBenchmark.csv"


def find(path: str | Path | None = None) -> Path | None:
    """The file, or None where it is not there."""
    home = Path(__file__).parents[4].parent / "shared" / "data"
    candidate = Path(path) if path else Path(os.environ.get("POLLUX_DATA", home)) / NAME
    return candidate if candidate.is_file() else None


def halves(path: str | Path | None = None) -> tuple[Record, Record]:
    """(estimation, test). Raises `FileNotFoundError` that says where the data come from."""
    file = find(path)
    if file is None:
        raise FileNotFoundError(
            f"The cascaded-tanks record is not in the tree (its licence forbids it): put {NAME} from "
            "nonlinearbenchmark.org under the folder that POLLUX_DATA names"
        )
    columns = np.genfromtxt(file, delimiter=",", skip_header=1, usecols=(0, 1, 2, 3))
    t = PERIOD * np.arange(len(columns))

    def half(u: int, y: int) -> Record:
        return Record(t, columns[:, [u]], columns[:, [y]], ("pump",), ("level",))

    return half(0, 2), half(1, 3)
