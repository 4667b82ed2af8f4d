"""The guide "trust your estimate" prints what it says that it prints: same words, same figures to a few per cent."""

import math
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "trust-your-estimate.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def close(a: float, b: float) -> bool:
    """Equal to 5 %, or nearly so where a figure is printed with one or two digits."""
    digits = 2.0 if max(abs(a), abs(b)) >= 5 else 0.02 if abs(b) >= 0.1 else 0.0
    return math.isclose(a, b, rel_tol=0.05, abs_tol=digits)


def test_the_printed_figures_are_those_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    module = tmp_path / "page.py"
    module.write_text("\n".join(code for kind, code in blocks if kind == "python"), encoding="utf-8")
    exec(compile(module.read_text(encoding="utf-8"), str(module), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out.splitlines()
    said = "".join(block for kind, block in blocks if not kind).splitlines()
    assert [" ".join(NUMBER.sub("#", line).split()) for line in printed] == [
        " ".join(NUMBER.sub("#", line).split()) for line in said
    ]
    for now, then in zip(printed, said, strict=True):
        pairs = zip(map(float, NUMBER.findall(now)), map(float, NUMBER.findall(then)), strict=True)
        assert all(close(a, b) for a, b in pairs), (now, then)
