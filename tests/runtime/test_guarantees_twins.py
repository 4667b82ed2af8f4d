"""G12: one bad twin never changes another: the bits of its neighbour are the same with and without it."""

import asyncio

import numpy as np
import pytest

from pollux.core.signals import Health

from .bench import Bench, write_twins

POISON = '''

class Poisoned(Tank):
    """Its dynamics are not a number below 99.5 cm."""

    def dynamics(self, t, x, u):
        return State(h=(u.q - self.k * jnp.sqrt(x.h - 0.995)) / self.A)


def raising():
    """Its step raises two times out of three."""
    from pollux.mirror.update import Mirror, build_mirror
    from pollux.runtime.blueprint import Blueprint

    class Raising(Mirror):
        def update(self, belief, readings, excluded=frozenset()):
            if int(readings.t) % 3:
                raise ZeroDivisionError("a mistake in somebody's own filter")
            return super().update(belief, readings, excluded)

    return Blueprint(Tank(), mirror=lambda: Raising(**vars(build_mirror(Tank()))))


def blind():
    """Looking ahead raises."""
    from pollux.runtime.blueprint import Blueprint

    class Blind:
        def forecast(self, *args, **options):
            raise IndexError("a mistake in somebody's own forecaster")

    return Blueprint(Tank(), forecaster=Blind)
'''

BAD = {
    "not-a-number": 'definition = "twin.py:Poisoned"',
    "tiny-area": "parameters = { A = 1e-12 }",
    "huge-outflow": "parameters = { k = 1e9 }",
    "raises": 'definition = "twin.py:raising"\ntrack = []',
    "blind": 'definition = "twin.py:blind"\ntrack = []',
    "nonsense": "",
}
"""What is wrong with each bad twin; the last one gets nonsense as readings."""
LAST = 25


async def run(project, state, look):
    async with Bench(project, state) as bench:
        bad = [twin for twin in BAD if f"field-{twin}" in bench.fields]

        async def push(k):
            for twin in bad:
                await bench.push(twin, k, 240.0 * (k % 2) if twin == "nonsense" else None)

        for k in range(1, LAST):
            await push(k)
            await bench.push("good", k)
        await bench.engine.settled()
        for k in range(LAST, 10 * LAST):  # forecasts are made beside the steps: some alarms come a little later
            if all(bench.alarms(twin) for twin in bad) and (not bad or "outlook" in subjects(bench, "blind")):
                break
            await push(k)
            await asyncio.sleep(0.1)
        return look(bench)


def subjects(bench, twin):
    return [a.subject for a in bench.alarms(twin)]


def bits(bench):
    b = bench.belief("good")
    return b.mean.tobytes(), b.cov.tobytes(), b.id, b.source, b.nis


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    project = write_twins(folder / "project", {"good": ""})
    return asyncio.run(run(project, folder / "state", bits))


def test_bad_twins_change_nothing_of_their_neighbour_and_say_so(tmp_path, alone):
    project = write_twins(tmp_path / "project", {**BAD, "good": ""}, POISON)

    def look(bench):
        assert bits(bench) == alone
        assert not bench.alarms("good")
        return {twin: (bench.belief(twin), bench.alarms(twin), bench.lane(twin).live.card()) for twin in BAD}

    found = asyncio.run(run(project, tmp_path / "state", look))
    said = {twin: {(a.cause, a.subject) for a in alarms} for twin, (_, alarms, _) in found.items()}
    for twin, (belief, _, card) in found.items():
        assert np.isfinite(belief.mean).all()
        assert np.isfinite(belief.cov).all()
        assert said[twin]
        assert card["status"] != "good"
    assert ("system", "estimation") in said["raises"]
    assert ("system", "outlook") in said["blind"]
    assert found["nonsense"][0].health[0] == Health.SUSPECT
    assert found["raises"][0].health[0] == Health.GOOD  # it takes every third reading
