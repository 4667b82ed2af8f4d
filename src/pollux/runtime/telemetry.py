"""What the process says about itself: one JSON line an event on stderr. Secrets never get in.

The standard library's logging, because it costs nothing at start. Use `logging.getLogger("pollux...")` and pass fields
as `extra={"data": {...}}`.
"""

import json
import logging
import re
import sys
from typing import Any

from pollux.core.time import Clock

SECRET = re.compile(r"(?i)(token=|bearer\s+|pollux_session=)[^\s&\"';]+")
"""Tokens in addresses, headers and cookies."""


class JsonLines(logging.Formatter):
    """`{"t", "level", "logger", "event", ...data}`; an exception becomes its type and place, on one line."""

    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        row: dict[str, Any] = {
            "t": round(self._clock.now(), 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        row |= getattr(record, "data", {})
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return SECRET.sub(r"\1[hidden]", json.dumps(row, default=str, ensure_ascii=False))


def start_logging(clock: Clock, level: int = logging.INFO) -> None:
    """Send the log of Pollux to stderr; other libraries only when they warn."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(clock))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pollux").setLevel(level)
