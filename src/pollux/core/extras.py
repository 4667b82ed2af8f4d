"""Optional packages are loaded where they are used; one that is missing says what to install."""

import importlib
from typing import Any

from pollux.core.errors import MissingExtraError


def need(package: str, extra: str) -> Any:
    """The module `package`. Raises `MissingExtraError` naming the extra that brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package.split(".")[0], extra) from error
