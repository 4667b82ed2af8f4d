"""Operator questions without a language model: a router trained at start-up, slots, and answers from capabilities.

`build_dialogue` takes what the capability `describe` says of a twin and the capability table; `Dialogue.answer` takes
a question and the function that calls a capability for the person who asks. No number is made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pollux.autonomy.dialogue_answers import ANSWERS, Ask, Turn
from pollux.autonomy.dialogue_grammar import PHRASES, expand, fill
from pollux.autonomy.dialogue_model import Router, train
from pollux.autonomy.dialogue_slots import Named, mask, names_of, slots
from pollux.core.errors import PolluxError
from pollux.core.time import rng

CONFIDENT = 0.3
"""Below this probability the answer is that the question was not understood."""


@dataclass(frozen=True)
class CapabilityInfo:
    """One row of the capability table, as data. `params` is a JSON schema; `changes` marks what is not only a look."""

    name: str
    description: str
    params: Mapping[str, Any] = field(default_factory=dict)
    changes: bool = False


@dataclass(frozen=True)
class Answer:
    """An answer, the capability calls behind it and the numbers in it."""

    answer: str
    used: tuple[dict[str, Any], ...]
    facts: tuple[dict[str, Any], ...]
    intent: str
    confidence: float

    def json(self) -> dict[str, Any]:
        """As the capability `ask` returns it."""
        return {"answer": self.answer, "used": list(self.used), "facts": [f for f in self.facts if f["label"]]}


@dataclass(frozen=True)
class Dialogue:
    """Everything that answers questions about one twin."""

    router: Router
    names: tuple[Named, ...]
    capabilities: tuple[CapabilityInfo, ...]

    async def answer(self, question: str, call: Ask) -> Answer:
        """Answer one question. What a capability refuses to the person who asks is said, not raised."""
        found = slots(question[:500], self.names)
        intent, confidence = self.router(question[:500], found.masked)[0]
        turn = Turn(found, self.names, call, self.help())
        if confidence < CONFIDENT or intent == "other":
            text = f"I don't know. {self.help()}"
        else:
            try:
                text = await ANSWERS[intent](turn)
            except PolluxError as refused:
                text = f"I could not look that up: {refused}."
                turn.facts.clear()
        return Answer(text, tuple(turn.used), tuple(turn.facts), intent, confidence)

    def help(self) -> str:
        """What can be asked."""
        can = {c.name for c in self.capabilities}
        topics = [text for name, text in TOPICS.items() if name in can]
        example = next((n.label for n in self.names if n.kind == "sensor"), "a sensor")
        return f'I can answer {", ".join(topics)}. For example: "What is {example} now?"'


TOPICS = {
    "observe": "what the present values are",
    "forecast": "what is expected and which limits are at risk",
    "history": "how signals were",
    "what_if": "what would happen if an input is changed",
    "diagnose": "what is wrong and which sensors can be trusted",
    "alarms": "which alarms are active and why",
    "proposals": "what is proposed",
    "optimise": "what would be better",
    "audit": "what was done",
}


def build_dialogue(
    describe: Mapping[str, Any], capabilities: Sequence[CapabilityInfo], *, seed: int = 0, examples: int = 160
) -> Dialogue:
    """Train the router of one twin; about a second. `describe` is the answer of that capability."""
    names = names_of(describe)
    return Dialogue(train(phrases(names, seed, examples)), names, tuple(capabilities))


def phrases(names: tuple[Named, ...], seed: int, examples: int) -> list[tuple[str, str, str]]:
    """Training examples (intent, question, masked question) for the names of one twin."""
    chance = rng(seed, 11)
    pools = {
        "S": spoken(names, "sensor", "state"),
        "I": spoken(names, "input"),
        "P": spoken(names, "parameter"),
        "M": spoken(names, "margin"),
    }
    pools["S"] = pools["S"] or ["value"]
    out = []
    for intent, choices in PHRASES.items():
        for k in range(examples):
            text = fill(expand(choices[k % len(choices)], chance), pools, chance).lower()
            out.append((intent, text, mask(text, names)))
    return out


def spoken(names: tuple[Named, ...], *kinds: str) -> list[str]:
    """How people may name these: by label, by name, by the label's first words."""
    found: list[str] = []
    for n in names:
        if n.kind in kinds:
            label = n.label.lower().replace(",", " ")
            found += [label, label, n.name.lower().replace("_", " "), " ".join(label.split()[:2])]
    return found
