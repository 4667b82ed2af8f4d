"""Native code as a product: cache, targets, precision, threads, bits, allocation, and what is said about it."""

import logging
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pollux import build_fleet, flatten
from pollux.core.errors import InputError
from pollux.mirror.ekf import Ekf
from pollux.mirror.method import program
from pollux.model.backend import Program, Xla
from pollux.model.native import Folder, Native, NoCache
from pollux.model.native.compiled import assembly
from pollux.model.native.machine import AARCH64, AVX2, AVX512, assemble

STRICT = Native(fallback=None, cache=NoCache())


def wave(x, a):
    def body(c, _):
        c = c + 0.1 * jnp.sin(a * c)
        return c, None

    end = jax.lax.scan(body, x, None, length=7)[0]
    root, _ = jax.lax.while_loop(
        lambda s: jnp.abs(s[0] ** 2 - end[0] ** 2 - 1) > 1e-9,
        lambda s: (0.5 * (s[0] + (end[0] ** 2 + 1) / s[0]), s[1]),
        (1.0 + 50 * jnp.abs(x[1]), 0.0),
    )
    return end, root, jnp.linalg.cholesky(jnp.outer(end, end) + jnp.eye(3))


def made(name="wave"):
    return Program(name, object(), wave, (True, False))


def members(n, seed=0):
    return np.random.default_rng(seed).normal(size=(3, n)), np.float64(1.3)


def test_bits_do_not_depend_on_size_place_lanes_or_threads():
    x, a = members(101)
    expected = STRICT.fleet(made())(x, a)
    alone = STRICT.one(made())
    for j in (0, 7, 50, 100):
        for e, o in zip(expected, alone(x[:, j], a), strict=True):
            np.testing.assert_array_equal(e[..., j], o)
    for lanes in (2, 4, 16):
        kernel = Native(fallback=None, cache=NoCache(), lanes=lanes).fleet(made())
        for begin, end in ((0, 101), (0, 1), (3, 4), (90, 101), (17, 50)):
            got = kernel(np.ascontiguousarray(x[:, begin:end]), a)
            for e, g in zip(expected, got, strict=True):
                np.testing.assert_array_equal(e[..., begin:end], g)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads):
    x, a = members(20_011)
    expected = Native(fallback=None, cache=NoCache(), threads=1).fleet(made())(x, a)
    for e, g in zip(expected, Native(fallback=None, cache=NoCache(), threads=threads).fleet(made())(x, a), strict=True):
        np.testing.assert_array_equal(e, g)


def test_a_poisoned_twin_changes_no_other():
    x, a = members(37)
    clean = STRICT.fleet(made())(x, a)
    sick = x.copy()
    sick[:, 11] = [np.nan, np.inf, -np.inf]
    got = STRICT.fleet(made())(sick, a)
    others = np.delete(np.arange(37), 11)
    for c, g in zip(clean, got, strict=True):
        np.testing.assert_array_equal(c[..., others], g[..., others])
    assert np.isnan(got[0][0, 11])


def test_results_go_to_given_arrays():
    x, a = members(30)
    kernel = STRICT.fleet(made())
    rooms = tuple(np.zeros_like(o) for o in kernel(x, a))
    assert kernel(x, a, out=rooms) is rooms
    for r, e in zip(rooms, kernel(x, a), strict=True):
        np.testing.assert_array_equal(r, e)


def test_single_precision(tank):
    space = flatten(tank)
    p = Program("flow", object(), lambda x, u, p: (space.system.f(0.0, x, u, p),), (True, True, True))
    args = (space.x0, space.u0, space.p0)
    (single,) = Native(real="float32", fallback=None, cache=NoCache()).one(p)(*args)
    assert single.dtype == np.float32
    # the rate of a temperature is a small difference of numbers near 293, of which float32 keeps seven digits
    np.testing.assert_allclose(single, Xla().one(p)(*args)[0], rtol=1e-4)
    many = [np.repeat(a[:, None], 50, axis=1) for a in args]
    (fleet,) = Native(real="float32", fallback=None, cache=NoCache()).fleet(p)(*many)
    np.testing.assert_array_equal(fleet[:, 33], single)


@pytest.mark.parametrize(
    ("target", "machine"), [(AARCH64, 183), (AVX2, 62), (AVX512, 62)], ids=["arm64", "avx2", "avx512"]
)
@pytest.mark.parametrize("real", ["double", "float"])
def test_code_is_made_for_other_machines(tank, target, machine, real):
    space = flatten(tank)
    prog = program(Ekf(), space.system, 2, *space.bounds("x"))
    shapes = [np.zeros(())] * 2 + [
        space.x0,
        np.zeros((2, 2)),
        space.u0,
        space.u0,
        *[np.zeros(2)] * 3,
        space.p0,
        *[np.zeros(2)] * 2,
    ]
    jaxpr = jax.make_jaxpr(prog.fn)(*shapes)
    for lanes in (1, 4, 8):
        text, _ = assembly(jaxpr, prog.fleet, lanes, real)
        code = assemble(text, target)
        assert code[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", code, 18) == (machine,)


def test_the_cache_saves_the_compilation_and_changes_no_bit(tmp_path):
    x, a = members(9)
    first = Native(fallback=None, cache=Folder(tmp_path / "kernels")).fleet(made())
    second = Native(fallback=None, cache=Folder(tmp_path / "kernels")).fleet(made())
    for e, g in zip(first(x, a), second(x, a), strict=True):
        np.testing.assert_array_equal(e, g)
    assert [r.cached for r in (*first.reports, *second.reports)] == [False, True]
    assert (tmp_path / "kernels").stat().st_mode & 0o777 == 0o700
    assert all(f.stat().st_mode & 0o077 == 0 for f in (tmp_path / "kernels").iterdir())


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "open"])
def test_a_cache_that_is_not_whole_or_not_private_is_not_used(tmp_path, harm):
    cache = Folder(tmp_path / "kernels")
    x, a = members(9)
    expected = Native(fallback=None, cache=cache).fleet(made())(x, a)
    (file,) = (tmp_path / "kernels").iterdir()
    raw = file.read_bytes()
    if harm == "flip":
        file.write_bytes(raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:])
    elif harm == "cut":
        file.write_bytes(raw[: len(raw) // 2])
    elif harm == "swap":
        other = Program("other", object(), lambda x, a: (x * a,), (True, False))
        Native(fallback=None, cache=cache).fleet(other)(x, a)
        (second,) = (f for f in (tmp_path / "kernels").iterdir() if f != file)
        file.write_bytes(second.read_bytes())
    else:
        file.chmod(0o666)
    again = Native(fallback=None, cache=cache).fleet(made())
    for e, g in zip(expected, again(x, a), strict=True):
        np.testing.assert_array_equal(e, g)
    assert not again.reports[0].cached


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    x, a = members(3)
    kernel = Native(fallback=None, cache=Folder(tmp_path / "file" / "kernels")).fleet(made())
    assert np.isfinite(kernel(x, a)[1]).all()


def test_another_constant_is_another_key(tmp_path):
    cache = Folder(tmp_path / "kernels")
    kernels = [
        Native(fallback=None, cache=cache).one(
            Program("c", object(), lambda x, c=c: (x + np.array([c, 1.0]),), (True,))
        )
        for c in (1.0, 1.0 + 2**-52, 1.0)
    ]
    values = [k(np.zeros(2))[0][0] for k in kernels]
    assert values == [1.0, 1.0 + 2**-52, 1.0]
    assert [k.reports[0].cached for k in kernels] == [False, False, True]


def test_a_bound_kernel_allocates_nothing():
    x, a = members(1)
    bound = STRICT.one(made()).bind(x[:, 0], a, feed={0: 0})
    bound()
    expected = STRICT.one(made())(x[:, 0], a)
    np.testing.assert_array_equal(bound.outputs[0], expected[0])
    np.testing.assert_array_equal(bound.outputs[1], expected[1])
    assert bound.outputs[0] is bound.inputs[0]
    blocks = []
    for _ in range(4):
        for _ in range(1000):
            bound()
        blocks.append(sys.getallocatedblocks())
    assert max(blocks[1:]) - min(blocks[1:]) <= 2  # the counter itself makes an integer or two


def test_feeding_back_another_shape_is_an_error():
    x, a = members(1)
    with pytest.raises(InputError, match="one shape"):
        STRICT.one(made()).bind(x[:, 0], a, feed={1: 0})


def test_one_kernel_serves_every_fleet_size(tank):
    kernel = build_fleet(tank, 3, backend=STRICT).kernel
    for capacity in (3, 40, 1000):
        fleet = build_fleet(tank, capacity, backend=STRICT)
        belief = fleet.start(0.0, count=capacity - 1)
        belief = fleet.update(belief, 10.0, np.ones((2, capacity)))
        belief, _ = fleet.add(belief, 1, 10.0)
        fleet.update(belief, 20.0, np.ones((2, capacity)))
        assert fleet.kernel is kernel
    assert len(kernel.reports) == 1


def test_the_fallback_is_said_once(caplog):
    prog = Program("ordered", object(), lambda x: (jnp.sort(x),), (True,))
    kernel = Native(cache=NoCache()).one(prog)
    with caplog.at_level(logging.INFO, "pollux.kernels"):
        kernel(np.array([2.0, 1.0]))
        kernel(np.array([2.0, 1.0, 0.0]))
    said = [r.message for r in caplog.records if r.levelno == logging.INFO]
    assert said == ["kernel `ordered` runs on XLA: primitive `sort`"]


def test_the_report_names_size_and_time():
    x, a = members(2)
    kernel = STRICT.fleet(made("reported"))
    kernel(x, a)
    (report,) = kernel.reports
    assert report.lanes > 1
    assert report.code_bytes > 500
    assert report.operations > 50
    assert str(report).startswith("reported: ")
