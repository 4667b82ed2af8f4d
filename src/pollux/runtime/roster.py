"""The fleet as a table: filtered, ordered, and cut to the rows that somebody looks at.

A page of 100,000 twins shows some fifty rows, so it asks for these; the whole table never travels. Rows are made at
most once a second, and each view of them is ordered once, however many people look.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pollux.core.errors import InputError
from pollux.core.time import Clock

Card = dict[str, Any]
"""One row, as `frames.card` makes it."""

STATUSES = ("act", "watch", "good")
"""Worst first."""
SORTS = ("worst", "title", "status", "health", "alarms", "level", "data_age")
"""What a table can be ordered by; with `-` in front from the other end."""
PACE = 1.0
"""Seconds that rows stay good."""
SHARE = 4.0
"""Rows that take long to make stay good for this many times as long as they took."""
VIEWS = 32
"""Views whose order is kept."""
SAMPLE = 2000
"""Twins that are asked which figures they share."""
FIGURES = 4
"""Most figures with a column of their own."""


@dataclass(frozen=True)
class View:
    """Which twins, in which order. Every word of `q` must occur in the name, title, kind or status."""

    q: str = ""
    status: str = ""
    sort: str = "worst"

    def __post_init__(self) -> None:
        """Check the choices. Raises `InputError`."""
        if self.status and self.status not in STATUSES:
            raise InputError(f"`status` is one of {list(STATUSES)} or empty, received {self.status!r}")
        if self.sort.removeprefix("-") not in SORTS:
            raise InputError(f"`sort` is one of {list(SORTS)}, `-` in front turns it round, received {self.sort!r}")


@dataclass
class _Names:
    """What changes only when twins come or go: the texts that are searched, and the order of the titles."""

    of: list[tuple[str, str, str]]
    texts: list[str]
    rank: np.ndarray


@dataclass
class _Rows:
    """The rows of one moment, as columns too."""

    cards: Sequence[Card]
    made: float
    cost: float
    names: _Names
    status: np.ndarray
    figures: list[str]
    views: dict[View, np.ndarray] = field(default_factory=dict)


class Roster:
    """Rows of the fleet. May be asked from several threads at once; the first makes the rows, the others wait."""

    def __init__(self, source: Callable[[], Sequence[Card]], clock: Clock):
        """`source` makes the rows of all twins."""
        self._source, self._clock = source, clock
        self._lock = threading.Lock()
        self._rows: _Rows | None = None

    def page(self, view: View, offset: int, limit: int) -> dict[str, Any]:
        """Rows `offset` to `offset + limit` of a view, how many there are, and how the whole fleet is doing."""
        with self._lock:
            rows = self._fresh()
            order = rows.views.get(view)
            if order is None:
                if len(rows.views) >= VIEWS:
                    rows.views.pop(next(iter(rows.views)))
                order = rows.views[view] = _order(rows, view)
            cards = [rows.cards[i] for i in order[offset : offset + limit]]
        return {"twins": cards, "offset": offset, "matched": len(order), "figures": rows.figures} | _summary(rows)

    def summary(self) -> dict[str, Any]:
        """How many twins there are, and how many of each status."""
        with self._lock:
            return _summary(self._fresh())

    def _fresh(self) -> _Rows:
        start, old = self._clock.monotonic(), self._rows
        if old is None or start - old.made >= max(PACE, SHARE * old.cost):
            cards = self._source()
            known = [(c["name"], c["title"], c["kind"]) for c in cards]
            names = old.names if old is not None and old.names.of == known else _names(known)
            status = np.array([STATUSES.index(c["status"]) for c in cards], dtype=np.int8)
            cost = self._clock.monotonic() - start
            self._rows = old = _Rows(cards, start, cost, names, status, _shared_figures(cards))
        return old


def _summary(rows: _Rows) -> dict[str, Any]:
    counts = np.bincount(rows.status, minlength=len(STATUSES))
    return {"total": len(rows.cards), "counts": {s: int(n) for s, n in zip(STATUSES, counts, strict=True)}}


def _names(known: list[tuple[str, str, str]]) -> _Names:
    order = sorted(range(len(known)), key=lambda i: (_natural(known[i][1]), known[i][0]))
    rank = np.empty(len(known), dtype=np.int64)
    rank[order] = np.arange(len(known))
    return _Names(known, [" ".join(each).lower() for each in known], rank)


def _natural(title: str) -> list[tuple[int, int, str]]:
    """`Pump 9` comes before `Pump 10`."""
    parts = re.split(r"(\d{1,18})", title.casefold())
    return [(0, int(p), "") if k % 2 else (1, 0, p) for k, p in enumerate(parts) if p]


def _order(rows: _Rows, view: View) -> np.ndarray:
    """Indices of the view's rows. Ties are broken by the worst, then by the title."""
    kept = np.ones(len(rows.cards), dtype=bool)
    if view.status:
        kept &= rows.status == STATUSES.index(view.status)
    for word in view.q.lower().split():
        means = np.array([word in status for status in STATUSES])
        named = np.fromiter((word in text for text in rows.names.texts), dtype=bool, count=len(rows.cards))
        kept &= named | means[rows.status]
    index = np.flatnonzero(kept)
    worst = (rows.names.rank[index], _column(rows, "health", index), rows.status[index])
    by = view.sort.removeprefix("-")
    if by in ("worst", "status"):
        keys = list(worst)
    elif by == "title":
        keys = [rows.names.rank[index]]
    else:
        keys = [*worst, _column(rows, by, index)]
    order = np.lexsort(keys)
    if not view.sort.startswith("-"):
        return index[order]
    if len(keys) <= len(worst):
        return index[order[::-1]]
    return index[np.lexsort([*worst, -keys[-1]])]


def _column(rows: _Rows, name: str, index: np.ndarray) -> np.ndarray:
    return np.array([rows.cards[i][name] for i in index], dtype=np.float64)


def _shared_figures(cards: Sequence[Card]) -> list[str]:
    """The figures that at least half of the twins have, the commonest first: these get a column each."""
    step = max(1, len(cards) // SAMPLE)
    asked = cards[::step]
    seen = Counter(f["label"] for card in asked for f in card["figures"])
    return [label for label, n in seen.most_common() if 2 * n >= len(asked)][:FIGURES]
