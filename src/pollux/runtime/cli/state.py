"""Which state folder a command means when none is named."""

from pathlib import Path

from pollux.core.errors import InputError


def only_state() -> Path:
    """The only project below `.pollux` of the working folder. Raises `InputError` otherwise."""
    found = sorted(p for p in Path(".pollux").glob("*") if p.is_dir())
    if len(found) == 1:
        return found[0]
    names = [p.name for p in found] or "none"
    raise InputError(f"Name the project's state folder with `--state FOLDER`; below .pollux there are {names}")
