"""What is done with a twin's definition and a record, without a server: check, fit, replay. Slow; imports JAX."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pollux.core.errors import InputError
from pollux.runtime.definition import made
from pollux.runtime.jsonable import number

if TYPE_CHECKING:
    from pollux.core.twin import Twin
    from pollux.model.record import Record


def load_twin(definition: str) -> "Twin":
    """The twin that `module:Name` or `file.py:Name` names: a class, a factory, a twin or a blueprint.

    Raises `InputError` that says what is wrong with the name, the file or its code.
    """
    from pollux.core.twin import Twin

    found = made(definition)
    found = getattr(found, "twin", found)
    if not isinstance(found, Twin):
        raise InputError(f"{definition!r} is a {type(found).__name__}, not a twin; name a class that derives from Twin")
    return found


def read_record(twin: "Twin", path: Path) -> "Record":
    """A CSV or Parquet file as a record of the twin. Raises `InputError`."""
    from pollux.model.record import as_record
    from pollux.model.statespace import flatten

    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}; give a CSV or Parquet file with a column `t` in seconds")
    if path.suffix == ".parquet":
        from pollux.core.extras import need

        return as_record(flatten(twin), need("pandas", "frames").read_parquet(path))
    return as_record(flatten(twin), _columns(path))


def check(twin: "Twin") -> Any:
    """The `Report` on units, shapes, margins, speed, observability and identifiability."""
    from pollux.model.check import check

    return check(twin)


def kernels(twin: "Twin") -> list[dict[str, Any]]:
    """What became of the twin's kernels: machine code of which size, or XLA and why."""
    from pollux.mirror.update import build_mirror
    from pollux.model.compile import compile
    from pollux.model.native import Lowered

    compiled, mirror = compile(twin), build_mirror(twin)
    space, t = compiled.space, 0.0
    compiled.flow(t, 1.0, space.x0, space.u0, space.p0)
    for kernel in (compiled.observe, compiled.margins, compiled.linearise):
        kernel(t, space.x0, space.u0, space.p0)
    mirror.start(t)
    out = []
    for name in ("flow", "observe", "margins", "linearise", "filter"):
        kernel = mirror.kernel if name == "filter" else getattr(compiled, name)
        if not isinstance(kernel, Lowered):
            out.append({"kernel": name, "runs": "XLA", "because": "no native code on this machine"})
        elif kernel.reason is not None:
            out.append({"kernel": name, "runs": "XLA", "because": kernel.reason})
        else:
            out.extend(
                {
                    "kernel": name, "runs": "native", "operations": r.operations, "form": r.form,
                    "code_bytes": r.code_bytes, "lanes": r.lanes,
                    "ready_after_s": round(r.trace_s + r.lower_s + r.compile_s + r.link_s, 4),
                    "from_cache": r.cached,
                }
                for r in kernel.reports
            )  # fmt: skip
    return out


def kernel_lines(found: list[dict[str, Any]]) -> str:
    """The same as text."""
    lines = ["Kernels"]
    for k in found:
        if k["runs"] == "native":
            ready = f"ready after {1000 * k['ready_after_s']:.0f} ms{' from the cache' if k['from_cache'] else ''}"
            what = f"{k['operations']} operations on {k['form']}, {k['code_bytes']} bytes"
            lines.append(f"  {k['kernel']:<10} native: {what}, {ready}")
        else:
            lines.append(f"  {k['kernel']:<10} XLA: {k['because']}")
    return "\n".join(lines)


def fit(twin: "Twin", path: Path, free: tuple[str, ...] | None, starts: int) -> Any:
    """Calibrate on a record: the `Fit`."""
    from pollux.model.calibrate import calibrate

    return calibrate(twin, read_record(twin, path), free=free, starts=starts)


def replay(twin: "Twin", path: Path, track: tuple[str, ...]) -> dict[str, Any]:
    """Assimilate a record: one-step errors, coverage of the 95 % intervals, consistency, and the last estimate."""
    from pollux.core.signals import Readings
    from pollux.mirror.update import build_mirror
    from pollux.runtime.rings import Z95

    record = read_record(twin, path)
    mirror = build_mirror(twin, track=track)
    belief = mirror.start(float(record.t[0]))
    nu, sd, nis = [], [], []
    for k, t in enumerate(record.t):
        readings = Readings(belief.twin, float(t), f"r{k}", str(path), record.y[k], record.u[k])
        belief = mirror.update(belief, readings)
        nu.append(belief.innovation)
        sd.append(np.sqrt(belief.innovation_var))
        if belief.nis_dof:
            nis.append(belief.nis / belief.nis_dof)
    errors, spread = np.array(nu), np.array(sd)
    names = [c.name for c in mirror.space.x]
    with np.errstate(invalid="ignore"):
        inside = np.abs(errors) <= Z95 * spread
    seen = np.isfinite(errors)
    return {
        "twin": belief.twin,
        "instants": len(record),
        "nis_per_dof": number(float(np.mean(nis))) if nis else None,
        "sensors": {
            name: {
                "readings": int(seen[:, i].sum()),
                "rmse": number(float(np.sqrt(np.nanmean(errors[:, i] ** 2)))) if seen[:, i].any() else None,
                "coverage_95": number(float(inside[seen[:, i], i].mean())) if seen[:, i].any() else None,
            }
            for i, name in enumerate(record.y_names)
        },
        "estimates": {
            n: {"mean": number(belief.mean[i]), "sd": number(float(np.sqrt(belief.cov[i, i])))}
            for i, n in enumerate(names)
        },
    }


def _columns(path: Path) -> dict[str, np.ndarray]:
    """A CSV file with a header as columns; empty cells are missing values."""
    import csv

    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        raise InputError(f"{str(path)!r} holds no data; it needs a header and at least one row")
    header, body = [h.strip() for h in rows[0]], [r for r in rows[1:] if r]
    columns: dict[str, np.ndarray] = {}
    for i, name in enumerate(header):
        try:
            columns[name] = np.array([float(r[i]) if r[i].strip() else np.nan for r in body])
        except (ValueError, IndexError):
            bad = next(k for k, r in enumerate(body) if not _is_number(r, i))
            raise InputError(
                f"{str(path)!r}, line {bad + 2}: column {name!r} needs a number or nothing, received "
                f"{body[bad][i] if i < len(body[bad]) else 'no cell'!r}; correct the file"
            ) from None
    return columns


def _is_number(row: list[str], i: int) -> bool:
    try:
        return i < len(row) and (not row[i].strip() or float(row[i]) is not None)
    except ValueError:
        return False
