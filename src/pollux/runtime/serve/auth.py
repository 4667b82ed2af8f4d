"""Who is asking: bearer token or session cookie, with a limit on guesses. Nothing is kept but hashes and failures.

The cookie is stateless: name and expiry under an HMAC whose key comes from the token, so that it outlives a restart
and dies with its token.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac
from pathlib import Path

from pollux.autonomy.policy import ROLES, Principal
from pollux.core.time import Clock
from pollux.runtime import clock as machine
from pollux.runtime.serve.problems import Problem
from pollux.runtime.serve.tokens import Entry, digest, open_tokens

COOKIE = "pollux_session"
SESSION = 12 * 3600.0
"""Life of a session, s."""
GUESSES = 10
"""Wrong tokens that one address may send within `WINDOW` seconds."""
WINDOW = 60.0
ADDRESSES = 1024
"""Addresses whose failures are remembered."""


class Auth:
    """The token entries of one project, and the failures of the last minute."""

    def __init__(self, entries: Sequence[Entry], clock: Clock, folder: Path | None = None):
        """`folder` is the state folder that the entries came from, where the server says that it runs."""
        self.entries, self.clock, self.folder = tuple(entries), clock, folder
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> "Auth":
        """With the tokens of a project's state folder, made at first start. Raises `StoreError`, `AccessError`."""
        return cls(open_tokens(folder, machine.token), clock, folder)

    @property
    def first_token(self) -> str | None:
        """The token to print at start: the first person's."""
        return next((e.token for e in self.entries if e.token and e.who.kind == "person"), None)

    def by_token(self, token: str, address: str) -> Principal:
        """Whom a token stands for. Raises `Problem` 401, or 429 after too many wrong ones from one address."""
        self._throttle(address)
        given, found = digest(token), None
        for entry in self.entries:  # all are compared: the time says nothing about which is near
            if compare_digest(entry.digest, given):
                found = entry
        if found is None:
            self._note_failure(address)
            raise Problem(401, "auth.token", "This token is not known", "Use the one that `pollux run` printed")
        return found.who

    def by_cookie(self, cookie: str) -> Principal | None:
        """Whom a session cookie stands for; None when it is none of ours or has expired."""
        try:
            body, _, mac = cookie.partition(".")
            name, _, expires = urlsafe_b64decode(body.encode() + b"==").decode().rpartition("|")
            late = self.clock.now() >= float(expires)
        except (ValueError, UnicodeError):
            return None
        for entry in self.entries:
            if entry.who.name == name and compare_digest(_seal(entry, body), mac.encode()) and not late:
                return entry.who
        return None

    def cookie_for(self, who: Principal) -> str:
        """A session cookie for somebody who just showed his token."""
        entry = next(e for e in self.entries if e.who == who)
        said = f"{who.name}|{self.clock.now() + SESSION:.0f}".encode()
        body = urlsafe_b64encode(said).decode().rstrip("=")
        return f"{body}.{_seal(entry, body).decode()}"

    def _throttle(self, address: str) -> None:
        failures = self._failed.get(address)
        now = self.clock.monotonic()
        while failures and now - failures[0] > WINDOW:
            failures.popleft()
        if failures and len(failures) >= GUESSES:
            wait = WINDOW - (now - failures[0])
            raise Problem(429, "auth.guesses", "Too many wrong tokens from this address", f"Wait {wait:.0f} s")

    def _note_failure(self, address: str) -> None:
        self._failed.setdefault(address, deque(maxlen=GUESSES)).append(self.clock.monotonic())
        self._failed.move_to_end(address)
        while len(self._failed) > ADDRESSES:
            self._failed.popitem(last=False)


def as_agent(who: Principal) -> Principal:
    """The same name as an agent, with at most the role operator: whoever uses an agent is not the agent."""
    role = who.role if ROLES.index(who.role) <= ROLES.index("operator") else "operator"
    return Principal(who.name, role, "agent")


def need(who: Principal, role: str, what: str) -> None:
    """Raise `Problem` 403 unless the role suffices."""
    if not who.may(role):
        raise Problem(
            403, "auth.role", f"Role {role} is needed for {what}, {who.name!r} is {who.role}", "Ask somebody who has it"
        )


def _seal(entry: Entry, body: str) -> bytes:
    key = sha256(b"pollux session" + entry.digest.encode()).digest()
    return hmac(key, body.encode(), sha256).hexdigest().encode()
