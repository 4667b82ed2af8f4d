"""`python -m benchmarks [NAME ...] [--json] [--set key=value]`: run work items and print one JSON line for each.

Each item is a module of this package with `run(config: dict) -> dict`; the result holds at least `item`, `config`,
`pollux`, `peers` (name -> figure), `ratio`, `unit` and `error`.
"""

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

SPEED = ("filter", "tick", "million", "mpc", "calibrate", "simulate", "life", "ensemble", "compile", "ingest")
"""The items of speed, in the order of the table that README quotes."""
REQUIRED = ("item", "config", "pollux", "peers", "ratio", "unit", "error")


def items() -> list[str]:
    """Names of all work items."""
    here = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([here]) if not m.name.startswith("_"))


def run(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Run one item and check the shape of its answer."""
    result = importlib.import_module(f"benchmarks.{name}").run(config)
    missing = [key for key in REQUIRED if key not in result]
    if missing:
        raise KeyError(f"work item {name!r} must report {REQUIRED}; it left out {missing}")
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"work items (default: all): {', '.join(items())}")
    parser.add_argument("--json", action="store_true", help="print the JSON lines only")
    parser.add_argument(
        "--table", action="store_true", help="print one table at the end (of the speed items by default)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="configuration of the items")
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(items()))
    if unknown:
        parser.error(f"unknown work item {', '.join(unknown)}; known: {', '.join(items())}")
    config = {k: _value(v) for k, v in (pair.split("=", 1) for pair in args.set)}
    results = []
    for name in args.names or (SPEED if args.table else items()):
        result = run(name, config)
        results.append(result)
        if args.table:
            continue
        if not args.json:
            peers = ", ".join(f"{k} {v:.4g}" for k, v in result["peers"].items())
            print(f"# {name}: {result['pollux']:.4g} {result['unit']} (peers: {peers}; ratio {result['ratio']})")
        print(json.dumps(result), flush=True)
    if args.table:
        print(table(results))
    return 0


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: one row for each item, with the ratio to each peer (above 1 = Pollux is ahead)."""
    lines = ["| work item | Pollux | peers in the same run (how many times ahead) |", "|---|---|---|"]
    for r in results:
        faster = "/s" in r["unit"]
        peers = []
        for name, figure in r["peers"].items():
            times = r["pollux"] / figure if faster else figure / r["pollux"]
            peers.append(f"{name} {_short(figure)} ({_short(times)}x)")
        lines.append(f"| `{r['item']}` | {_short(r['pollux'])} {r['unit']} | {', '.join(peers)} |")
    return "\n".join(lines)


def _short(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


if __name__ == "__main__":
    sys.exit(main())
