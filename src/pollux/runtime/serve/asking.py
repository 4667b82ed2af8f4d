"""The capability of answering questions in words: from the other capabilities, with or without a language model.

Without one, a dialogue trained from the twin's own names answers, as the person who asks. With `POLLUX_LLM_URL` (any
OpenAI-compatible server) and `POLLUX_LLM_MODEL` an agent answers: it calls capabilities as an agent, whoever asks, and
what it proposes waits for a person; the next question tells it what was decided. When it fails, the dialogue answers.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pollux.autonomy.policy import Principal
from pollux.runtime import proposals
from pollux.runtime.frames import face_json
from pollux.runtime.serve.auth import as_agent
from pollux.runtime.serve.capability import Call, Capability
from pollux.runtime.serve.strict import Params, model

if TYPE_CHECKING:
    from pollux.autonomy.agent import AgentSettings, TwinAgent
    from pollux.autonomy.dialogue import CapabilityInfo, Dialogue

LOOKS = ("what_if", "ask", "recalibrate")
"""Commands that change nothing."""
CONVERSATIONS = 100
"""Turns of agents that may wait for decisions at once."""


class AskParams(Params):
    """A question."""

    question: str = Field(min_length=1, max_length=2000)


async def ask(call: Call[AskParams]) -> Any:
    """Answer from recorded numbers: what was looked up is named."""
    settings = agent_settings(os.environ)
    if settings is not None:
        answer = await _ask_agent(call, settings)
        if answer is not None:
            return answer
    dialogue = await _dialogue_of(call)
    return (await dialogue.answer(call.params.question, _caller(call, call.who))).json()


def agent_settings(environment: Mapping[str, str]) -> "AgentSettings | None":
    """The language model that the environment names; None without `POLLUX_LLM_URL`."""
    url = environment.get("POLLUX_LLM_URL", "").rstrip("/")
    if not url:
        return None
    from pollux.autonomy.agent import AgentSettings

    return AgentSettings(url, environment.get("POLLUX_LLM_MODEL", "default"), environment.get("POLLUX_LLM_KEY", ""))


async def _ask_agent(call: Call[AskParams], settings: "AgentSettings") -> dict[str, Any] | None:
    """What the agent answers; None when the model failed."""
    lane, name = call.lane, call.who.name
    agent = await asyncio.to_thread(_agent, settings, lane.live.face, call.table)
    use = _caller(call, as_agent(call.who))
    before = lane.conversations.pop(name, None)
    told = ""
    if before is not None:
        outcomes = {id: proposals.find(lane.live.state, id) for id in before.waiting.values() if id}
        if any(row["status"] == "pending" for row in outcomes.values()):
            lane.conversations[name] = before
        else:
            resumed = await agent.resume(before, outcomes, use)
            told = f"{resumed.answer}\n" if resumed.ok else ""
    said = await agent.ask(call.params.question, use)
    if not said.ok and not said.taken_out:
        return None
    if said.waiting is not None and len(lane.conversations) < CONVERSATIONS:
        lane.conversations[name] = said.waiting
    found = said.json()
    return found | {"answer": told + found["answer"]}


async def _dialogue_of(call: Call[Any]) -> "Dialogue":
    """The dialogue of the call's twin, trained once."""
    lane = call.lane
    async with lane.training:
        if lane.dialogue is None:
            lane.dialogue = await asyncio.to_thread(_train, lane.live.face, call.table)
        return lane.dialogue


def _caller(call: Call[Any], who: Principal) -> Callable[[str, Mapping[str, Any]], Awaitable[Any]]:
    async def look(name: str, params: Mapping[str, Any]) -> Any:
        from pollux.runtime.serve.capabilities import run

        capability = call.table[name]
        checked = model(capability.params, dict(params))
        return await run(call.host, call.table, capability, who, checked, call.twin)

    return look


def _rows(table: Mapping[str, Capability]) -> "list[CapabilityInfo]":
    from pollux.autonomy.dialogue import CapabilityInfo

    return [
        CapabilityInfo(
            name=c.name,
            description=c.summary,
            params=c.params.model_json_schema(),
            changes=c.kind == "command" and c.name not in LOOKS,
        )
        for c in table.values()
        if c.name != "ask"
    ]


def _train(face: Any, table: Mapping[str, Capability]) -> "Dialogue":
    from pollux.autonomy.dialogue import build_dialogue

    return build_dialogue(face_json(face), _rows(table))


def _agent(settings: "AgentSettings", face: Any, table: Mapping[str, Capability]) -> "TwinAgent":
    from pollux.autonomy.agent import build_agent

    return build_agent(settings, face_json(face), _rows(table))


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
