"""Kernels printed as C99, compiled with every warning as an error, against the kernels themselves."""

import ctypes
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux import Ukf, build_mirror, flatten
from pollux.mirror.edge import filter_interface
from pollux.model.backend import Program
from pollux.model.edge import simulate_interface
from pollux.model.native import Native, NoCache
from pollux.model.native.c_file import Interface, as_argument, print_c

STRICT = Native(fallback=None, cache=NoCache())
COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


def built(interface, folder, prefix="test", real="double"):
    """The compiled function, on NumPy arrays."""
    file = print_c(interface, prefix, real)
    (folder / f"{file.name}.h").write_text(file.header)
    (folder / f"{file.name}.c").write_text(file.source)
    command = [COMPILER, *FLAGS, "-shared", "-fPIC", f"{file.name}.c", "-o", f"{file.name}.so", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    function = getattr(ctypes.CDLL(str(folder / f"{file.name}.so")), file.name)
    shapes = [(a.shape, np.dtype(a.dtype)) for a in interface.inputs]
    results = jax.eval_shape(interface.program.fn, *(jax.ShapeDtypeStruct(s, d) for s, d in shapes))

    def narrow(dtype):
        return np.dtype(np.float32) if real == "float" and dtype == np.float64 else np.dtype(dtype)

    def call(*args):
        passed, keep = [], []
        for value, (shape, dtype) in zip(args, shapes, strict=True):
            array = np.ascontiguousarray(value, narrow(dtype))
            if shape == ():
                kind = np.ctypeslib.as_ctypes_type(narrow(dtype))
                passed.append(kind(array.item()))
            else:
                keep.append(array)
                passed.append(array.ctypes.data_as(ctypes.c_void_p))
        out = [np.empty(r.shape, narrow(r.dtype)) for r in results]
        function(*passed, *(o.ctypes.data_as(ctypes.c_void_p) for o in out))
        return out

    return call, file


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"method": Ukf()}], ids=["ekf", "ukf"])
def test_the_filter_equals_its_kernel_on_a_record(tank, tmp_path, options):
    mirror = build_mirror(tank, **options)
    interface = filter_interface(mirror)
    call, file = built(interface, tmp_path)
    assert "malloc" not in file.source
    kernel = STRICT.one(interface.program)
    g = np.random.default_rng(0)
    c = interface.constants
    x, P = c["x0"], c["P0"]
    far, Far = x, P
    for k in range(200):
        y = np.array([1.0, 293.2]) + np.array([0.003, 0.1]) * g.standard_normal(2)
        if k % 7 == 3:
            y[k % 2] = np.nan
        rest = (c["u0"], c["u0"], y, np.ones(2), c["gate"], c["p0"], c["Q"], c["R"])
        expected = kernel(10.0 * k, 10.0, x, P, *rest)
        got = call(10.0 * k, 10.0, x, P, *rest)
        far, Far, *_ = call(10.0 * k, 10.0, far, Far, *rest)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
        x, P = expected[:2]
    np.testing.assert_allclose(far, x, rtol=1e-11)
    np.testing.assert_allclose(Far, P, rtol=1e-9, atol=1e-15)


@needs_compiler
def test_single_precision_is_close(tank, tmp_path):
    interface = simulate_interface(flatten(tank))
    call, file = built(interface, tmp_path, real="float")
    assert "double" not in file.source
    c = interface.constants
    expected = STRICT.one(interface.program)(0.0, 10.0, c["x0"], c["u0"], c["p0"])
    for a, b in zip(call(0.0, 10.0, c["x0"], c["u0"], c["p0"]), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@needs_compiler
def test_loops_branches_buffers_tables_and_helpers(tmp_path):
    table = np.array([0.3, -0.2, 0.9, 0.1, 0.5])

    def fn(x, n, on):
        def body(c, row):
            w, k = row
            c = jax.lax.cond(on & (w > 0), lambda c: jnp.exp(-c) * w, lambda c: jnp.roll(c, 1) - k, c)
            return c, c * w

        end, path = jax.lax.scan(body, x, (table, jnp.arange(5.0)))
        back, costs = jax.lax.scan(lambda a, s: (0.5 * a + s * s, a.sum()), end, path, reverse=True)
        root, count = jax.lax.while_loop(
            lambda s: (jnp.abs(s[0] * s[0] - 2.0) > 1e-12) & (s[1] < 60),
            lambda s: (0.5 * (s[0] + 2.0 / s[0]), s[1] + 1),
            (x[0], n),
        )
        swap = jax.lax.fori_loop(0, 5, lambda i, s: (s[1], s[0] + i), (x[0], x[1]))
        whole = (n // 3, n % 3, n << 2, n >> 1, jnp.sign(x), jnp.maximum(n, 4), x[1].astype(jnp.int32), ~on)
        return (
            path,
            back,
            costs,
            root,
            count,
            *swap,
            jnp.maximum(x, jnp.nan),
            jnp.minimum(x, 0.2),
            *whole,
            jnp.arctan2(x[0], x[1]),
        )

    args = (np.array([0.7, -0.4, 1.3]), np.int64(7), np.bool_(True))
    results = jax.eval_shape(fn, *args)
    outputs = tuple(as_argument(f"o{i}", np.zeros(r.shape, r.dtype), "") for i, r in enumerate(results))
    inputs = tuple(as_argument(k, v, "") for k, v in zip(("x", "n", "on"), args, strict=True))
    interface = Interface("mixed", Program("mixed", object(), fn, (True, True, True)), inputs, outputs, "Mixed.")
    call, file = built(interface, tmp_path)
    for a, b in zip(call(*args), STRICT.one(interface.program)(*args), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert file.stack_bytes < 1000
