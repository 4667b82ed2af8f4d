"""`kill -9` in the start and in the work: the same bits afterwards. `benchmarks.crash` does it fifty times."""

from benchmarks.crash import run


def test_killed_process_comes_back_to_the_same_bits():
    result = run({"kills": 2, "seed": 1})
    assert result["same_bits"], (result["digest"], result["uninterrupted"])
    assert result["acknowledged_lost"] == 0
