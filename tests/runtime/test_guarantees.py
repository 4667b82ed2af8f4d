"""The page of guarantees: every promise has its command, what was seen and what is not promised, and they exist."""

import pytest
from benchmarks.__main__ import items
from benchmarks.guarantees import PAGE, ROOT, commands, run, sections

TEXT = PAGE.read_text(encoding="utf-8")
EARNED = ("G1", "G2", "G3", "G4", "G5", "G6", "G11", "G12")


def test_every_guarantee_has_its_commands():
    found = [command.section for command in commands(TEXT)]
    assert [name for name in EARNED if name not in found] == []


@pytest.mark.parametrize("name", [name for name in sections(TEXT) if name != "Not promised at all"])
def test_a_section_says_what_is_promised_seen_and_not_promised(name):
    body = sections(TEXT)[name]
    assert (
        body.index("**Promised.**") < body.index("**Seen.**") < body.index("**Not promised.**") < body.index("```bash")
    )
    assert "_SEEN" not in body


@pytest.mark.parametrize("command", commands(TEXT), ids=lambda c: " ".join(c.args))
def test_what_a_command_runs_exists(command):
    assert command.args[:2] in (["-m", "pytest"], ["-m", "benchmarks"])
    if command.args[1] == "benchmarks":
        assert command.args[2] in items()
        return
    files = [word for word in command.args[2:] if word.startswith("tests/")]
    assert files
    tests = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    for name in command.env:
        assert name in tests
    if "-k" in command.args:
        assert command.args[command.args.index("-k") + 1] in tests


def test_the_runner_runs_what_it_is_asked_for(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    good, bad = "python -c 'print(1)'", "python -c 'raise SystemExit(3)'"
    page.write_text(f"## A1: one\n\n```bash\nX=1 {good}\n```\n\n## A2: two\n\n```bash\n{good}\n{bad}\n```\n")
    monkeypatch.setattr("benchmarks.guarantees.PAGE", page)
    assert run({"only": "A1"})["error"] == 0
    found = run({})
    assert (found["pollux"], found["error"]) == (2.0, 1.0)
    assert [row["passed"] for row in found["commands"]] == [True, True, False]
