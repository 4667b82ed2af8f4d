"""Connectors: what they deliver is durable before it is acknowledged; orders leave and answers come back."""

import asyncio
import json
import math
import os
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiomqtt
import pytest

from pollux.core.errors import InputError, MessageError, StoreError, WiringError
from pollux.core.time import ManualClock
from pollux.runtime.align import push, start
from pollux.runtime.binding import bind
from pollux.runtime.border import Border
from pollux.runtime.connect.base import Ack, ConnectorError, ConnectorState, Order, Receipt
from pollux.runtime.connect.broker import EmbeddedBroker, covers, plant_account, pollux_account
from pollux.runtime.connect.files import ReplayConnector
from pollux.runtime.connect.http import HttpConnector
from pollux.runtime.connect.make import make_connector, sites_of
from pollux.runtime.connect.memory import MemoryConnector
from pollux.runtime.connect.mqtt import MqttConnector, dial, read_url
from pollux.runtime.connect.records import RecordFormat
from pollux.runtime.connect.wire import Message
from pollux.runtime.intake import Delivery, Intake, TagTable, replay
from pollux.runtime.store.sqlite import SqliteStore
from pollux.runtime.store.writer import StoreWriter
from pollux.runtime.wiring import ServerWiring, TagWiring, TwinWiring, Wiring
from pollux.runtime.wiring_connectors import ConnectorWiring

ORDER = Order("c1", 1, 10.0, 20.0, "site", "P1", 2.5)


@dataclass(frozen=True)
class Spec:
    name: str
    unit: str = "1"
    low: float = -math.inf
    high: float = math.inf


def twin(name="tank", site="site", tags="ab", source="plant"):
    wired = tuple(TagWiring(t, t, None, None, source, source) for t in tags)
    return TwinWiring(name, "m:f", {}, (), 1.0, "event", 0.0, 1e9, site, 1.0, wired, (), {}, "w")


class Desk:
    """An intake over a real store that keeps what it hands on."""

    def __init__(self, path, wirings=None):
        self.bindings = [bind(w, [Spec(t.tag) for t in w.tags], []) for w in wirings or [twin()]]
        self.store = SqliteStore(path)
        self.writer = StoreWriter(self.store, ManualClock(100.0))
        self.delivered: list[Delivery] = []
        self.acks: list[Ack] = []
        self.intake = Intake(self.bindings, self.writer, ManualClock(100.0), self.delivered.append, self.acks.append)

    @property
    def rows(self):
        return [(d.twin, *row) for d in self.delivered for row in d.rows]


@asynccontextmanager
async def desk(path, wirings=None):
    d = Desk(path, wirings)
    try:
        yield d
    finally:
        await d.writer.close()


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(connector, sink):
    task = asyncio.create_task(connector.run(sink))
    try:
        await until(lambda: connector.state is ConnectorState.CONNECTED or task.done())
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_intake_makes_durable_hands_on_in_order_and_replays(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db", [twin(), twin("other", tags="b")]) as d:
            link = MemoryConnector("plant")
            async with running(link, d.intake):
                receipts = await asyncio.gather(
                    *(link.push([Message("plant", "site", tag, float(i), i) for tag in "ab"]) for i in range(50))
                )
                bad = await link.push([Message("plant", "site", "x", 1.0, 1), Message("thief", "site", "a", 1.0, 1)])
                await d.intake.tick("tank", 60.0)
            assert {r.accepted for r in receipts} == {3}
            assert [(tag, reason) for tag, reason, _ in bad.refused] == [("x", "unknown_tag"), ("a", "authority")]
            kept, counts = d.store.refused()
            assert counts == {"unknown_tag": 1, "authority": 1}
            assert kept[0].topic == "pollux/site/x"
            seqs = [x.seq for x in d.delivered]
            assert seqs == sorted(seqs)
            again = list(replay(d.store, TagTable(d.store, d.bindings), {"tank": 0, "other": 0}))
            for name in ("tank", "other"):
                live = [row for x in d.delivered if x.twin == name for row in x.rows]
                assert [row for x in again if x.twin == name for row in x.rows] == live
            half = d.delivered[len(d.delivered) // 2].seq
            part = list(replay(d.store, TagTable(d.store, d.bindings), {"tank": half}))
            later = [r for x in d.delivered if x.seq > half and x.twin == "tank" for r in x.rows]
            assert [r for x in part for r in x.rows] == later
            folded = push(
                d.bindings[0], start(d.bindings[0]), [row for x in again if x.twin == "tank" for row in x.rows]
            )
            assert folded.state.watermark == 60.0

    asyncio.run(scenario())


def test_rows_of_a_cancelled_caller_are_handed_on_all_the_same(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            task = asyncio.create_task(d.intake.readings([Message("plant", "site", "a", 1.0, 1.0)]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await d.intake.readings([Message("plant", "site", "a", 2.0, 2.0)])
            assert [row[2] for row in d.rows] == [1.0, 2.0]

    asyncio.run(scenario())


def test_a_flood_of_bad_messages_stays_small_and_is_counted(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            await d.intake.readings([Message("plant", "site", "x", 1.0, 1)] * 30_000)
            kept, counts = d.store.refused(1000)
            assert counts == {"unknown_tag": 30_000}
            assert len(kept) == 20

    asyncio.run(scenario())


def test_http_push(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            link = HttpConnector("plant", "site")
            with pytest.raises(ConnectorError, match="must be open"):
                await link.receive(b"{}")
            async with running(link, d.intake):
                body = {"readings": [{"tag": "a", "t": 1, "v": 2}, {"tag": "a", "t": 1}, {"tag": "q", "t": 1, "v": 2}]}
                receipt = await link.receive(json.dumps(body).encode())
                assert receipt.accepted == 1
                assert [r[1] for r in receipt.refused] == ["unknown_tag", "malformed"]
                with pytest.raises(MessageError):
                    await link.receive(b"[]")
                with pytest.raises(ConnectorError, match="only receives"):
                    await link.send(ORDER)
            assert d.rows == [("tank", 0, 1.0, 2.0)]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("authority", "connector", "via", "source", "may"),
    [
        ("push", "push", "push", "anybody", True),  # the connector's own tag: the server has asked for the role
        ("lab", "push", "push", "lab", True),
        ("lab", "push", "push", "anybody", False),
        ("lab", "push", "", "push", False),
        ("plant", "plant", "push", "plant", False),  # a caller who has the name of another connector
        ("plant", "plant", "push", "push", False),
        ("lab", "plant", "push", "lab", False),  # the right caller over another connector
        ("plant", "plant", "", "plant", True),
    ],
)
def test_who_may_write_a_tag(authority, connector, via, source, may):
    wired = twin(tags="a")
    wired = replace(wired, tags=(TagWiring("a", "a", None, None, authority, connector),))
    border = Border([bind(wired, [Spec("a")], [])])
    rows, refused = border.admit_all([Message(source, "site", "a", 1.0, 1.0, None, via)], 1.0)
    assert (len(rows), [e.reason for _, e in refused]) == ((1, []) if may else (0, ["authority"]))


CSV = "time,a,b\n0,1.5,\n1,,2.5\n2,NaN,\n3,3.5,4.5\n"


@pytest.mark.parametrize("after", [None, 1_000_001.0])
def test_a_record_is_replayed_and_resumed(tmp_path, after):
    (tmp_path / "r.csv").write_text(CSV)
    form = RecordFormat(time="time", origin=1_000_000.0)

    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            link = ReplayConnector("plant", [tmp_path / "r.csv"], "site", ManualClock(), form=form, after=after)
            await link.run(d.intake)
            assert link.state is ConnectorState.ENDED
            with pytest.raises(ConnectorError, match="shadow mode"):
                await link.send(ORDER)
            return [row[1:] for row in d.rows]

    expected = [(0, 1e6, 1.5), (1, 1e6 + 1, 2.5), (0, 1e6 + 3, 3.5), (1, 1e6 + 3, 4.5)]
    assert asyncio.run(scenario()) == [r for r in expected if after is None or r[1] > after]


def test_a_replay_keeps_its_pace(tmp_path, monkeypatch):
    (tmp_path / "r.csv").write_text(CSV)
    clock, slept = ManualClock(), []

    async def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds)

    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            link = ReplayConnector(
                "plant", [tmp_path / "r.csv"], "site", clock, speed=10.0, form=RecordFormat(time="time")
            )
            monkeypatch.setattr("pollux.runtime.connect.files.sleep", sleep)
            await link.run(d.intake)
            monkeypatch.undo()

    asyncio.run(scenario())
    assert slept == pytest.approx([0.1, 0.2])  # 1 s and 2 s of the record; the row that says nothing is passed over


def test_records_in_other_forms(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"t": [0.0, 1.0], "a": [1.0, None], "b": [2.0, 3.0]}), tmp_path / "r.parquet")
    (tmp_path / "long.csv").write_text("when,tag,value\n2026-01-01T00:00:00,a,1\n2026-01-01T00:00:01Z,b,2\n")
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n3,4\n")

    async def rows(path, form):
        async with desk(tmp_path / f"{path.name}.db") as d:
            await ReplayConnector("plant", [path], "site", ManualClock(), form=form).run(d.intake)
            return [row[1:] for row in d.rows]

    assert asyncio.run(rows(tmp_path / "r.parquet", RecordFormat())) == [(0, 0.0, 1.0), (1, 0.0, 2.0), (1, 1.0, 3.0)]
    t0 = 1767225600.0
    assert asyncio.run(rows(tmp_path / "long.csv", RecordFormat(time="when", layout="long"))) == [
        (0, t0, 1.0), (1, t0 + 1, 2.0),
    ]  # fmt: skip
    form = RecordFormat(time=None, step=4.0, columns={"b": "a"})
    assert asyncio.run(rows(tmp_path / "plain.csv", form)) == [(0, 0.0, 2.0), (0, 4.0, 4.0)]


@pytest.mark.parametrize(("text", "words"), [("q,a\n0,1\n", "has no 't'"), ("", "is empty")])
def test_a_record_that_is_wrong_as_a_whole_is_named(tmp_path, text, words):
    (tmp_path / "r.csv").write_text(text)

    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            await ReplayConnector("plant", [tmp_path / "r.csv"], "site", ManualClock()).run(d.intake)

    with pytest.raises(InputError, match=words):
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        ("1,x", "malformed", "row 2, column 'a' of r.csv"),
        ("noon,1", "time", "row 2 of r.csv"),
        ("1,inf", "nonfinite", "row 2, column 'a'"),
        ("nan,1", "time", "row 2 of r.csv"),
    ],
)
def test_a_row_that_is_wrong_goes_to_the_quarantine_and_loses_nothing_else(tmp_path, bad, reason, words):
    (tmp_path / "r.csv").write_text(f"t,a\n0,1\n{bad}\n2,3\n")

    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            await ReplayConnector("plant", [tmp_path / "r.csv"], "site", ManualClock()).run(d.intake)
            assert d.rows == [("tank", 0, 0.0, 1.0), ("tank", 0, 2.0, 3.0)]
            kept, counts = d.store.refused()
            assert counts == {reason: 1}
            assert words in kept[0].message

    asyncio.run(scenario())


def make(kind, settings, folder):
    return make_connector(ConnectorWiring("c", kind, settings), ("site",), folder, ManualClock())


def test_connectors_are_made_from_the_wiring(tmp_path):
    (tmp_path / "r.csv").write_text(CSV)
    assert isinstance(make("mqtt", {"url": "mqtt://127.0.0.1"}, tmp_path), MqttConnector)
    assert isinstance(make("http", {}, tmp_path), HttpConnector)
    assert isinstance(make("memory", {}, tmp_path), MemoryConnector)
    link = make("replay", {"paths": ["r.csv"], "speed": 100, "time": "time"}, tmp_path)
    assert isinstance(link, ReplayConnector)
    assert (link.speed, link.site) == (100.0, "site")
    wiring = Wiring("p", tmp_path, (twin(), twin("b", "two"), twin("c", "two")), (), ServerWiring("h", 1))
    assert sites_of(wiring, "plant") == ("site", "two")
    assert sites_of(wiring, "none") == ()


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("mqtt", {"url": "http://x"}, "reads 'mqtt://host:1883'"),
        ("mqtt", {"url": "mqtt://u:secret@x"}, "environment variable"),
        ("mqtt", {"url": "mqtt://x:99999"}, "'mqtt://host:1883'"),
        ("mqtt", {}, "needs a broker"),
        ("mqtt", {"protocol": "5"}, "needs a broker"),
        ("replay", {}, "needs `paths`"),
        ("replay", {"paths": ["none.csv"]}, "does not"),
        ("replay", {"paths": ["r.csv"], "layout": "tall"}, "'wide' or 'long'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, kind, settings, words):
    (tmp_path / "r.csv").write_text(CSV)
    with pytest.raises(WiringError) as error:
        make(kind, settings, tmp_path)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_urls():
    assert read_url("mqtt://me%40x@host") == ("host", 1883, "me@x", False)
    assert read_url("mqtts://host") == ("host", 8883, None, True)


@asynccontextmanager
async def embedded(port=0, accounts=()):
    broker = EmbeddedBroker(port=port, accounts=accounts)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def exchange(d, url, port, **options):
    """Readings in all forms arrive; an order leaves and its answer comes back; rubbish is quarantined."""
    link = MqttConnector("plant", dial(url, **options.pop("pollux", {})), ["site"])
    with pytest.raises(ConnectorError, match="must be connected"):
        await link.send(ORDER)
    async with running(link, d.intake), aiomqtt.Client("127.0.0.1", port, **options) as plant:
        await plant.subscribe("pollux/site/command/#", qos=1)
        await plant.subscribe("pollux/site/fault", qos=1)
        for i in range(200):
            await plant.publish("pollux/site", json.dumps({"t": i, "values": {"a": i, "b": None}}), qos=1)
        await plant.publish("pollux/site/a", json.dumps({"t": 200, "v": 1.0}), qos=1)
        await plant.publish("pollux/site/a", b"{nonsense", qos=1)
        await until(lambda: len(d.rows) >= 401 and link.counters.unread == 1)
        await link.send(ORDER)
        await link.fault("site", "leak", "J1", 20.0, None)
        order = json.loads(await next_payload(plant))
        assert order == {"id": "c1", "sequence": 1, "t": 10.0, "expires": 20.0, "v": 2.5}
        assert json.loads(await next_payload(plant))["kind"] == "leak"
        answer = {"id": "c1", "sequence": 1, "t": 11.0, "status": "done", "v": 2.5}
        await plant.publish("pollux/site/ack", json.dumps(answer), qos=1)
        await until(lambda: d.acks)
    assert d.acks == [Ack("site", "c1", 1, 11.0, "done", 2.5)]
    assert [row[2] for row in d.rows if row[1] == 0] == [float(i) for i in range(201)]
    assert link.state is ConnectorState.ENDED
    await until(lambda: d.store.refused()[1] == {"malformed": 1})


async def next_payload(client):
    async with asyncio.timeout(5):
        async for message in client.messages:
            return message.payload


def test_mqtt_through_the_embedded_broker(tmp_path):
    async def scenario():
        async with embedded() as broker, desk(tmp_path / "s.db") as d:
            await exchange(d, broker.url, broker.port)

    asyncio.run(scenario())


def test_accounts_keep_a_plant_to_its_own_topics(tmp_path):
    accounts = [plant_account("site", "secret"), plant_account("other", "else"), pollux_account("mine")]

    async def scenario():
        async with embedded(accounts=accounts) as broker, desk(tmp_path / "s.db") as d:
            url = f"mqtt://pollux@127.0.0.1:{broker.port}"
            async with aiomqtt.Client("127.0.0.1", broker.port, username="plant-other", password="else") as thief:
                await thief.publish("pollux/site/a", json.dumps({"t": 1e6, "v": 1.0}), qos=0)
                await thief.publish("pollux/site/command/P1", b"{}", qos=0)
                await exchange(
                    d, url, broker.port, username="plant-site", password="secret", pollux={"password": "mine"}
                )
            for name, word in (("plant-site", "wrong"), ("nobody", ""), (None, None)):
                with pytest.raises(aiomqtt.MqttError):
                    async with aiomqtt.Client("127.0.0.1", broker.port, username=name, password=word):
                        pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("pattern", "topic", "inside"),
    [
        ("pollux/a/+", "pollux/a/x", True),
        ("pollux/a/+", "pollux/a/+", True),
        ("pollux/a/+", "pollux/a/#", False),
        ("pollux/a/+", "pollux/b/x", False),
        ("pollux/a/+", "pollux/+/x", False),
        ("pollux/a/+", "pollux/a/x/y", False),
        ("pollux/#", "pollux/a/x/y", True),
        ("pollux/a", "pollux/a", True),
        ("pollux/a/b", "pollux/a", False),
    ],
)
def test_patterns_cover_topics(pattern, topic, inside):
    assert covers(pattern, topic) is inside


def test_an_occupied_port_is_said():
    async def scenario():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ConnectorError, match="Choose another port"):
                await EmbeddedBroker(port=taken.getsockname()[1]).start()

    asyncio.run(scenario())


def test_a_lost_broker_is_found_again(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            async with embedded() as broker:
                port = broker.port
                link = MqttConnector("plant", dial(broker.url), ["site"])
                task = asyncio.create_task(link.run(d.intake))
                await until(lambda: link.state is ConnectorState.CONNECTED)
            await until(lambda: link.state is ConnectorState.WAITING)
            with pytest.raises(ConnectorError, match="Check the broker"):
                await link.send(ORDER)
            async with embedded(port):
                await until(lambda: link.state is ConnectorState.CONNECTED)
                async with aiomqtt.Client("127.0.0.1", port) as plant:
                    await plant.publish("pollux/site/a", json.dumps({"t": 5, "v": 1.0}), qos=1)
                await until(lambda: len(d.rows) == 1)
                assert link.counters.reconnects >= 1
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


class FullDisk:
    """A sink whose store refuses for a while."""

    def __init__(self):
        self.calls, self.full, self.taken = 0, True, []

    async def readings(self, messages, unread=()):
        self.calls += 1
        if self.full:
            raise StoreError("no room on the disk")
        self.taken += messages
        return Receipt(len(messages))

    async def acknowledged(self, ack):
        pass


def test_a_full_disk_stops_acknowledging_and_not_the_connector():
    async def scenario():
        async with embedded() as broker:
            sink, link = FullDisk(), MqttConnector("plant", dial(broker.url), ["site"])
            async with running(link, sink), aiomqtt.Client("127.0.0.1", broker.port) as plant:
                await plant.publish("pollux/site/a", json.dumps({"t": 5, "v": 1.0}), qos=1)
                await until(lambda: sink.calls >= 2)
                assert "no room" in link.problem
                sink.full = False
                await until(lambda: len(sink.taken) == 1)

    asyncio.run(scenario())


@asynccontextmanager
async def mosquitto(tmp_path):
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("POLLUX_REQUIRE_SERVICES") == "1":
            pytest.fail("mosquitto is required (POLLUX_REQUIRE_SERVICES=1) and is not installed")
        pytest.skip("mosquitto is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(  # noqa: ASYNC220
        [program, "-c", tmp_path / "m.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            await asyncio.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.service
def test_mqtt_through_mosquitto(tmp_path):
    async def scenario():
        async with mosquitto(tmp_path) as port, desk(tmp_path / "s.db") as d:
            await exchange(d, f"mqtt://127.0.0.1:{port}", port)

    asyncio.run(scenario())


@pytest.mark.service
def test_what_was_not_durable_is_sent_again_by_mosquitto(tmp_path):
    """The connector dies while the store refuses: nothing was acknowledged, so the broker still has everything."""

    async def scenario():
        async with mosquitto(tmp_path) as port:
            url = f"mqtt://127.0.0.1:{port}"
            sink, link = FullDisk(), MqttConnector("plant", dial(url), ["site"], persistent=True)
            async with running(link, sink), aiomqtt.Client("127.0.0.1", port) as plant:
                for i in range(15):
                    await plant.publish("pollux/site/a", json.dumps({"t": i, "v": 1.0}), qos=1)
                await until(lambda: sink.calls >= 2)
            assert sink.taken == []
            async with (
                desk(tmp_path / "s.db") as d,
                running(MqttConnector("plant", dial(url), ["site"], persistent=True), d.intake),
            ):
                await until(lambda: len(d.rows) >= 15)
                assert sorted({row[2] for row in d.rows}) == [float(i) for i in range(15)]
                await asyncio.sleep(0.2)  # the acknowledgement follows the commit
            async with (
                desk(tmp_path / "t.db") as d,
                running(MqttConnector("plant", dial(url), ["site"], persistent=True), d.intake),
            ):
                await asyncio.sleep(0.3)
                assert d.rows == []  # acknowledged after the commit: not sent a third time

    asyncio.run(scenario())


def test_a_memory_connector_refuses_when_it_is_broken(tmp_path):
    async def scenario():
        async with desk(tmp_path / "s.db") as d:
            link = MemoryConnector("plant")
            async with running(link, d.intake):
                await link.send(ORDER)
                link.broken = True
                with pytest.raises(ConnectorError):
                    await link.send(replace(ORDER, sequence=2))
                await link.answer(Ack("site", "c1", 1, 11.0, "done"))
            assert [o.sequence for o in link.orders] == [1]
            assert len(d.acks) == 1

    asyncio.run(scenario())
