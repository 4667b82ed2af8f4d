"""The fleet as a table: filtered, ordered, and cut to the rows that somebody looks at.

A page of 100,000 twins shows some fifty rows, so it asks for these; the whole table never travels. Rows are made at
most once a second, and each view of them is ordered once, however many people look.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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


Columns = Mapping[str, np.ndarray]
"""Of each twin: `status` (index into `STATUSES`), `health`, `alarms`, `level`, `data_age`."""
COLUMNS = ("status", "health", "alarms", "level", "data_age")


class Sheet(Protocol):
    """Rows of some twins at one moment; a row is made when somebody looks at it."""

    @property
    def names(self) -> Sequence[tuple[str, str, str]]:
        """(name, title, kind) of each."""
        ...

    @property
    def columns(self) -> Columns:
        """Of each."""
        ...

    def card(self, i: int) -> Card:
        """One row."""
        ...


class Cards:
    """Rows that are there already, as a sheet."""

    def __init__(self, cards: Sequence[Card]):
        self._cards = cards
        self.names = [(c["name"], c["title"], c["kind"]) for c in cards]
        columns: dict[str, np.ndarray] = {c: np.array([card[c] for card in cards], np.float64) for c in COLUMNS[1:]}
        self.columns: Columns = columns | {"status": np.array([STATUSES.index(c["status"]) for c in cards], np.int8)}

    def card(self, i: int) -> Card:
        """One row."""
        return self._cards[i]


@dataclass
class _Names:
    """What changes only when twins come or go: the texts that are searched, and the order of the titles."""

    of: list[tuple[str, str, str]]
    texts: list[str]
    rank: np.ndarray


@dataclass
class _Rows:
    """The rows of one moment."""

    sheets: Sequence[Sheet]
    first: np.ndarray
    """Of each sheet the number of its first row, and of all rows last."""
    made: float
    cost: float
    names: _Names
    columns: Columns
    figures: list[str]
    views: dict[View, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.first[-1])

    def card(self, i: int) -> Card:
        """One row of all."""
        sheet = int(np.searchsorted(self.first, i, side="right")) - 1
        return self.sheets[sheet].card(i - int(self.first[sheet]))


class Roster:
    """Rows of the fleet. May be asked from several threads at once; the first makes the rows, the others wait."""

    def __init__(self, source: Callable[[], Sequence[Sheet]], clock: Clock):
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
            cards = [rows.card(i) for i in order[offset : offset + limit].tolist()]
        return {"twins": cards, "offset": offset, "matched": len(order), "figures": rows.figures} | _summary(rows)

    def summary(self) -> dict[str, Any]:
        """How many twins there are, and how many of each status."""
        with self._lock:
            return _summary(self._fresh())

    def _fresh(self) -> _Rows:
        start, old = self._clock.monotonic(), self._rows
        if old is None or start - old.made >= max(PACE, SHARE * old.cost):
            sheets = self._source()
            known = [each for sheet in sheets for each in sheet.names]
            names = old.names if old is not None and old.names.of == known else _names(known)
            columns = {
                c: np.concatenate([sheet.columns[c] for sheet in sheets]) if sheets else np.empty(0) for c in COLUMNS
            }
            columns["status"] = columns["status"].astype(np.int8)
            first = np.cumsum([0, *(len(sheet.names) for sheet in sheets)])
            self._rows = old = _Rows(sheets, first, start, 0.0, names, columns, [])
            old.figures = _shared_figures(old)
            old.cost = self._clock.monotonic() - start
        return old


def _summary(rows: _Rows) -> dict[str, Any]:
    counts = np.bincount(rows.columns["status"], minlength=len(STATUSES))
    return {"total": len(rows), "counts": {s: int(n) for s, n in zip(STATUSES, counts, strict=True)}}


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
    kept, status = np.ones(len(rows), dtype=bool), rows.columns["status"]
    if view.status:
        kept &= status == STATUSES.index(view.status)
    for word in view.q.lower().split():
        means = np.array([word in status for status in STATUSES])
        named = np.fromiter((word in text for text in rows.names.texts), dtype=bool, count=len(rows))
        kept &= named | means[status]
    index = np.flatnonzero(kept)
    worst = (rows.names.rank[index], rows.columns["health"][index], status[index])
    by = view.sort.removeprefix("-")
    if by in ("worst", "status"):
        keys = list(worst)
    elif by == "title":
        keys = [rows.names.rank[index]]
    else:
        keys = [*worst, rows.columns[by][index]]
    order = np.lexsort(keys)
    if not view.sort.startswith("-"):
        return index[order]
    if len(keys) <= len(worst):
        return index[order[::-1]]
    return index[np.lexsort([*worst, -keys[-1]])]


def _shared_figures(rows: _Rows) -> list[str]:
    """The figures that at least half of the twins have, the commonest first: these get a column each."""
    asked = [rows.card(i) for i in range(0, len(rows), max(1, len(rows) // SAMPLE))]
    seen = Counter(f["label"] for card in asked for f in card["figures"])
    return [label for label, n in seen.most_common() if 2 * n >= len(asked)][:FIGURES]
