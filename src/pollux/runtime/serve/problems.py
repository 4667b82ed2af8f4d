"""How every face says that something went wrong: the rule, what happened, the way out. Never a traceback."""

from typing import Any

from pollux.core.errors import (
    AccessError,
    FencedError,
    InputError,
    MessageError,
    MissingExtraError,
    NumericalError,
    PolluxError,
    StoreError,
)
from pollux.runtime.connect.base import ConnectorError


class Problem(PolluxError):
    """A refusal by the server itself, with its HTTP status."""

    def __init__(self, status: int, rule: str, message: str, way_out: str = ""):
        super().__init__(message)
        self.status, self.rule, self.message, self.way_out = status, rule, message, way_out


STATUS: tuple[tuple[type[PolluxError], int, str], ...] = (
    (AccessError, 403, "access"),
    (MessageError, 422, "message"),
    (InputError, 422, "input"),
    (MissingExtraError, 501, "extra"),
    (FencedError, 503, "store.fenced"),
    (StoreError, 503, "store"),
    (ConnectorError, 503, "connector"),
    (NumericalError, 422, "numerical"),
    (PolluxError, 422, "pollux"),
)


def problem_of(error: BaseException) -> Problem:
    """The problem to tell for an error. What nobody foresaw is told without its text, which may hold secrets."""
    if isinstance(error, Problem):
        return error
    for kind, status, rule in STATUS:
        if isinstance(error, kind):
            message, _, way_out = str(error).rpartition("; ")
            return Problem(status, rule, message or way_out, way_out if message else "")
    return Problem(500, "internal", "The server failed on this request; it is logged.", "Report it with the time.")


def body_of(problem: Problem) -> dict[str, Any]:
    """The JSON that every face answers with."""
    return {"error": {"rule": problem.rule, "message": problem.message, "way_out": problem.way_out}}
