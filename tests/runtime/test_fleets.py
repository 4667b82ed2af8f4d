"""A fleet in a project: the bits of its members alone, through restarts, comings and goings, disorder and errors."""

import asyncio
import functools
import importlib.util
import shutil

import numpy as np
import pytest

from pollux.autonomy.policy import Principal
from pollux.core.errors import InputError, MessageError, WiringError
from pollux.core.signals import Readings
from pollux.mirror.update import build_mirror
from pollux.runtime.connect.wire import Columns, Message, parse_body, parse_mqtt
from pollux.runtime.fleets.align import Cells, FleetAlign
from pollux.runtime.fleets.members import Member
from pollux.runtime.roster import View
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.serve.capabilities import run as ask
from pollux.runtime.serve.problems import Problem

from .bench import Running
from .project import SOURCE, write

N = 6
WIRING = """
[project]
name = "tanks"
[connector.field]
kind = "memory"
[[fleet]]
name = "tanks"
definition = "twin.py:Tank"
members = "members.csv"
capacity = 8
period = 1.0
lag = 3.0
[[fleet.tag]]
tag = "LT1"
field = "level"
unit = "cm"
[[fleet.tag]]
tag = "FT1"
field = "q"
unit = "L/s"
"""
AREAS = [0.4 + 0.05 * i for i in range(N)]


def on_a_loop(test):
    """Run a test that awaits."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        return asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def folder(tmp_path):
    return project_in(tmp_path)


def project_in(folder):
    """A project with a fleet of tanks."""
    project = write(folder / "project")
    (project / "pollux.toml").write_text(WIRING)
    (project / "members.csv").write_text("name,A\n" + "".join(f"tank-{i},{a!r}\n" for i, a in enumerate(AREAS)))
    return project


class Bench(Running):
    """An engine in this process, with its connector at hand."""

    @property
    def fleet(self):
        return self.engine.fleets["tanks"]

    async def feed(self, messages):
        receipt = await self.field.push(messages)
        await self.engine.settled()
        return receipt


def levels(k, n=N):
    value = 100.0 + 5.0 * np.sin(0.1 * k + np.arange(n))
    value[k % n] = np.nan
    return value


def columns(k, n=N, **changes):
    table = np.array([levels(k, n), np.full(n, 10.0 + 0.1 * k)])
    return Columns("field", "tanks", float(k), 0, ("LT1", "FT1"), table)._replace(**changes)


def single(k):
    """The same as values of single members."""
    c = columns(k)
    return [
        Message("field", f"tank-{i}", tag, c.t, float(v), "cm" if tag == "LT1" else "L/s")
        for tag, row in zip(c.tags, c.values, strict=True)
        for i, v in enumerate(row)
        if not np.isnan(v)
    ]


async def run(folder, state, feeds, then=lambda bench: None):
    async with Bench(folder, state) as bench:
        for messages in feeds:
            await bench.feed(messages)
        result = then(bench)
        b = bench.fleet.fold.belief
        return (b.t.copy(), b.mean.copy(), b.cov.copy(), b.nis.copy()), result


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


ORDER = [[columns(k)] for k in range(20)]


@on_a_loop
async def test_a_fleet_is_its_members_alone(folder, tmp_path):
    (t, mean, cov, _), _ = await run(folder, tmp_path / "a", ORDER)
    spec = importlib.util.spec_from_file_location("tank_of_the_test", SOURCE / "twin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for i, area in enumerate(AREAS):
        mirror = build_mirror(module.Tank(A=area), name="alone")
        belief = mirror.start(0.0)
        for k in range(int(t[0]) + 1):
            values = np.array([np.nan if k % N == i else levels(k)[i] * 0.01])
            inputs = np.full(len(mirror.space.u), np.nan)
            inputs[mirror.space.index("u", "q")] = (10.0 + 0.1 * k) * 1e-3
            belief = mirror.update(belief, Readings("alone", float(k), f"r{k}", "", values, inputs))
        np.testing.assert_array_equal(mean[:, i], belief.mean)
        np.testing.assert_array_equal(cov[..., i], belief.cov)


@on_a_loop
async def test_order_pieces_and_repetition_change_nothing(folder, tmp_path):
    expected, _ = await run(folder, tmp_path / "a", ORDER)
    rng = np.random.default_rng(1)
    for trial in range(4):
        pieces = [m for k in range(20) for m in single(k)]
        keys = np.array([m.t for m in pieces]) + rng.uniform(0.0, 2.9, len(pieces))
        keys[[m.t == 0.0 for m in pieces]] = -1.0  # the first bin begins the grid
        order = [pieces[i] for i in np.argsort(keys, kind="stable")]
        again = [order[i] for i in rng.integers(len(order) - 60, len(order), 10)]
        cuts = np.sort(rng.integers(0, len(order), 7))
        feeds = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True) if b > a]
        got, _ = await run(folder, tmp_path / f"b{trial}", [*feeds, again])
        assert same(expected, got)


@on_a_loop
async def test_a_restart_comes_to_the_same_bits(folder, tmp_path, monkeypatch):
    expected, _ = await run(folder, tmp_path / "a", ORDER)
    monkeypatch.setattr("pollux.runtime.fleets.lane.SNAPSHOT_EVERY", 5)
    await run(folder, tmp_path / "b", ORDER[:7])
    await run(folder, tmp_path / "b", ORDER[7:13])
    got, _ = await run(folder, tmp_path / "b", ORDER[13:])
    assert same(expected, got)


@on_a_loop
async def test_what_a_killed_process_leaves_gives_the_same_bits(folder, tmp_path, monkeypatch):
    """At some ticks the files are copied as they are: what a kill at that moment would leave."""
    expected, _ = await run(folder, tmp_path / "a", ORDER)
    monkeypatch.setattr("pollux.runtime.fleets.lane.SNAPSHOT_EVERY", 4)
    async with Bench(folder, tmp_path / "b") as bench:
        for k, messages in enumerate(ORDER):
            await bench.feed(messages)
            if k == 9:
                await bench.fleet.join([Member("new", {})], "ana")
            if k == 10:
                await bench.fleet.leave(["new"], "ana")
            if k in (2, 9, 13):
                shutil.copytree(tmp_path / "b", tmp_path / f"killed-{k}")
    for k in (2, 9, 13):
        async with Bench(folder, tmp_path / f"killed-{k}") as bench:
            assert ("new" in bench.fleet.fold.slots) == (k == 9)
            for messages in ORDER[k + 1 :]:
                await bench.feed(messages)
            b, active = bench.fleet.fold.belief, slice(0, N)
            got = (b.t[active], b.mean[:, active], b.cov[..., active], b.nis[active])
            assert all(np.array_equal(x[..., active], y) for x, y in zip(expected, got, strict=True))


@on_a_loop
async def test_members_come_and_go_without_compiling(folder, tmp_path, monkeypatch):
    async def life(state, cut):
        async with Bench(folder, state) as bench:
            for k in range(5):
                await bench.feed([columns(k)])
            kernel = bench.fleet.base.fleet.kernel
            await bench.fleet.join([Member("new", {"A": 0.3}), Member("other", {})], "ana")
            await bench.fleet.leave(["tank-2"], "ana")
            names = tuple(bench.fleet.fold.slots)
            for k in range(5, 10):
                await bench.feed([columns(k, members=names, values=columns(k, len(names)).values)])
            assert bench.fleet.base.fleet.kernel is kernel
            assert "tank-2" not in bench.engine.lanes()
            assert "new" in bench.engine.lanes()
            if cut:
                await bench.fleet.keep_snapshot()
            b = bench.fleet.fold.belief
            with pytest.raises(InputError, match=r"1 free slots of 8|0 free"):
                await bench.fleet.join([Member(f"x{i}", {}) for i in range(3)], "ana")
            with pytest.raises(InputError, match="no member 'nobody'"):
                await bench.fleet.leave(["nobody"], "ana")
            return b.mean.copy(), b.cov.copy(), tuple(bench.fleet.fold.names)

    mean, cov, names = await life(tmp_path / "a", False)
    async with Bench(folder, tmp_path / "a") as bench:
        assert tuple(bench.fleet.fold.names) == names
        active = bench.fleet.fold.active
        assert np.array_equal(bench.fleet.fold.belief.mean[:, active], mean[:, active])
        assert np.array_equal(bench.fleet.fold.belief.cov[..., active], cov[..., active])


@on_a_loop
async def test_what_is_refused_says_why_and_harms_nothing(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        await bench.feed([columns(0)])
        high = columns(1).values.copy()
        high[0, 3] = 1e9
        receipt = await bench.feed(
            [
                columns(1, values=high),
                columns(1, tags=("LT9", "FT1")),
                columns(1, source="stranger"),
                columns(1, site="lakes"),
                columns(1, members=("tank-0", "nobody", *["tank-1"] * 4)),
                columns(1, members=5),
                Message("field", "tank-0", "LT1", 1.0, 100.0, "kg"),
            ]
        )
        assert sorted(reason for _, reason, _ in receipt.refused) == [
            "authority", "range", "unit", "unknown_tag", "unknown_tag", "unknown_tag", "unknown_tag",
        ]  # fmt: skip
        assert receipt.accepted == 10, "the readings of the other members passed"
        assert bench.engine.refused()["unknown_tag"] == 4


@on_a_loop
async def test_late_and_double_are_counted_and_not_fused(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        for k in range(10):
            await bench.feed([columns(k)])
        fold = bench.fleet.fold
        before, t = fold.belief.mean.copy(), fold.t
        await bench.feed([columns(2, values=columns(2).values + 1.0)])
        await bench.feed([columns(9, values=columns(9).values + 1.0)])
        assert dict(fold.align.unfused) == {"late": 11, "duplicate": 11}
        assert (fold.t, fold.align.watermark) == (t, 9.0)
        np.testing.assert_array_equal(fold.belief.mean, before)


@on_a_loop
async def test_one_member_alone_does_not_move_the_time(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        await bench.feed([columns(0)])
        align = bench.fleet.fold.align
        await bench.feed([columns(10**6, members=("tank-0",), values=np.array([[100.0], [10.0]]))])
        assert (align.watermark, align.unfused["future"]) == (0.0, 2)
        await bench.feed([columns(10**6 + 1)])
        assert align.watermark == 10**6 + 1, "what six members say is believed"


@on_a_loop
async def test_a_bad_member_changes_no_other(folder, tmp_path):
    text = "name,A\n" + "".join(f"tank-{i},{(0.0 if i == 1 else a)!r}\n" for i, a in enumerate(AREAS))
    expected, _ = await run(folder, tmp_path / "a", ORDER)
    (folder / "members.csv").write_text(text)

    def look(bench):
        return bench.engine.roster.page(View(), 0, 10)

    got, page = await run(folder, tmp_path / "b", ORDER, look)
    others = [i for i in range(N) if i != 1]
    assert all(np.array_equal(a[..., others], b[..., others]) for a, b in zip(expected, got, strict=True))
    assert (page["twins"][0]["name"], page["twins"][0]["status"]) == ("tank-1", "act")
    assert page["counts"]["act"] == 1


@on_a_loop
async def test_members_are_twins_that_can_be_looked_at(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        lanes = bench.engine.lanes()
        assert not lanes["tank-3"].live.ready
        for k in range(12):
            await bench.feed([columns(k)])
        live = lanes["tank-3"].live
        frame = live.frame()
        fold = bench.fleet.fold
        assert frame["t"] == fold.t
        assert frame["states"]["h"]["mean"] == fold.belief.mean[0, 3]
        ahead = live.foresee()
        assert ahead.twin == "tank-3"
        assert np.isfinite(ahead.states).all()
        assert live.level() == 0
        assert frame["status"] in ("good", "watch")
        assert len(live.ring.rows()) >= 8
        page = bench.engine.roster.page(View(q="tank-3"), 0, 5)
        assert page["twins"][0]["figures"][0]["value"] == fold.belief.mean[0, 3]
        assert list(lanes) == []
        assert "tank-3" in lanes
        assert lanes.get("nobody") is None


@on_a_loop
async def test_the_past_of_a_member_is_filtered_again_from_its_readings(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        believed = []
        for k in range(12):
            await bench.feed([columns(k)])
            fold = bench.fleet.fold
            if fold.belief is not None:  # the first tick waits for the lag
                believed.append((fold.t, fold.belief.mean[0, 3]))
        lane = bench.engine.lanes()["tank-3"]
        await lane.charts.wait()
        span = lane.live.ring.span(-np.inf, np.inf, 100)
        known = dict(believed)
        assert span.t.tolist() == list(known)
        for t, mean in zip(span.t, span.mean[:, 0], strict=True):
            assert known[t] == mean, "the same bits, by a fleet of one"


PONDS = """
[[fleet]]
name = "ponds"
definition = "pond.py:Pond"
count = 3
period = 2.0
[[fleet.tag]]
tag = "LT1"
field = "level"
[[twin]]
name = "alone"
definition = "twin.py:Tank"
period = 1.0
lag = 3.0
[[twin.tag]]
tag = "LT1"
field = "level"
unit = "cm"
"""
POND = """
import jax.numpy as jnp
from pollux import Scalar, Signals, Twin, param, var
class State(Signals):
    h: Scalar = var("m", start=1.0, drift=1e-3)
class Input(Signals):
    rain: Scalar = var("m/s", start=0.0)
class Sensors(Signals):
    level: Scalar = var("m", noise=0.01)
class Pond(Twin[State, Input, Sensors]):
    k: Scalar = param("1/s", 0.001)
    def dynamics(self, t, x, u):
        return State(h=u.rain - self.k * x.h)
    def observe(self, t, x, u):
        return Sensors(level=x.h)
"""


@on_a_loop
async def test_fleets_of_two_definitions_and_a_twin_run_side_by_side(folder, tmp_path):
    expected, _ = await run(folder, tmp_path / "a", ORDER)
    (folder / "pond.py").write_text(POND)
    (folder / "pollux.toml").write_text(WIRING + PONDS)

    def pond(k):
        return Columns("field", "ponds", float(k), 0, ("LT1",), np.full((1, 3), 1.0))

    feeds = [[columns(k), pond(k), Message("field", "alone", "LT1", float(k), 100.0, "cm")] for k in range(20)]

    def look(bench):
        page = bench.engine.roster.page(View(sort="title"), 0, 20)
        lanes = bench.engine.lanes()
        return [c["name"] for c in page["twins"]], bench.engine.fleets["ponds"].fold.t, lanes["alone"].live.t

    got, (names, t, alone) = await run(folder, tmp_path / "b", feeds, look)
    assert same(expected, got)
    assert names == ["alone", *(f"ponds-{i}" for i in range(3)), *(f"tank-{i}" for i in range(N))]
    assert (t, alone) == (18.0, 19.0)
    again, (_, t, alone) = await run(folder, tmp_path / "b", [], look)
    assert same(got, again)
    assert (t, alone) == (18.0, 19.0)


@on_a_loop
async def test_silence_is_seen(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:
        for k in range(12):
            values = columns(k).values.copy()
            values[0, 4] = np.nan if k > 2 else 100.0
            await bench.feed([columns(k, values=values)])
        doing = bench.fleet.fold.doing()
        assert doing.stale[0, 4]
        assert doing.health[4] == 0.0
        assert doing.health[3] == 1.0
        assert lanes_health(bench, "tank-4") == "stale"


def lanes_health(bench, name):
    return bench.engine.lanes()[name].live.frame()["sensors"]["level"]["health"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('members = "members.csv"', "", "either `count` or `members`"),
        ('members = "members.csv"', "count = 9", "must hold all 9 members"),
        ('members = "members.csv"', 'members = "gone.csv"', "readable CSV file"),
        ("lag = 3.0", "lag = 3.0\nmirror = {method = 1}", "`mirror` of a fleet has no 'method'"),
        ('unit = "cm"', 'unit = "kg"', "unit"),
    ],
)
@on_a_loop
async def test_wrong_wiring_says_where(folder, tmp_path, old, new, said):
    (folder / "pollux.toml").write_text(WIRING.replace(old, new))
    with pytest.raises(WiringError, match=said):
        async with Bench(folder, tmp_path / "a"):
            pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,A\n1,2\n", "column `name`"),
        ("name,B\ntank-0,2\n", "no parameter 'B'"),
        ("name,A\ntank-0,x\n", "finite number"),
        ("name,A\ntank-0,1\ntank-0,2\n", "different names"),
        ("name,A\ntank 0,1\n", "a name has letters"),
    ],
)
@on_a_loop
async def test_wrong_members_say_where(folder, tmp_path, text, said):
    (folder / "members.csv").write_text(text)
    with pytest.raises(WiringError, match=said):
        async with Bench(folder, tmp_path / "a"):
            pass


def test_columns_are_read_strictly():
    (got,) = parse_mqtt("mqtt", "pollux/tanks", b'{"t": 4, "first": 2, "values": {"LT1": [1.5, null], "FT1": [2, 3]}}')
    assert (got.source, got.site, got.t, got.members, got.tags) == ("mqtt", "tanks", 4.0, 2, ("LT1", "FT1"))
    np.testing.assert_array_equal(got.values, [[1.5, np.nan], [2.0, 3.0]])
    body = b'{"readings": [{"site": "tanks", "t": 4, "members": ["a", "b"], "values": {"LT1": [1, 2]}}]}'
    (got,), errors = parse_body("ana", body, None, "http")
    assert (got.members, got.via, errors) == (("a", "b"), "http", [])


@pytest.mark.parametrize(
    "body",
    [
        '"values": {"LT1": [1, 2], "FT1": [1]}',
        '"values": {"LT1": [], "FT1": []}',
        '"values": {"LT1": [1, 2], "FT1": 3}',
        '"values": {"LT1": [1, "2"]}',
        '"values": {"LT1": [1, true]}',
        '"values": {"LT1": [1, [2]]}',
        '"first": -1, "values": {"LT1": [1]}',
        '"first": 1.5, "values": {"LT1": [1]}',
        '"members": ["a"], "values": {"LT1": [1, 2]}',
        '"members": ["a", 3], "values": {"LT1": [1, 2]}',
        '"values": {"LT1": [1e999]}',
        f'"values": {{"LT1": [{10**400}]}}',
    ],
)
def test_wrong_columns_are_refused(body):
    with pytest.raises(MessageError):
        parse_mqtt("mqtt", "pollux/tanks", f'{{"t": 4, {body}}}'.encode())


@on_a_loop
async def test_people_let_members_join_and_leave(folder, tmp_path):
    async with Bench(folder, tmp_path / "a") as bench:

        async def call(name, role="engineer", **params):
            capability = CAPABILITIES[name]
            who = Principal("ana", role, "person")
            return await ask(bench.engine, CAPABILITIES, capability, who, capability.params(**params))

        assert (await call("join_fleet", fleet="tanks", members=["new"], values={"A": 0.7}))["members"] == N + 1
        assert bench.fleet.fold.params[bench.fleet.base.fleet.space.index("p", "A"), N] == 0.7
        await bench.feed([columns(0, N + 1)])
        assert (await call("leave_fleet", fleet="tanks", members=["tank-0"]))["members"] == N
        (row,) = (await call("fleets", role="viewer"))["fleets"]
        assert (row["name"], row["members"], row["capacity"]) == ("tanks", N, 8)
        for wrong, said in (
            ({"members": ["new"]}, "unique"),
            ({"members": ["a b"]}, "a name has"),
            ({"members": ["b"], "values": {"B": 1.0}}, "no parameter 'B'"),
            ({"fleet": "lakes", "members": ["b"]}, "no fleet"),
        ):
            with pytest.raises(InputError, match=f"(?i){said}"):
                await call("join_fleet", **{"fleet": "tanks", **wrong})
        with pytest.raises(Problem):
            await call("join_fleet", role="operator", fleet="tanks", members=["b"])


@pytest.mark.parametrize("period", [0.001, 0.1, 1.0])
def test_a_fine_grid_at_todays_times_hands_on_bin_by_bin(period):
    align = FleetAlign(1, 2, period, 0.0, 1e9)
    first = round(1.7e9 / period)
    ticks = []
    for k in range(first, first + 50):
        t = np.full(2, k * period)
        ticks += align.push(Cells(np.arange(2), t, np.full(2, float(k))), np.ones(2, dtype=bool))
    assert [tick.k for tick in ticks] == list(range(first, first + 50))
    assert all((tick.value == tick.k).all() for tick in ticks)
