"""`kill -9` at random instants, start-up and snapshots included: the belief afterwards, bit for bit.

A process takes readings and acknowledges each when it is durable. It is killed at random instants and started again;
what was not acknowledged is sent once more, as a transport would. At the end its belief is compared with that of a
process that was never killed, and the journal with what was acknowledged.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from pollux.core.time import rng
from pollux.runtime.store.sqlite import SqliteStore

PROJECT = Path(__file__).parent / "_projects" / "tank"


class Worker:
    """The process, its acknowledgements and its last words."""

    def __init__(self, state: Path):
        env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(state.parent / "kernels"),
               "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._crash_worker", str(PROJECT), str(state)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self.acked, self.digest = 0, ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, *lines: object) -> None:
        """Write lines; a process that was killed meanwhile reads none of them."""
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin is not None
            for line in lines:
                self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._leave()

    def finish(self) -> str:
        """Let it end by itself; its digest."""
        self.send("end")
        self._leave()
        return self.digest

    def _leave(self) -> None:
        self.process.wait(300)
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                continue  # torn by the kill
            word, *rest = line.split()
            if word == "ack":
                self.acked = int(rest[0])
            elif word == "digest":
                self.digest = " ".join(rest)


def run(config: dict[str, Any]) -> dict[str, Any]:
    kills, seed = int(config.get("kills", 50)), int(config.get("seed", 0))
    random = rng(seed, 50)
    with tempfile.TemporaryDirectory() as folder:
        acked, started, done = 0, time.perf_counter(), 0
        state = Path(folder) / "killed" / "state"
        state.parent.mkdir()
        while done < kills:
            worker = Worker(state)
            worker.send(*range(acked + 1, acked + 2000))
            # Half of the kills fall into the start, half into the work.
            pause = random.uniform(0.0, 3.0) if done % 2 else 0.0
            if not pause:
                before = worker.acked
                while worker.acked == before and worker.process.poll() is None:
                    time.sleep(0.001)
                pause = random.uniform(0.0, 0.5)
            time.sleep(pause)
            worker.kill()
            acked = max(acked, worker.acked)
            done += 1
        last = acked + 20
        worker = Worker(state)
        worker.send(*range(acked + 1, last + 1))
        killed = worker.finish()
        calm_state = Path(folder) / "calm" / "state"
        calm_state.parent.mkdir()
        calm = Worker(calm_state)
        calm.send(*range(1, last + 1))
        untouched = calm.finish()
        lost = _missing(state, last)
        seconds = time.perf_counter() - started
    same = killed == untouched and killed != ""
    return {
        "item": "crash", "config": {"kills": kills, "seed": seed, "readings": 2 * last}, "pollux": float(kills),
        "peers": {}, "ratio": None, "unit": "kills survived with the same bits",
        "error": 0.0 if same and not lost else 1.0, "same_bits": same, "acknowledged_lost": lost,
        "digest": killed, "uninterrupted": untouched, "seconds": round(seconds, 1),
    }  # fmt: skip


def _missing(state: Path, last: int) -> int:
    """Acknowledged readings that the journal does not hold."""
    store = SqliteStore(state / "journal.db")
    try:
        (tag,) = store.tag_ids("tank", ["LT1"])
        found = {float(t) for b in store.blocks() for t in b.rows.t[b.rows.tag == tag]}
    finally:
        store.close()
    return len(set(np.arange(1.0, last + 1)) - found)
