"""`pollux export c`: a kernel of a twin as C99 files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pollux.core.errors import DefinitionError, InputError
from pollux.runtime.definition import made

if TYPE_CHECKING:
    from pollux.core.twin import Twin
    from pollux.model.native.c_file import Interface

EdgeKernel = Literal["filter", "mpc", "simulate"]


def export_c(
    twin: "Twin", kernel: EdgeKernel, out: Path, real: str, track: tuple[str, ...], options: str | None
) -> dict[str, Any]:
    """Write `NAME_KERNEL.h` and `NAME_KERNEL.c` into a folder; says what they take.

    Raises `DefinitionError` where the kernel cannot be printed and `InputError` where the folder cannot be written.
    """
    from pollux.model.native.c_file import print_c
    from pollux.model.native.tape import UnsupportedError

    interface = _interface(twin, kernel, track, options)
    try:
        file = print_c(interface, _prefix(twin), real)
    except UnsupportedError as error:
        raise DefinitionError(f"The {kernel} of `{type(twin).__name__}` is not printed as C: {error}") from None
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{file.name}.h").write_text(file.header, "utf-8")
        (out / f"{file.name}.c").write_text(file.source, "utf-8")
    except OSError as error:
        raise InputError(f"{str(out)!r} cannot be written ({error.strerror}); give another folder") from None
    return {
        "function": file.name,
        "files": [str(out / f"{file.name}.{end}") for end in ("h", "c")],
        "operations": file.operations,
        "stack_bytes": file.stack_bytes,
    }


def _interface(twin: "Twin", kernel: EdgeKernel, track: tuple[str, ...], options: str | None) -> "Interface":
    if kernel == "simulate":
        from pollux.model.augment import augment
        from pollux.model.edge import simulate_interface
        from pollux.model.statespace import flatten

        return simulate_interface(augment(flatten(twin), track))
    if kernel == "filter":
        from pollux.mirror.edge import filter_interface
        from pollux.mirror.update import build_mirror

        return filter_interface(build_mirror(twin, track=track))
    from pollux.intervene.edge import mpc_interface
    from pollux.intervene.mpc import build_mpc
    from pollux.intervene.mpc_options import MpcOptions

    if options is None:
        raise InputError("A controller needs its options: --options module:NAME or file.py:NAME of an `MpcOptions`")
    found = made(options)
    if not isinstance(found, MpcOptions):
        raise InputError(f"{options!r} is a {type(found).__name__}, not an `MpcOptions`")
    return mpc_interface(build_mpc(twin, found))


def _prefix(twin: "Twin") -> str:
    name = type(twin).__name__
    snake = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
    return f"pollux_{snake}"
