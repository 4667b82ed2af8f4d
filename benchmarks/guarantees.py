"""Every command of docs/concepts/guarantees.md, one after the other: which promises still hold.

`only` names sections by the word before the colon ("G1,G12"); a whole run takes an hour on two cores.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "concepts" / "guarantees.md"


class Command(NamedTuple):
    """One line of the page."""

    section: str
    env: dict[str, str]
    args: list[str]
    """After `python`."""


def sections(text: str) -> dict[str, str]:
    """Heading up to its colon -> text below it."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {head.split(":")[0].strip(): body for head, body in zip(parts[::2], parts[1::2], strict=True)}


def commands(text: str) -> list[Command]:
    """The lines of all `bash` blocks: assignments, `python`, arguments."""
    found = []
    for section, body in sections(text).items():
        for block in re.findall(r"^```bash\n(.*?)^```", body, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line)
                at = words.index("python")
                env = dict(word.split("=", 1) for word in words[:at])
                found.append(Command(section, env, words[at + 1 :]))
    return found


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Runs them; a command passes when it ends with 0, and for a work item when its `error` is 0 too."""
    only = [word for word in str(config.get("only", "")).split(",") if word]
    chosen = [c for c in commands(PAGE.read_text(encoding="utf-8")) if not only or c.section in only]
    rows = []
    for command in chosen:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command.args], cwd=ROOT, env={**os.environ, **command.env}, capture_output=True, text=True
        )
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        said = re.search(r'"error": ([0-9.e+-]+|null)', last[0] if last else "")
        passed = done.returncode == 0 and (said is None or said[1] in ("0.0", "0", "null"))
        rows.append(
            {"section": command.section, "command": shlex.join(["python", *command.args]), "env": command.env,
             "passed": passed, "seconds": round(time.perf_counter() - began, 1), "said": "".join(last)[:300]}
        )  # fmt: skip
    failed = sum(not row["passed"] for row in rows)
    return {
        "item": "guarantees", "config": {"only": only}, "pollux": float(len(rows) - failed), "peers": {}, "ratio": None,
        "unit": f"of {len(rows)} commands passed", "error": float(failed), "commands": rows,
    }  # fmt: skip
