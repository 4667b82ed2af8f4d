"""The whole process: `pollux run` opens its port first, takes pushed readings, is operated and restarted."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pollux.runtime.cli.connection import Connection, Refused
from pollux.runtime.serve.capabilities import CAPABILITIES

from .project import WIRING, write

LONG = 120.0


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("process") / "bench")
    text = WIRING.replace('kind = "memory"', 'kind = "http"').replace("period = 1.0", 'period = 1.0\ntime = "event"')
    (folder / "pollux.toml").write_text(text.replace("ceiling = 3", "ceiling = 3\nmax_age = 3600.0"))
    return folder


class Process:
    """One `pollux run`."""

    def __init__(self, project: Path, state: Path):
        command = [sys.executable, "-m", "pollux", "run", str(project), "--state", str(state), "--no-browser", "--json"]
        self.child = subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        assert self.child.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.child.stdout.readline()
            assert line, self.child.communicate()
            text += line
        link = json.loads(text)["url"]
        self.base, self.token = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)\?token=(.+)", link).groups()
        self.link = Connection(self.base, self.token)

    def phase(self) -> str:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.base}health", timeout=5).json()["status"]
        return ""

    def wait(self, done, what: str):
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            assert self.child.poll() is None, self.child.communicate()
            with contextlib.suppress(Refused):
                if found := done():
                    return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {LONG} s")

    def run(self, name: str, **params):
        return self.link.run(CAPABILITIES[name], "tank", params)

    def push(self, first: int, last: int):
        readings = []
        for k in range(first, last):
            noise = random.Random(k).gauss(0.0, 0.5)
            readings.append({"site": "tank", "tag": "LT1", "t": 1e6 + k, "v": 100.0 + noise})
            readings.append({"site": "tank", "tag": "FT1", "t": 1e6 + k, "v": 10.0})
        return self.link.request("POST", "/api/v1/push", {"readings": readings})

    def stop(self) -> tuple[int, str]:
        self.child.send_signal(signal.SIGTERM)
        _, errors = self.child.communicate(timeout=60)
        return self.child.returncode, errors


@contextlib.contextmanager
def running(project, state):
    process = Process(project, state)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.child.kill()
            process.child.communicate()


def test_a_project_is_run_operated_fenced_stopped_and_run_again(project, tmp_path):
    state = tmp_path / "state"
    with running(project, state) as p:
        assert httpx.get(p.base).status_code == 200  # the page is there while the twins are still compiled
        assert p.phase() in ("starting", "live")
        p.wait(lambda: p.phase() == "live", "live")
        assert p.push(0, 40) == {"accepted": 80, "refused": []}
        doubt = p.link.request(
            "POST", "/api/v1/push", {"readings": [{"site": "tank", "tag": "XX", "t": 1.0, "v": 1.0}]}
        )
        assert doubt["accepted"] == 0
        assert doubt["refused"][0]["message"]
        frame = p.wait(lambda: (f := p.run("observe"))["t"] >= 1e6 + 30 and f, "a belief")
        assert frame["sensors"]["level"]["value"] == pytest.approx(1.0, abs=0.03)
        p.wait(lambda: p.run("forecast"), "a forecast")
        row = p.wait(lambda: p.run("propose", values={"q": 0.011}, hours=0.01, reason="test"), "a proposal")
        assert row["status"] == "pending", (row["rule"], row["note"])
        done = p.run("approve", id=row["id"], hash=row["hash"], reason="seen")
        assert done["status"] == "executed"
        p.push(40, 42)  # the HTTP connector cannot send: that is said, and never taken for done
        p.wait(lambda: any("could not be sent" in a["summary"] for a in p.run("alarms")["alarms"]), "an alarm")
        second = subprocess.run(
            [sys.executable, "-m", "pollux", "run", str(project), "--state", str(state), "--no-browser", "--port", "0"],
            capture_output=True, text=True, timeout=LONG,
        )  # fmt: skip
        assert second.returncode == 6, second.stderr  # fenced: one writer a store
        assert json.loads((state / "server.json").read_text())["url"] == p.base
        assert "Traceback" not in second.stderr
        before = p.run("observe")["t"]
        assert p.run("audit", n=20)["verified"] is True
        code, errors = p.stop()
        assert code == 0, errors
        assert "Traceback" not in errors
        assert p.token not in errors
    assert not (state / "server.json").exists()
    with running(project, state) as p:
        p.wait(lambda: p.phase() == "live", "live again")
        assert p.run("observe")["t"] >= before
        again = [q for q in p.run("proposals")["proposals"] if q["id"] == row["id"]]
        assert again[0]["status"] == "executed"
        with pytest.raises(Refused, match="cannot be used again"):
            p.run("approve", id=row["id"], hash=row["hash"], reason="once more")


def test_a_read_only_state_folder_is_explained(project, tmp_path):
    if os.geteuid() == 0:
        folder = Path("/proc/pollux-state")  # nobody may write there, not even root
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        folder /= "state"
    found = subprocess.run(
        [sys.executable, "-m", "pollux", "run", str(project), "--state", str(folder), "--no-browser"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert found.returncode == 6
    assert "--state" in found.stderr
    assert "Traceback" not in found.stderr
