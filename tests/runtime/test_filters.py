"""Filters from the wiring, by name and with settings; mistakes name the place and the way out."""

from pathlib import Path
from typing import Any

import pytest

import pollux
from pollux import Etkf, PolluxError, RaoBlackwellParticleFilter, SelfTuning, Ukf, learned
from pollux.runtime import build
from pollux.runtime.filters import FILTERS, filter_of
from pollux.runtime.wiring import read_wiring

from .project import write

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "wiring.md"


@pytest.mark.parametrize(
    ("wanted", "filter"),
    [
        ("Ukf", Ukf()),
        ({"kind": "Etkf", "members": 24}, Etkf(24)),
        ({"kind": "SelfTuning", "memory": 300, "keep": ["T"]}, SelfTuning(memory=300, keep=("T",))),
        ({"kind": "SelfTuning", "method": {"kind": "Ukf", "kappa": 1.0}}, SelfTuning(Ukf(1.0))),
        (
            {"kind": "RaoBlackwellParticleFilter", "members": 50, "linear": ["b"]},
            RaoBlackwellParticleFilter(50, ("b",)),
        ),
    ],
)
def test_a_filter_by_name(wanted, filter):
    assert filter_of(wanted, "here") == filter


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ("Ufk", "here: .*Ukf"),
        ("build_mirror", "here"),
        (3, "here"),
        ({"members": 3}, "here"),
        ({"kind": "Etkf", "member": 24}, "here: `method`, Etkf: .*member"),
        ({"kind": "SelfTuning", "memory": 3}, "here: `method`, SelfTuning: .*50"),
        ({"kind": "SelfTuning", "method": "Nothing"}, "here"),
    ],
)
def test_mistakes_are_named(wanted, match):
    with pytest.raises(PolluxError, match=match):
        filter_of(wanted, "here")


@pytest.mark.parametrize("name", FILTERS)
def test_every_name_is_public_and_documented(name):
    assert hasattr(pollux, name)
    assert f"`{name}`" in DOCS.read_text(encoding="utf-8")


def test_a_running_twin_takes_its_filter_from_the_wiring(tmp_path):
    write(tmp_path)
    toml = tmp_path / "pollux.toml"
    first, tables = toml.read_text().split("\n[[twin]]\n", 1)
    mirror = 'mirror = { gate = 1e-4, method = { kind = "SelfTuning", memory = 300 } }'
    toml.write_text(f"{first}\n[[twin]]\n{mirror}\n{tables}")
    wiring = read_wiring(tmp_path).twins[0]
    made: Any = build.foundation(wiring, build.blueprint_of(wiring, tmp_path)).mirror
    belief = made.start(0.0)
    assert learned(made, belief).noise == {c.name: pytest.approx(c.noise) for c in made.space.y}
