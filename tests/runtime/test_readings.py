"""`readings`: what was measured, over any span, as the journal has it, though the charts' ring holds less."""

import asyncio

import numpy as np
import pytest

from pollux.core.errors import InputError
from pollux.runtime.wiring import read_wiring

from .project import write
from .test_recall import Plant


def test_readings_are_those_of_the_journal(tmp_path):
    async def scenario():
        async with Plant(write(tmp_path / "bench"), tmp_path / "state") as plant:
            for t in range(1, 40):
                await plant.send(float(t), 400.0 if t == 17 else 100.0 + t)
            archive = plant.engine.archive
            found = await archive.readings("tank", [], -np.inf, np.inf, 1000)
            thinned = await archive.readings("tank", ["level"], 5.0, 30.0, 8)
            with pytest.raises(InputError, match="measures no signal 'nothing'"):
                await archive.readings("tank", ["nothing"], -np.inf, np.inf, 100)
            with pytest.raises(InputError, match="not kept"):
                await archive.readings("nobody", [], -np.inf, np.inf, 100)
            return found, thinned["level"]

    found, (t, value) = asyncio.run(scenario())
    wired = {tag.field for tag in read_wiring(tmp_path / "bench").twins[0].tags}
    assert set(found) == wired
    whole_t, whole = found["level"]
    assert list(whole_t) == [float(k) for k in range(1, 40)]
    np.testing.assert_allclose(whole, [4.0 if k == 17 else 1.0 + k / 100 for k in range(1, 40)])  # cm -> m
    assert len(t) <= 8
    assert np.isin(t, whole_t).all()
    assert value.max() == whole[16]
    assert value.min() == whole[4]
