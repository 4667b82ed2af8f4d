"""Plain text tables, as results print themselves: columns aligned, numbers to four digits, no dependency."""

import math
from collections.abc import Sequence

Cell = str | float | int | None


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: str = "  ") -> str:
    """Rows under a header; numbers are right-aligned, text left."""
    text = [[_show(cell) for cell in row] for row in rows]
    right = [all(not isinstance(row[i], str) for row in rows) if rows else False for i in range(len(header))]
    widths = [max(len(h), *(len(row[i]) for row in text)) if text else len(h) for i, h in enumerate(header)]

    def line(cells: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        return (indent + "  ".join(parts)).rstrip()

    return "\n".join([line(header), *map(line, text)])


def number(value: float, digits: int = 4) -> str:
    """A number in as few characters as `digits` significant digits need; a dash where there is none."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}g}"


def _show(cell: Cell) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else str(cell) if isinstance(cell, int) else number(float(cell))
