"""Print the `dev` dependency group of pyproject.toml, one requirement a line, for installers without group support."""

import tomllib
from pathlib import Path

group = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]["dev"]
print("\n".join(group))
