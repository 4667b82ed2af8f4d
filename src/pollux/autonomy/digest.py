"""The fingerprint that binds an approval to exactly one action."""

from hashlib import sha256
from struct import pack

from pollux.core.signals import Decision


def digest(d: Decision) -> str:
    """SHA-256 of action, plan, belief and expiry, each part with its length in front so that no two can be confused."""
    names = sorted(d.values)
    numbers = [d.t, d.expires, *(d.values[n] for n in names)]
    parts = [
        *(text.encode() for text in ("pollux action 1", d.twin, d.id, d.source, d.proposer, *names)),
        pack(f">{len(numbers)}d", *numbers), pack(">2q", *d.plan.shape),
        d.times.astype(">f8").tobytes(), d.plan.astype(">f8").tobytes(),
    ]  # fmt: skip
    return sha256(b"".join(pack(">q", len(part)) + part for part in parts)).hexdigest()
