"""`kill -9` at random instants, start-up, snapshots and compaction included: the belief afterwards, bit for bit.

A process with two twins takes readings and acknowledges each when it is durable. It is killed at random instants and
started again; what was not acknowledged is sent once more, as a transport would. At the end its beliefs are compared
with those of a process that was never killed, and journal and channels with what was acknowledged.

A quarter of the kills each is aimed at the start (anywhere between the first instruction and the first
acknowledgement), at the work, at a snapshot and at a compaction of the journal. Where a kill really fell is counted
from the last words of the process. `chains` stories run side by side, each with its own folder.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._crash_worker import TWINS, level
from pollux.core.time import rng
from pollux.runtime.store.sqlite import SqliteStore

PROJECT = Path(__file__).parent / "_projects" / "tank"
AIMS = ("start", "work", "snapshot", "compaction")
AHEAD = 1000
"""Readings of each source that are sent to a process beyond what was acknowledged."""
PATIENCE = 120.0
"""Seconds after which a process that says nothing is given up."""


class Worker:
    """The process, its acknowledgements and its last words."""

    def __init__(self, project: Path, state: Path):
        cache = state.parent.parent / "cache"
        env = {
            **os.environ, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache),
            "JAX_COMPILATION_CACHE_DIR": str(cache / "kernels"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._crash_worker", str(project), str(state)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self.acked = dict.fromkeys(TWINS, 0)
        self.digests: dict[str, str] = {}
        self.where = "start"
        """What it was doing when it last said so: one of `AIMS`."""
        self.heard: list[str] = []
        self._news = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, *lines: str) -> None:
        """Write lines; a process that was killed meanwhile reads none of them."""
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin is not None
            for line in lines:
                self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def wait(self, word: str) -> None:
        """Wait until it says a line that begins with `word`, from now on. Raises `RuntimeError` when it ends first."""
        with self._news:
            self.heard.clear()
            said = self._news.wait_for(
                lambda: self._over or any(line.startswith(word) for line in self.heard), PATIENCE
            )
        if self._over or not said:
            self.process.kill()
            assert self.process.stderr is not None
            raise RuntimeError(f"A worker ended or was silent before {word!r}: {self.process.stderr.read()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._leave()

    def finish(self) -> dict[str, str]:
        """Let it end by itself; the digests of its beliefs."""
        self.send("end")
        self._leave()
        return self.digests

    def _leave(self) -> None:
        self.process.wait(600)
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                continue  # torn by the kill
            word, *rest = line.split()
            if word == "ack":
                self.acked[rest[0]] = int(rest[1])
            elif word == "digest":
                self.digests[rest[0]] = " ".join(rest[1:])
            elif word == "in":
                self.where = rest[0]
            elif word in ("out", "live"):
                self.where = "work"
            with self._news:
                self.heard.append(line)
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()


def run(config: dict[str, Any]) -> dict[str, Any]:
    """`kills` in all over `chains` stories side by side."""
    kills, seed, chains = (int(config.get(k, v)) for k, v in (("kills", 200), ("seed", 0), ("chains", 2)))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(chains) as pool:
        project = _project(Path(folder) / "project")
        shares = [kills // chains + (c < kills % chains) for c in range(chains)]
        stories = list(
            pool.map(lambda c: _story(project, Path(folder) / str(c), shares[c], rng(seed, 50, c)), range(chains))
        )
    fell: Counter[str] = sum((s["fell"] for s in stories), Counter())
    same = all(s["killed"] == s["calm"] and len(s["calm"]) == len(TWINS) for s in stories)
    lost, wrong = (sum(s[k] for s in stories) for k in ("lost", "wrong"))
    return {
        "item": "crash", "config": {"kills": kills, "seed": seed, "chains": chains},
        "pollux": float(kills), "peers": {}, "ratio": None, "unit": "kills survived with the same bits",
        "error": 0.0 if same and not lost and not wrong else 1.0, "same_bits": same, "acknowledged_lost": lost,
        "counted_twice_or_wrong": wrong, "readings": sum(s["readings"] for s in stories), "kills_in": dict(fell),
        "digests": [s["killed"] for s in stories], "uninterrupted": [s["calm"] for s in stories],
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def _project(folder: Path) -> Path:
    """The tank twice, each fed by a source of its own."""
    folder.mkdir()
    (folder / "twin.py").write_text((PROJECT / "twin.py").read_text())
    head, twin = (PROJECT / "pollux.toml").read_text().split("[[twin]]", 1)
    sources, twins = "", ""
    for name in TWINS:
        sources += f'[connector.field-{name}]\nkind = "memory"\n\n'
        twins += "[[twin]]" + twin.replace('name = "tank"', f'name = "{name}"\nconnector = "field-{name}"') + "\n"
    (folder / "pollux.toml").write_text(head.split("[connector", 1)[0] + sources + twins)
    return folder


def _story(project: Path, folder: Path, kills: int, random: np.random.Generator) -> dict[str, Any]:
    """Kill one process after another on one store; then the same readings in a process that nobody kills."""
    state, calm_state = folder / "killed" / "state", folder / "calm" / "state"
    for each in (state, calm_state):
        each.parent.mkdir(parents=True)
    acked, fell, start = dict.fromkeys(TWINS, 0), Counter(), 3.0
    for done in range(kills):
        worker, born = Worker(project, state), time.perf_counter()
        worker.send(*(f"{twin} {k}" for i in range(1, AHEAD) for twin in TWINS for k in [acked[twin] + i]))
        aim = AIMS[done % len(AIMS)]
        if aim == "start":
            time.sleep(random.uniform(0.0, start))
        else:
            worker.wait("ack")
            start = time.perf_counter() - born
            if aim != "work":
                worker.wait(f"in {aim}")
            time.sleep(random.uniform(0.0, 0.5 if aim == "work" else 0.005))
        worker.kill()
        fell[worker.where] += 1
        acked = {twin: max(acked[twin], worker.acked[twin]) for twin in TWINS}
    last = {twin: acked[twin] + 20 for twin in TWINS}
    killed = _to_the_end(Worker(project, state), {twin: acked[twin] + 1 for twin in TWINS}, last)
    calm = _to_the_end(Worker(project, calm_state), dict.fromkeys(TWINS, 1), last)
    lost, wrong = _missing(state, last)
    return {"killed": killed, "calm": calm, "lost": lost, "wrong": wrong, "fell": fell,
            "readings": 2 * sum(last.values())}  # fmt: skip


def _to_the_end(worker: Worker, first: dict[str, int], last: dict[str, int]) -> dict[str, str]:
    """Send what is left, and let the process end."""
    worker.wait("live")
    for twin in TWINS:
        worker.send(*(f"{twin} {k}" for k in range(first[twin], last[twin] + 1)))
    return worker.finish()


def _missing(state: Path, last: dict[str, int]) -> tuple[int, int]:
    """Acknowledged readings that the journal does not hold, and those that a channel has twice or altered."""
    store, lost, wrong = SqliteStore(state / "journal.db"), 0, 0
    try:
        store.verify()
        journal = [block.rows for block in store.blocks()]
        for twin in TWINS:
            (tag,) = store.tag_ids(twin, ["LT1"])
            found = {float(t) for rows in journal for t in rows.t[rows.tag == tag]}
            expected = np.arange(1.0, last[twin] + 1)
            lost += len(set(expected) - found)
            t, value = store.history(twin, "LT1", -np.inf, np.inf)
            right = np.array([level(twin, int(k)) for k in expected]) / 100
            if len(t) != len(expected) or np.any(t != expected):
                wrong += abs(len(t) - len(expected)) or 1
            else:
                wrong += int(np.sum(~np.isclose(value, right, rtol=1e-12, atol=0, equal_nan=True)))
    finally:
        store.close()
    return lost, wrong
