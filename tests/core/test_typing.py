"""What a type checker finds in a definition: six planted mistakes, six errors, each on its line, and no other."""

import json
import subprocess
import sys

PLANTED = """
from pollux import Scalar, Signals, Twin, param, var


class State(Signals):
    h: Scalar = var("m", start=1.0)
    T: Scalar = var("K", start=293.0)


class Input(Signals):
    q: Scalar = var("m/s")


class Sensors(Signals):
    level: Scalar = var("m", noise=0.01)
    temp: Scalar = var("K", noise=0.1)


class Sound(Twin[State, Input, Sensors]):
    k: Scalar = param("1/s", 0.1)

    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        return State(h=u.q - self.k * x.h, T=0.0)

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        return Sensors(level=x.h, temp=x.T)


class Planted(Sound):
    def dynamics(self, t: Scalar, x: State, u: Input) -> State:
        a = x.hh  # planted: misspelt state
        b = self.kk  # planted: unknown parameter
        c = u.h  # planted: state and input swapped
        if t:
            return State(h=a + b + c)  # planted: missing derivative
        return State(h=0.0, TT=0.0)  # planted: misspelt result

    def observe(self, t: Scalar, x: State, u: Input) -> Sensors:
        return Sensors(level=x.h)  # planted: missing sensor


Sound(k=0.2)
"""


def test_pyright_finds_six_of_six(tmp_path):
    file = tmp_path / "planted.py"
    file.write_text(PLANTED)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        d["range"]["start"]["line"] for d in json.loads(done.stdout)["generalDiagnostics"] if d["severity"] == "error"
    }
    planted = {i for i, line in enumerate(PLANTED.splitlines()) if "# planted" in line}
    assert len(planted) == 6
    assert found == planted
