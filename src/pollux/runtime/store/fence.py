"""One writer per store: a lock while the process lives, and an epoch that only ever grows.

The lock refuses a second writer at once and is gone with the process, also after `kill -9`. The epoch stops a writer
that was paused or cut off while another took over: it is checked inside every transaction.
"""

import os
from pathlib import Path

from pollux.core.errors import FencedError
from pollux.runtime.store import meta
from pollux.runtime.store.sql import Connection

try:
    import fcntl
except ImportError:  # not on Windows: the epoch alone fences there
    fcntl = None


class Epoch:
    """The number of this writer; `place` names the store in messages."""

    def __init__(self, place: str):
        self.place = place
        self.number = 0

    def enter(self, connection: Connection) -> None:
        """Take the next number."""
        with connection:
            # Takes the lock for writing before it reads: another writer may be in the middle of a commit.
            connection.execute("UPDATE meta SET value = value WHERE key = ?", ("epoch",))
            self.number = meta.read(connection, "epoch") + 1
            meta.write(connection, "epoch", self.number)

    def check(self, connection: Connection) -> None:
        """Raises `FencedError` when another writer has entered since."""
        current = meta.read(connection, "epoch")
        if current != self.number:
            raise FencedError(
                f"One store has one writer: {self.place} is at epoch {current}, this writer at {self.number}, so "
                "another has taken over. Nothing was written; start again to take it back."
            )


class FileLock:
    """The lock on a file beside the store."""

    def __init__(self, path: Path, takeover: bool = False):
        self._file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if fcntl is None or takeover:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise FencedError(
                f"One store has one writer: {path} is held by another process. Stop it (`pollux run` on the same "
                "project), or give this one its own folder."
            ) from error

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)
