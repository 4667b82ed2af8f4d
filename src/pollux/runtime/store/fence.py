"""One writer per store: a lock on a file beside it while the process lives, and an epoch that only ever grows.

The lock refuses a second writer at once and is gone with the process, also after `kill -9`. The epoch stops a writer
that was paused or cut off while another took over: it is checked inside every transaction.
"""

import os
from pathlib import Path

import apsw

from pollux.core.errors import FencedError
from pollux.runtime.store import meta

try:
    import fcntl
except ImportError:  # not on Windows: the epoch alone fences there
    fcntl = None


class Fence:
    """Holds the lock and the epoch of one writer."""

    def __init__(self, path: Path, takeover: bool = False):
        self.path = path
        self.epoch = 0
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

    def enter(self, connection: apsw.Connection) -> None:
        """Take the next epoch."""
        with connection:
            self.epoch = meta.read(connection, "epoch") + 1
            meta.write(connection, "epoch", self.epoch)

    def check(self, connection: apsw.Connection) -> None:
        """Raises `FencedError` when another writer has entered since."""
        current = meta.read(connection, "epoch")
        if current != self.epoch:
            raise FencedError(
                f"One store has one writer: {self.path} is at epoch {current}, this writer at {self.epoch}, so another "
                "has taken over. Nothing was written; start again to take it back."
            )

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)
