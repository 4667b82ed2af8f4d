"""The latched stop. It works with everything else down: a file is enough, and nothing it needs can fail to safe.

`touch FILE` from any shell stops every twin; so do the API and the command line through `stop`. What cannot be read
counts as stopped. Only a person resets it.
"""

import json
import os
from pathlib import Path

from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, StoreError


class KillSwitch:
    """One stop for one site, latched in memory and in a file."""

    def __init__(self, path: Path):
        """Raises `StoreError` when the folder of the file does not exist: the stop must be possible to set."""
        self.path = Path(path)
        self._latched = False
        if not self.path.parent.is_dir():
            raise StoreError(f"The stop file needs its folder, {str(self.path.parent)!r} is missing; create it")

    def stopped(self) -> bool:
        """Whether the stop is set. Anything but a clean "no such file" in an existing folder is a stop."""
        if self._latched:
            return True
        try:
            self.path.lstat()
        except FileNotFoundError:
            self._latched = not self.path.parent.is_dir()
        except OSError:
            self._latched = True
        else:
            self._latched = True
        return self._latched

    def stop(self, who: str, reason: str, now: float) -> bool:
        """Stop, by anybody. Returns whether the file could be written too; the stop in memory holds in any case."""
        self._latched = True
        try:
            with self.path.open("w") as file:
                json.dump({"by": who[:200], "reason": reason[:1000], "t": now}, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        return True

    def why(self) -> str:
        """What the file says, for display; empty when it says nothing that can be read."""
        try:
            said = json.loads(self.path.read_text()[:4000])
            return f"{said['reason']} (by {said['by']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def reset(self, who: Principal, reason: str) -> None:
        """Release the stop. Raises `AccessError` unless a person with role operator gives a reason, `StoreError`
        when the file cannot be removed; the stop then stays."""
        if who.kind != "person" or not who.may("operator"):
            raise AccessError(f"Only a person with role operator resets the stop, {who.name!r} is a {who.kind}")
        if not reason.strip():
            raise AccessError("A reset of the stop needs a reason; say why it is safe")
        self._latched = True
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"The stop stays: {str(self.path)!r} cannot be removed ({error.strerror})") from None
        self._latched = False
