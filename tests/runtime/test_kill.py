"""`kill -9` in start, work, snapshot and compaction: the same bits afterwards. `benchmarks.crash` does it 200 times."""

import os

from benchmarks.crash import AIMS, run

KILLS = int(os.environ.get("POLLUX_ENGINE_KILLS", "4"))


def test_killed_process_comes_back_to_the_same_bits():
    result = run({"kills": KILLS, "seed": 1, "chains": 1})
    assert result["same_bits"], (result["digests"], result["uninterrupted"])
    assert result["acknowledged_lost"] == 0
    assert result["counted_twice_or_wrong"] == 0
    assert sum(result["kills_in"].values()) == KILLS
    assert set(result["kills_in"]) <= set(AIMS)
