"""`pollux export c` from the command line, compiled, and the example that filters a CSV with it."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pollux import Readings, build_mirror
from pollux.runtime.cli import run
from pollux.twins.cascaded_tanks import CascadedTanks

COMPILER = shutil.which("cc") or shutil.which("gcc")
EXAMPLE = Path(__file__).parents[2] / "examples" / "edge" / "main.c"
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
TWIN = "pollux.twins.cascaded_tanks:CascadedTanks"

OPTIONS = """
from pollux import MpcOptions, Scalar, Signals, Twin, param, var

class X(Signals):
    a: Scalar = var("m", start=1.0)
    b: Scalar = var("m/s", start=0.0)

class U(Signals):
    f: Scalar = var("m/s^2", start=0.0, within=(-1.0, 1.0))

class Y(Signals):
    a: Scalar = var("m", noise=0.1)

class Cart(Twin[X, U, Y]):
    drag: Scalar = param("1/s", 0.1)

    def dynamics(self, t, x, u):
        return X(a=x.b, b=u.f - self.drag * x.b)

    def observe(self, t, x, u):
        return Y(a=x.a)

OPTIONS = MpcOptions(steps=8, step=0.5, references={"a": 1.0, "b": 0.1}, rate=0.01)
"""


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_the_example_filters_a_csv_as_the_mirror_does(tmp_path, capsys):
    assert run(["export", "c", TWIN, "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["function"] == "pollux_cascaded_tanks_filter"
    assert told["stack_bytes"] == 0
    shutil.copy(EXAMPLE, tmp_path)
    sources = ["main.c", "pollux_cascaded_tanks_filter.c"]
    done = subprocess.run(
        [COMPILER, *FLAGS, *sources, "-lm", "-o", "edge"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    g = np.random.default_rng(3)
    rows = [(4.0 * k, 2.8 + 0.4 * math.sin(k / 9), float(5.0 + 0.3 * g.standard_normal())) for k in range(60)]
    text = "t,pump,level\n" + "".join(
        f"{t!r},{u!r},{'' if k % 11 == 5 else repr(y)}\n" for k, (t, u, y) in enumerate(rows)
    )
    out = subprocess.run([str(tmp_path / "edge")], input=text, capture_output=True, text=True, check=True).stdout
    got = np.array([[float(v) for v in line.split(",")] for line in out.splitlines()[1:]])
    mirror = build_mirror(CascadedTanks(), dt_max=1e9, reopen=None)
    belief = mirror.start(0.0)
    for k, (t, u, y) in enumerate(rows):
        value = np.nan if k % 11 == 5 else y
        belief = mirror.update(belief, Readings(mirror.name, t, str(k), "", np.array([value]), np.array([u])))
        np.testing.assert_allclose(got[k, 1:3], belief.mean, rtol=1e-9)
        np.testing.assert_allclose(got[k, 3:5], np.sqrt(np.diag(belief.cov)), rtol=1e-9)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("more", [[], ["--float"]], ids=["double", "float"])
@pytest.mark.parametrize("kernel", ["mpc", "simulate"])
def test_every_kernel_compiles(tmp_path, capsys, kernel, more):
    (tmp_path / "cart.py").write_text(OPTIONS)
    file = str(tmp_path / "cart.py")
    command = [
        "export",
        "c",
        f"{file}:Cart",
        "--kernel",
        kernel,
        "--options",
        f"{file}:OPTIONS",
        "--out",
        str(tmp_path),
    ]
    assert run([*command, *more, "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["function"]
    done = subprocess.run([COMPILER, *FLAGS, "-c", f"{name}.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("double" in (tmp_path / f"{name}.c").read_text()) == (not more)


def test_a_controller_without_options_says_what_it_needs(capsys):
    assert run(["export", "c", TWIN, "--kernel", "mpc"]) == 5
    assert "--options" in capsys.readouterr().err
