"""`pollux.toml`: what is right is read, what is wrong is named with file, line, key, value and a way out."""

import math
import re
from pathlib import Path

import pytest
from certificates import authority

from pollux.core.errors import WiringError
from pollux.core.time import ManualClock
from pollux.runtime.connect.make import make_connector
from pollux.runtime.wiring import FREE_TABLES, read_wiring
from pollux.runtime.wiring_connectors import KINDS, SETTINGS
from pollux.runtime.wiring_store import StoreWiring

GOOD = """\
[project]
name = "town"

[server]
port = 9000

[connector.plant]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"

[[twin]]
name = "tank"
definition = "twin.py:Tank"
parameters = { UA = 60.0 }
track = ["k"]
period = "1 min"
lag = 5
time = "event"

[[twin.tag]]
tag = "LT101"
field = "level"
unit = "cm"

[[twin.tag]]
tag = "TT101"
field = "temp"
unit = "degC"
period = "10 min"
authority = "lab"

[[twin.actuator]]
actuator = "V1"
field = "q_in"
unit = "L/s"

[twin.policy]
level = 2

[[twin]]
name = "pump"
definition = "pkg.pump:make"
period = 1
time = "wall"

[[twin.tag]]
tag = "flow"
"""


def read(tmp_path, text):
    (tmp_path / "pollux.toml").write_text(text)
    return read_wiring(tmp_path)


def test_a_project_is_read(tmp_path):
    wiring = read(tmp_path, GOOD)
    assert (wiring.name, wiring.server.host, wiring.server.port) == ("town", "127.0.0.1", 9000)
    assert wiring.connector("plant").settings == {"url": "mqtt://127.0.0.1:1883"}
    tank, pump = wiring.twins
    assert (tank.period, tank.lag, tank.time, tank.site, tank.track) == (60.0, 5.0, "event", "tank", ("k",))
    assert tank.parameters == {"UA": 60.0}
    assert tank.options["policy"] == {"level": 2}
    assert tank.options["mirror"] == {}
    level, temp = tank.tags
    assert (level.tag, level.field, level.unit, level.period, level.authority) == (
        "LT101",
        "level",
        "cm",
        None,
        "plant",
    )
    assert (temp.period, temp.authority, temp.connector) == (600.0, "lab", "plant")
    assert tank.actuators[0].unit == "L/s"
    assert pump.tags[0].field == "flow"
    assert wiring.folder == tmp_path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "town"', "", ["`project`", "the key `name` is required"]),
        ('kind = "mqtt"', 'kind = "mqqt"', ["connector.plant.kind", "'mqqt'", "Did you mean 'mqtt'?"]),
        ('period = "1 min"', 'period = "1 mn"', ["twin[0].period", "'1 mn'", "5 min"]),
        ('period = "1 min"', "period = -3", ["twin[0].period", "-3", "between"]),
        ('period = "1 min"', "", ["twin[0]", "`period` is required"]),
        ('unit = "degC"', 'unit = "degX"', ["twin[0].tag[1].unit", "'degX'", "Did you mean 'deg"]),
        ('field = "temp"', 'field = "level"', ["twin[0].tag[1].field", "unique"]),
        ('tag = "TT101"', 'tag = "a/b"', ["twin[0].tag[1].tag", "'a/b'"]),
        ("lag = 5", "lagg = 5", ["twin[0].lagg", "Did you mean 'lag'?"]),
        ('track = ["k"]', 'track = "k"', ["twin[0].track", "list of texts"]),
        ('definition = "twin.py:Tank"', 'definition = "twin.py"', ["definition", "after `:`"]),
        ('name = "pump"', 'name = "tank"', ["twin[1].name", "unique"]),
        ('time = "wall"', 'time = "wal"', ["twin[1].time", "'wal'", "Did you mean 'wall'?"]),
        ("port = 9000", "port = true", ["server.port", "True"]),
        ("port = 9000", "port = 99000", ["server.port", "65535"]),
        ('authority = "lab"', 'connector = "plnt"', ["twin[0].tag[1].connector", "Did you mean 'plant'?"]),
        ('url = "mqtt://127.0.0.1:1883"', 'ulr = "x"', ["connector.plant.ulr", "Did you mean 'url'?"]),
        ('url = "mqtt://127.0.0.1:1883"', "url = 7", ["connector.plant.url", "of type str", "7"]),
        ('url = "mqtt://127.0.0.1:1883"', "port = true", ["connector.plant.port", "of type int", "True"]),
        ('tag = "TT101"', 'tag = "ack"', ["twin[0].tag[1].tag", "reserved"]),
        ("[server]", "[serve]", ["`serve`", "Did you mean 'server'?"]),
        ("level = 2", "level = ", ["TOML"]),
        ('name = "tank"', 'name = "../etc"', ["twin[0].name", "'../etc'"]),
        ('track = ["k"]', "parameters.x = 1", ["TOML"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, words):
    assert old in GOOD
    with pytest.raises(WiringError) as error:
        read(tmp_path, GOOD.replace(old, new, 1))
    message = str(error.value)
    assert "pollux.toml" in message
    for word in words:
        assert word in message, message
    if new and "TOML" not in words:
        line = GOOD[: GOOD.index(old)].count("\n") + 1
        assert f"pollux.toml:{line}:" in message, message


def test_a_missing_file_and_an_empty_project_are_named(tmp_path):
    with pytest.raises(WiringError, match="does not exist"):
        read_wiring(tmp_path)
    with pytest.raises(WiringError, match=r"at least one \[\[twin\]\]"):
        read(tmp_path, '[project]\nname = "x"\n')
    (tmp_path / "pollux.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(WiringError, match="UTF-8"):
        read_wiring(tmp_path)
    with pytest.raises(WiringError, match="connector is required"):
        read(tmp_path, GOOD.replace("[connector.plant]", "[connector.a]\nkind='http'\n[connector.plant]", 1))


def test_every_key_is_documented():
    """Each key that the reader takes, and each setting of a connector, stands in the reference."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reference" / "wiring.md").read_text()
    source = "".join(f.read_text() for f in sorted((root / "src" / "pollux" / "runtime").glob("wiring*.py")))
    keys = set(re.findall(r"table\.(?:text|seconds|number|texts|free|take|tables)\(\"(\w+)\"", source))
    keys |= {*FREE_TABLES, *KINDS, *(key for settings in SETTINGS.values() for key in settings)}
    assert {"period", "lag", "unit", "policy", "persistent"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_the_server_may_have_an_opcua_face(tmp_path):
    (tmp_path / "pollux.toml").write_text(GOOD.replace("port = 9000", "port = 9000\nopcua = 4840"))
    server = read_wiring(tmp_path).server
    assert (server.port, server.opcua) == (9000, 4840)


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "connect-your-asset.md"


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL))
def test_the_wiring_of_the_guide_is_read_and_made(block, tmp_path, monkeypatch):
    """Every connector of the guide, with the files and secrets that it names."""
    kind = re.search(r'kind = "(\w+)"', block)[1]
    if kind == "opcua":
        pytest.importorskip("asyncua")
    ca = authority(tmp_path, "broker-ca")
    for name in ("scada.der", "flight.ulg"):
        (tmp_path / name).write_bytes(ca.pair.certificate.read_bytes())
    (tmp_path / "broker-ca.pem").write_bytes(ca.pair.certificate.read_bytes())
    for name in ("BROKER_PASSWORD", "SCADA_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    text = '[project]\nname = "town"\n[[twin]]\nname = "tank"\ndefinition = "twin.py:Tank"\nperiod = 1\n'
    (tmp_path / "pollux.toml").write_text(text + block)
    wired = read_wiring(tmp_path).connectors[0]
    assert make_connector(wired, ("tank",), tmp_path, ManualClock(1.8e9)).name == wired.name


def store_of(tmp_path, *lines):
    table = "\n".join(("[store]", *lines, "", "[server]"))
    (tmp_path / "pollux.toml").write_text(GOOD.replace("[server]", table))
    return read_wiring(tmp_path).store


def test_the_store_is_a_file_unless_a_database_is_named(tmp_path):
    (tmp_path / "pollux.toml").write_text(GOOD)
    assert read_wiring(tmp_path).store == StoreWiring()
    assert StoreWiring().url is None
    store = store_of(tmp_path, 'url = "postgresql://u@localhost/town"')
    assert (store.url, store.schema, store.password_env) == (
        "postgresql://u@localhost/town", "pollux_town", "POLLUX_POSTGRES_PASSWORD",
    )  # fmt: skip


def test_another_host_is_verified_unless_the_url_says_otherwise(tmp_path):
    def url(*lines):
        return store_of(tmp_path, *lines).url

    assert url('url = "postgresql://db.example/t"').endswith("?sslmode=verify-full&sslrootcert=system")
    assert url('url = "postgresql://db.example/t?sslmode=require"').endswith("?sslmode=require")
    assert url('url = "postgresql:///t?host=/run/postgresql"').endswith("?host=/run/postgresql")
    assert "verify-full" in url('url = "postgresql://localhost/t?host=db.example"')
    (tmp_path / "ca.pem").write_text("")
    assert f"sslrootcert={tmp_path}/ca.pem" in url('url = "postgresql://db.example/t"', 'ca = "ca.pem"')


def test_readings_are_kept_for_ever_or_as_long_as_is_said(tmp_path):
    store = store_of(tmp_path, 'keep = "30 d"', 'keep_thin = "10 year"')
    assert (store.url, store.keep) == (None, 30 * 86_400.0)
    assert store.keep_thin == pytest.approx(10 * 365.25 * 86_400.0, rel=1e-3)
    store = store_of(tmp_path, 'url = "postgresql://u@localhost/town"', "keep = 7200")
    assert (store.keep, store.keep_thin) == (7200.0, math.inf)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('keep = "2 d"\nkeep_thin = "1 d"', "at least as long as `keep`"),
        ("keep = 60", "keep"),
        ('url = "mysql://h/t"', "must begin with postgresql://"),
        ('url = "postgresql://u:secret@h/t"', "must hold no password"),
        ('url = "postgresql://h/t"\nschema = "a b"', "must be a name"),
        ('schema = "s"', "url"),
    ],
)
def test_a_wrong_store_is_named(tmp_path, line, message):
    with pytest.raises(WiringError, match=message) as caught:
        store_of(tmp_path, line)
    assert "secret" not in str(caught.value)
