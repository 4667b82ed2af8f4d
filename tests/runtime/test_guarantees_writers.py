"""Two engines on one store, and a belief of another model: the older writes no more, the old belief is not used."""

import asyncio
import shutil

import numpy as np
import pytest

from pollux.autonomy.policy import Principal
from pollux.core.errors import FencedError, StoreError
from pollux.runtime.events import Intent
from pollux.runtime.ledger import AuditFile
from pollux.runtime.store.sqlite import SqliteStore

from .bench import Bench, until, write_twins

ANN = Principal("ann", "operator", "person")


@pytest.fixture
def project(tmp_path):
    return write_twins(tmp_path / "project", {"tank": "", "wall": 'time = "wall"\nperiod = 0.2'})


def test_a_second_engine_is_refused_and_one_that_takes_over_fences_the_first(project, tmp_path, monkeypatch):
    state = tmp_path / "state"

    async def story():
        async with Bench(project, state) as first:
            await first.feed(range(1, 20))
            with pytest.raises(FencedError, match="held by another process"):
                async with Bench(project, state):
                    pass
            assert await first.push("tank", 20) == 2  # the refusal has changed nothing
            await first.engine.settled()
            before = first.belief("tank")
            monkeypatch.setattr(
                "pollux.runtime.engine.open_store",
                lambda wiring, folder: SqliteStore(state / "journal.db", takeover=True),
            )
            async with Bench(project, tmp_path / "other") as second:  # as on another machine
                assert second.belief("tank").mean.tobytes() == before.mean.tobytes()
                gone = "has taken over|was closed"  # its own clock may have found out before, and ended it
                with pytest.raises(StoreError, match=gone):
                    await first.push("tank", 21)
                decided = Intent("level", ANN, {"level": 1, "reason": "test"})
                with pytest.raises(StoreError, match=gone):
                    await first.lane("tank").act(decided)
                await until(first.task.done)  # it ends and says why
                assert "has taken over" in first.engine.phase
                for k in range(21, 40):
                    await second.push("tank", k)
                await second.engine.settled()
                assert second.belief("tank").t == 39

    asyncio.run(story())
    store = SqliteStore(state / "journal.db")  # the lock of the first was given back
    store.verify()
    t, _ = store.history("tank", "LT1", -np.inf, np.inf)
    store.close()
    assert list(t) == list(range(1, 40))


def test_a_closed_audit_log_writes_into_no_other_file(tmp_path):
    audit = AuditFile(tmp_path)
    audit("level", 1.0, {})
    audit.close()
    other = (tmp_path / "other").open("wb+")  # takes the number that the log had
    with pytest.raises(StoreError, match="was closed"):
        audit("level", 2.0, {})
    audit.close()
    assert other.read() == b""
    other.close()
    AuditFile(tmp_path).close()


def test_a_belief_of_another_model_is_not_used_but_computed_again(project, tmp_path):
    async def run(folder, state, seconds=()):
        async with Bench(folder, state) as bench:
            await bench.feed(seconds)
            b = bench.belief("tank")
            return b.mean.tobytes(), b.cov.tobytes(), b.id

    old = asyncio.run(run(project, tmp_path / "state", range(1, 30)))
    edited = shutil.copytree(project, tmp_path / "edited")
    source = (edited / "twin.py").read_text()
    (edited / "twin.py").write_text(source.replace('param("m^2", 0.5)', 'param("m^2", 0.6)'))
    shutil.copytree(tmp_path / "state", tmp_path / "again")
    assert asyncio.run(run(project, tmp_path / "again")) == old
    new = asyncio.run(run(edited, tmp_path / "state"))
    assert new != old
    assert new == asyncio.run(run(edited, tmp_path / "fresh", range(1, 30)))
