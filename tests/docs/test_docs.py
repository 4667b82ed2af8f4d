"""Every Python block of README and docs runs, page by page, and imports only the public face."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_code_of_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "\n".join(blocks(page))
    module = tmp_path / "page.py"  # a real file, so that errors and unit messages can name its lines
    module.write_text(source, encoding="utf-8")
    exec(compile(source, str(module), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_imports_only_the_public_face(page):
    lines = [line for block in blocks(page) for line in block.splitlines()]
    inner = [line for line in lines if re.search(r"(from|import) pollux\.", line)]
    assert inner == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_tree_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []
