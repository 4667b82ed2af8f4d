"""A small project on disk: one tank, fed over a memory connector."""

import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "benchmarks" / "_projects" / "tank"
WIRING = (SOURCE / "pollux.toml").read_text()


def write(folder: Path) -> Path:
    """Make a copy of the project in `folder`."""
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    return folder
