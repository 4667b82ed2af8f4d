"""The command line: capabilities against a real server, offline commands on real files, no traceback ever."""

import json
import subprocess
import sys

import numpy as np
import pytest
from served import served

from pollux.core.errors import InputError
from pollux.runtime.cli import run
from pollux.runtime.cli.remote import assignments
from pollux.runtime.serve.app import bind
from pollux.runtime.serve.border import Listen
from pollux.runtime.serve.capabilities import CAPABILITIES

TWIN = '''
import jax.numpy as jnp

from pollux import LogNormal, Scalar, Signals, Twin, param, var


class State(Signals):
    h: Scalar = var("m", start=1.0, within=(0.1, 2.0), drift=1e-4)


class Input(Signals):
    q: Scalar = var("m^3/s", start=0.01, within=(0.0, 0.05))


class Sensors(Signals):
    level: Scalar = var("m", noise=0.005)


class Tank(Twin[State, Input, Sensors]):
    A: Scalar = param("m^2", 0.5, prior=LogNormal(0.3))
    k: Scalar = param("m^5/2/s", 0.01, prior=LogNormal(0.2))

    def dynamics(self, t, x, u):
        return State(h=(u.q - self.k * jnp.sqrt(x.h)) / self.A)

    def observe(self, t, x, u):
        return Sensors(level=x.h)


class Blind(Twin[State, Input, Sensors]):
    """Flow and area have a common scale that no sensor sees."""

    A: Scalar = param("m^2", 0.5, prior=LogNormal(0.3))
    k: Scalar = param("m^5/2/s", 0.01, prior=LogNormal(0.3))
    c: Scalar = param("1", 1.0, prior=LogNormal(0.3))

    def dynamics(self, t, x, u):
        return State(h=(self.c * u.q - self.k * jnp.sqrt(x.h)) / self.A)

    def observe(self, t, x, u):
        return Sensors(level=x.h)


def broken():
    raise RuntimeError("boom")


NOTHING = 3
'''


@pytest.fixture(scope="module")
def server(kit, tmp_path_factory):
    with served(kit, tmp_path_factory.mktemp("cli")) as running:
        yield running


@pytest.fixture(scope="module")
def twin_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("twin") / "tank.py"
    path.write_text(TWIN)
    return path


@pytest.fixture
def pollux(capsys):
    def call(*arguments, status=0):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert code == status, (out, err)
        assert "Traceback" not in out + err
        return out if status == 0 else err or out

    return call


@pytest.fixture
def ask(pollux, server):
    def call(*arguments, status=0):
        found = pollux(*arguments, "--state", server.folder, "--json", status=status)
        return json.loads(found) if status == 0 else found

    return call


# ---------------------------------------------------------------- the capabilities


def test_every_capability_has_a_command_with_json(pollux):
    for name in CAPABILITIES:
        words = ["audit", "log"] if name == "audit" else [name.replace("_", "-")]
        assert "--json" in pollux(*words, "--help")


def test_looking(ask, pollux, server):
    assert ask("twins")["twins"][0]["name"] == "tank"
    assert 2 <= len(ask("history", "--points", "4")["t"]) <= 4
    assert len(ask("forecast", "--hours", "1", "--twin", "tank")["times"]) == 13
    assert ask("observe")["type"] == "frame"
    table = pollux("diagnose", "--state", server.folder)
    assert "level" in table
    assert "good" in table


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("twins",), "Heated tank"),
        (("observe",), "q_in"),
        (("describe",), "m^3/s"),
        (("history", "--points", "3"), "level"),
        (("forecast", "--hours", "1"), "dry"),
        (("what-if", "--set", "q_in=0.0", "--hours", "1"), "not acting"),
        (("alarms",), "suppressed"),
        (("proposals",), "proposals"),
        (("recalibrate",), "m^5/2/s"),
        (("ask", "What is the temp?"), "temp is"),
        (("optimise",), "keeps the level"),
        (("proposals",), "pollux approve tank:p"),
        (("audit", "log"), "pending"),
        (("explain", "tank:p1"), "mpc proposes to set"),
    ],
)
def test_people_see_tables(pollux, server, words, shown):
    assert shown in pollux(*words, "--state", server.folder)


def test_propose_approve_and_the_second_approval_is_refused(ask, server):
    row = ask("propose", "--set", "q_in=0.012", "--hours", "1", "--reason", "low")
    assert row["status"] == "pending"
    assert ask("what-if", "--set", "q_in=0.0")["acting"]["plan"]["q_in"][0] == 0.0
    assert ask("approve", row["id"], row["hash"], "--reason", "seen")["status"] == "executed"
    said = ask("approve", row["id"], row["hash"], status=5)
    assert "cannot be used again" in said
    assert [c.values for c in server.pump.sent] == [{"q_in": 0.012}]
    assert ask("audit", "log")["verified"] is True


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("propose", "--set", "pump=1"), 5, "has no input 'pump'"),
        (("propose", "--set", "q_in=nan"), 5, "finite number"),
        (("propose", "--set", "q_in"), 5, "NAME=VALUE"),
        (("forecast", "--hours", "-1"), 5, "greater than 0"),
        (("observe", "--twin", "pond"), 5, "no twin 'pond'"),
        (("explain", "nothing"), 5, "'nothing'"),
        (("level", "7", "because"), 5, "less than or equal to 4"),
        (("approve",), 2, "Missing argument"),
        (("history", "--points", "many"), 2, "valid int"),
        (("fly",), 2, "No such command"),
    ],
)
def test_mistakes_are_explained(ask, words, status, message):
    assert message in ask(*words, status=status)


def test_without_the_right_token_nothing_is_said(pollux, server):
    said = pollux("twins", "--url", server.url, "--token", "wrong-wrong-wrong", status=7)
    assert "not known" in said


def test_without_a_server_the_way_out_is_named(pollux, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--state" in pollux("twins", status=5)
    with bind(Listen(port=0)) as free:
        port = free.getsockname()[1]
    assert "pollux run" in pollux("twins", "--url", f"http://127.0.0.1:{port}", "--token", "x" * 30, status=5)
    assert "http://127.0.0.1:8850" in pollux("twins", "--url", "nonsense", status=5)
    (tmp_path / "state").mkdir()
    assert "pollux run" in pollux("twins", "--state", tmp_path / "state", status=5)


def test_stop_works_without_a_server_by_the_stop_file(pollux, tmp_path):
    answer = json.loads(pollux("stop", "--reason", "smoke", "--state", tmp_path, "--json"))
    assert answer["stopped"] is True
    assert json.loads((tmp_path / "STOPPED").read_text())["reason"] == "smoke"


def test_assignments():
    assert assignments(["a=1", "b= -2.5e-3"]) == {"a": 1.0, "b": -0.0025}
    for bad in ("a", "=1", "a=", "a=inf", "a=b"):
        with pytest.raises(InputError, match="NAME=VALUE"):
            assignments([bad])


# ---------------------------------------------------------------- running


@pytest.mark.parametrize("text", ["", "[project]\nname = 3\n", "not toml ["])
def test_a_broken_project_is_explained(pollux, tmp_path, text):
    (tmp_path / "pollux.toml").write_text(text)
    said = pollux("run", tmp_path, "--state", tmp_path / "state", "--no-browser", status=5)
    assert "pollux.toml" in said


def test_a_missing_project_is_explained(pollux, tmp_path):
    assert "pollux.toml" in pollux("run", tmp_path / "nowhere", "--no-browser", status=5)


def test_an_occupied_port_is_explained(server):
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(InputError, match=f"Port {port} .*--port {port + 1}"):
        bind(Listen(port=port))


def test_the_process_ends_with_the_status_and_without_a_traceback(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "pollux", "run", str(tmp_path / "nowhere"), "--no-browser"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert found.returncode == 5
    assert "Error" in found.stderr
    assert "Traceback" not in found.stderr


# ---------------------------------------------------------------- twins


def test_check_finds_a_sound_twin_sound(pollux, twin_file):
    found = json.loads(pollux("check", f"{twin_file}:Tank", "--json"))
    assert found["ok"] is True
    assert {i["name"]: i["mark"] for i in found["items"]}["units"] == "pass"
    assert found["identifiability"]["verdict"] == "identifiable"


def test_check_names_the_direction_that_no_sensor_sees(pollux, twin_file):
    said = pollux("check", f"{twin_file}:Blind", status=3)
    assert "structurally unidentifiable" in " ".join(said.split())
    found = json.loads(pollux("check", f"{twin_file}:Blind", "--json", status=3))
    (direction,) = found["identifiability"]["directions"]
    assert set(direction["weights"]) == {"A", "k", "c"}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A tank with k = 0.012, simulated by hand, with noise and two missing readings."""
    rng, h, rows = np.random.default_rng(1), 1.0, ["t,q,level"]
    for i in range(300):
        q = 0.014 if (i // 40) % 2 == 0 else 0.009  # the level stays within its declared bounds
        level = "" if i in (50, 51) else f"{h + 0.005 * rng.standard_normal():.6f}"
        rows.append(f"{10 * i},{q},{level}")
        for _ in range(100):
            h += 0.1 * (q - 0.012 * np.sqrt(h)) / 0.5
    path = tmp_path_factory.mktemp("record") / "tank.csv"
    path.write_text("\n".join(rows))
    return path


def test_fit_recovers_the_parameter(pollux, twin_file, record):
    found = json.loads(pollux("fit", f"{twin_file}:Tank", record, "--free", "k", "--starts", "2", "--json"))
    estimate = found["estimates"]["k"]
    assert estimate["low"] < 0.012 < estimate["high"]
    assert "k" in pollux("fit", f"{twin_file}:Tank", record, "--free", "k", "--starts", "1")


def test_replay_follows_the_record(pollux, twin_file, record):
    found = json.loads(pollux("replay", f"{twin_file}:Tank", record, "--track", "k", "--json"))
    assert found["sensors"]["level"]["readings"] == 298
    assert abs(found["estimates"]["k"]["mean"] - 0.012) < 4 * found["estimates"]["k"]["sd"] + 2e-4


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("tank.py", "`module:Name` or `file.py:Name`"),
        ("nowhere.py:Tank", "There is no file"),
        ("pollux.nowhere:Tank", "cannot be loaded"),
        ("{file}:Pond", "'Blind', 'Tank'"),
        ("{file}:broken", "boom"),
        ("{file}:NOTHING", "is a int, not a twin"),
    ],
)
def test_a_wrong_twin_is_explained(pollux, twin_file, definition, message):
    assert message in pollux("check", definition.format(file=twin_file), status=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,q,level\n0,0.01,oops\n", "line 2"),
        ("t,q,level\n0,0.01\n", "line 2"),
        ("t,q,level\n", "holds no data"),
        ("q,level\n0.01,1\n", "times"),
        ("t,level\n0,1\n1,1\n", "'q'"),
        ("t,q,level\n1,0.01,1\n0,0.01,1\n", "increasing"),
    ],
)
def test_a_wrong_record_is_explained(pollux, twin_file, tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    assert message in pollux("replay", f"{twin_file}:Tank", tmp_path / "bad.csv", status=5)


def test_wrong_units_end_with_status_3(pollux, tmp_path):
    (tmp_path / "bad.py").write_text(TWIN.replace("(u.q - self.k * jnp.sqrt(x.h)) / self.A", "u.q - self.k"))
    said = pollux("check", f"{tmp_path / 'bad.py'}:Tank", status=3)
    assert "bad.py" in said


# ---------------------------------------------------------------- the audit log


def test_audit_verify_sees_an_edited_record(pollux, tmp_path):
    from pollux.autonomy.audit import AuditLog

    log = AuditLog(tmp_path / "audit.jsonl", tmp_path / "audit.head", tmp_path / "keys" / "audit.key")
    for k in range(3):
        log.append("note", float(k), {"k": k})
    log.close()
    assert json.loads(pollux("audit", "verify", "--state", tmp_path, "--json"))["records"] == 3
    text = (tmp_path / "audit.jsonl").read_text()
    (tmp_path / "audit.jsonl").write_text(text.replace('"k":1', '"k":9'))
    assert "does not hold" in pollux("audit", "verify", "--state", tmp_path, status=7)


def test_help_needs_no_jax():
    code = "import sys; import pollux.runtime.cli; sys.exit('jax' in sys.modules or 'mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
