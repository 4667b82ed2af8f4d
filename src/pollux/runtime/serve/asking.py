"""The capability of answering questions in words: a dialogue that may only use the other capabilities."""

from typing import Any

from pydantic import Field

from pollux.core.errors import InputError
from pollux.runtime.serve.capability import Call, Capability
from pollux.runtime.serve.strict import Params


class AskParams(Params):
    """A question."""

    question: str = Field(min_length=1, max_length=2000)


async def ask(call: Call[AskParams]) -> Any:
    """Answer from recorded numbers: what was looked up is named."""
    raise InputError("no dialogue yet")


ASKING: tuple[Capability, ...] = (
    Capability(
        "ask",
        "command",
        "viewer",
        AskParams,
        "Answer",
        "Ask about the twin in words; numbers come from the capabilities only.",
        ask,
    ),
)
