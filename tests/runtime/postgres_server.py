"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached over a Unix socket."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg")

USER = "postgres"
"""The server refuses to run as root; then this user, which the package brings, runs it."""


def binaries() -> Path | None:
    """The newest installed server's folder of programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("postgres")
    return Path(elsewhere).parent if elsewhere else None


class PostgresServer:
    """Runs until `close`; may be killed and started again."""

    def __init__(self, programs: Path):
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pollux-pg-"))
        self._as = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self.folder, USER, USER)
        self._data = self.folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-U", "pollux", "-E", "UTF8", "--locale=C", "--data-checksums",
             "--auth=trust"],
            check=True, capture_output=True, cwd=self.folder, **self._as,
        )  # fmt: skip
        self.url = f"postgresql://pollux@/postgres?host={self.folder}"
        self.start()

    def start(self, *options: str) -> None:
        """Start it and wait until it answers (after a crash: until it has recovered)."""
        for _ in range(20):
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self._data, "-k", self.folder, "-c", "listen_addresses=",
                     "-c", "shared_buffers=32MB", *options],
                    stdout=log, stderr=log, cwd=self.folder, **self._as,
                )  # fmt: skip
            while self._process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self.url).close()
                    return
                time.sleep(0.05)
            time.sleep(0.2)  # after a kill: its children still hold the shared memory
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self) -> None:
        """Cut all connections and end in order."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def kill(self) -> None:
        """`kill -9` of the server and of every process of its own, as one power cut."""
        listed = subprocess.run(["ps", "--ppid", str(self._process.pid), "-o", "pid="], capture_output=True, text=True)
        self._process.kill()
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._process.wait(30)

    def close(self) -> None:
        """End it and remove the cluster."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
