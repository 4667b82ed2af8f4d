"""Failures that stay where they are: of somebody's own model, and of a store that has no room for a while."""

import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from pollux.core.errors import FencedError, InputError, PolluxError, StoreError

log = logging.getLogger("pollux.failing")


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Raise `InputError` for anything that is not a `PolluxError` already; `what` begins its sentence."""
    try:
        yield
    except PolluxError:
        raise
    except Exception as error:
        raise InputError(f"{what} failed: {type(error).__name__}: {error}. Correct the twin's definition") from error


async def if_room(writing: Awaitable[object]) -> bool:
    """Await a write of what can be made again; False where the store cannot take it now. Raises `FencedError`."""
    try:
        await writing
    except FencedError:
        raise
    except StoreError as error:
        log.warning("not kept", extra={"data": {"error": str(error)}})
        return False
    return True
