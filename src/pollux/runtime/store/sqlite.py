"""`SqliteStore`: the store in one SQLite file, through apsw (which bundles an SQLite without the WAL-reset bug)."""

from contextlib import AbstractContextManager
from pathlib import Path

import apsw

from pollux.core.errors import CorruptionError
from pollux.runtime.store.fence import FileLock
from pollux.runtime.store.retain import Retention
from pollux.runtime.store.schema import PAGE_SIZE, guarded, open_reader, open_writer
from pollux.runtime.store.tables import FOR_EVER, TableStore

CHECK_BELOW = 256 * 2**20
"""A file smaller than this is checked whole when it is opened (page structure and indices: about 1 s/GB)."""


CHECKPOINT = 16 * 2**20
"""Bytes of the log that are brought into the database at a time."""


class SqliteStore(TableStore[apsw.Connection]):
    """A `Store` (see `base`) in the file `path`.

    `takeover` ignores the lock of another writer and fences it by the epoch. Raises `FencedError`,
    `CorruptionError` or `StoreError`. `vfs` names an apsw VFS: the tests put one there that cuts the power.
    """

    def __init__(
        self, path: Path | str, *, takeover: bool = False, vfs: str | None = None, retention: Retention = FOR_EVER
    ):
        self.path, self._vfs = Path(path), vfs
        self._tried = 0
        """Pages that the log had when it was last brought into the database."""
        super().__init__(str(path), retention)
        with guarded(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileLock(self.path, takeover)
            try:
                self._writer = open_writer(self.path, vfs)
                if self.path.stat().st_size <= CHECK_BELOW:
                    self._check_structure(self._writer)
                self._reader = open_reader(self.path, vfs)
                self._load()
            except BaseException:
                self._file.close()
                raise

    def maintain(self) -> bool:
        """A step of housekeeping: what the log holds is brought into the database here, so that no append waits for
        it, unless maintenance falls behind (`open_writer`)."""
        with self._guarded():
            logged, copied = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            self._tried = min(self._tried, logged)  # the log has begun again
            if (logged - max(copied, self._tried)) * PAGE_SIZE >= CHECKPOINT:
                self._tried = logged  # who reads for long holds it up: not again before more has come
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                return True
        return super().maintain()

    def _guarded(self) -> AbstractContextManager[None]:
        return guarded(self.path)

    def _open_reader(self) -> apsw.Connection:
        return open_reader(self.path, self._vfs)

    def _close_reader(self, connection: apsw.Connection) -> None:
        connection.close()

    def _begin(self) -> None:
        self._writer.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        self._writer.execute("COMMIT")

    def _undo(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _check_structure(self, connection: apsw.Connection) -> None:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise CorruptionError(
                f"The store must be an intact database: {self.path} is damaged ({'; '.join(map(str, found))[:300]}). "
                "Restore it from a copy."
            )

    def _leave(self) -> None:
        self._reader.close()
        self._writer.close()
        self._file.close()
