"""The capability of answering questions in words: a dialogue that may only use the other capabilities.

The dialogue of a twin is trained from its own names at its first question. It calls capabilities as the person who
asks, with that person's role.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pollux.runtime.frames import face_json
from pollux.runtime.serve.capability import Call, Capability
from pollux.runtime.serve.strict import Params, model

if TYPE_CHECKING:
    from pollux.autonomy.dialogue import Dialogue

LOOKS = ("what_if", "ask", "recalibrate")
"""Commands that change nothing."""


class AskParams(Params):
    """A question."""

    question: str = Field(min_length=1, max_length=2000)


async def ask(call: Call[AskParams]) -> Any:
    """Answer from recorded numbers: what was looked up is named."""
    dialogue = await dialogue_of(call)

    async def look(name: str, params: Mapping[str, Any]) -> Any:
        from pollux.runtime.serve.capabilities import run

        capability = call.table[name]
        checked = model(capability.params, dict(params))
        return await run(call.host, call.table, capability, call.who, checked, call.twin)

    return (await dialogue.answer(call.params.question, look)).json()


async def dialogue_of(call: Call[Any]) -> "Dialogue":
    """The dialogue of the call's twin, trained once."""
    lane = call.lane
    async with lane.training:
        if lane.dialogue is None:
            lane.dialogue = await asyncio.to_thread(_train, lane.live.face, call.table)
        return lane.dialogue


def _train(face: Any, table: Mapping[str, Capability]) -> "Dialogue":
    from pollux.autonomy.dialogue import CapabilityInfo, build_dialogue

    rows = [
        CapabilityInfo(
            name=c.name,
            description=c.summary,
            params=c.params.model_json_schema(),
            changes=c.kind == "command" and c.name not in LOOKS,
        )
        for c in table.values()
        if c.name != "ask"
    ]
    return build_dialogue(face_json(face), rows)


ASKING: tuple[Capability, ...] = (
    Capability(
        "ask",
        "command",
        "viewer",
        AskParams,
        "{answer, used, facts}",
        "Ask about the twin in words; numbers come from the capabilities only.",
        ask,
    ),
)
