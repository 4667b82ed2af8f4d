"""Start of the city water twin: seconds to the page, and to live data, for a first and a second start.

`--set clean=true` also makes a clean clone and its virtual environment with `make install` first (minutes of network).
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(config: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        python, root = sys.executable, ROOT
        if config.get("clean"):
            root = base / "clone"
            began = time.perf_counter()
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
            subprocess.run(["make", "--silent", "install"], cwd=root, check=True)
            figures["install"] = time.perf_counter() - began
            python = str(root / ".venv" / "bin" / "python")
        for name in ("first", "second"):
            page, live = _start(python, root, base / "state", base / "cache")
            figures[f"{name}_page"], figures[f"{name}_live"] = page, live
        began = time.perf_counter()
        subprocess.run([python, "-c", "import pollux"], check=True, cwd=root)
        figures["import"] = time.perf_counter() - began
    figures = {k: round(v, 2) for k, v in figures.items()}
    return {
        "item": "start", "config": {"clean": bool(config.get("clean"))}, "pollux": figures["second_live"], "peers": {},
        "ratio": None, "unit": "s from the command to live data, second start", "error": 0.0, "seconds": figures,
    }  # fmt: skip


def _start(python: str, root: Path, state: Path, cache: Path) -> tuple[float, float]:
    """(seconds to the page, seconds to the first live data)."""
    command = [python, "-m", "pollux", "demo", "src/pollux/twins/water", "--port", "0", "--no-browser", "--json",
               "--state", str(state)]  # fmt: skip
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        link = None
        while link is None:
            line = process.stdout.readline()
            assert line, "the program ended before it said where it is"
            link = re.search(r"http://[^\s\"]+", line)
        url, token = link[0].split("/?token=")
        while not _get(url, None):
            time.sleep(0.02)
        page = time.perf_counter() - began
        before = _newest(url, token)
        while (newest := _newest(url, token)) is None or newest == before:
            time.sleep(0.05)
        return page, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def _newest(url: str, token: str) -> float | None:
    twins = json.loads(_get(f"{url}/api/v1/twins", token) or '{"twins": []}')["twins"]
    return twins[0]["t"] if twins else None


def _get(url: str, token: str | None) -> bytes | None:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read()
    except OSError:
        return None
