"""A folder that is made whole or not at all: backups, restored states and exports."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pollux.core.errors import InputError, StoreError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder `FOLDER.partial` to fill; it is on the disk and called `folder` when the block is left without an error.

    What an earlier attempt left that was killed is removed. Raises `InputError` where `folder` is taken or another
    process makes it, `StoreError` where nothing can be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} is there already and is not overwritten; give a new folder, or move it away")
    partial = folder.with_name(f"{folder.name}.partial")
    lock = folder.with_name(f".{partial.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        claim = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{str(folder.parent)!r} cannot be written ({error.strerror}); give another place") from None
    try:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{str(folder)!r} is being made by another process; wait for it") from None
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(mode=0o700)
            yield partial
            settle(partial)
            partial.replace(folder)
            sync(folder.parent)
        except OSError as error:
            raise StoreError(
                f"{str(folder)!r} cannot be written ({error.strerror}); free space, or give another"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            lock.unlink(missing_ok=True)
    finally:
        os.close(claim)


def settle(folder: Path) -> None:
    """Bring everything below a folder to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Bring one file or folder to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
