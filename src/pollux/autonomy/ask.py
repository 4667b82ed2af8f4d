"""One door for questions: the language model where one is configured and answers, else the built-in dialogue."""

from typing import Any

from pollux.autonomy.agent import TwinAgent
from pollux.autonomy.dialogue import Dialogue
from pollux.autonomy.dialogue_answers import Ask


async def answer(
    question: str, dialogue: Dialogue, call: Ask, *, agent: TwinAgent | None = None, agent_call: Ask | None = None
) -> dict[str, Any]:
    """The answer as the capability `ask` returns it.

    `call` acts as the person who asks; `agent_call` acts as an agent in that person's name, and is what the language
    model gets. A model that fails costs its time limit and nothing else: the dialogue answers, and says so.
    """
    if agent is None or agent_call is None:
        return (await dialogue.answer(question, call)).json()
    found = await agent.ask(question, agent_call)
    if found.failed:
        built_in = await dialogue.answer(question, call)
        return built_in.json() | {"answer": f"{built_in.answer} ({found.answer} This is the built-in answer.)"}
    return found.json()
