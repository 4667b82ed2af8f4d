"""The public face is what `__all__` says, and the reference page names all of it."""

import re
from pathlib import Path

import pytest

import pollux

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


@pytest.mark.parametrize("name", pollux.__all__)
def test_name_is_there_and_documented(name):
    value = getattr(pollux, name)
    if callable(value):
        assert value.__doc__


def test_reference_names_everything_public():
    named = set(re.findall(r"^\| `(\w+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == set(pollux.__all__) - {"__version__"}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_here"):
        pollux.nothing_here  # noqa: B018
