"""What somebody's own model raises, as an error of Pollux: then it is one twin's trouble, and the others go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from pollux.core.errors import InputError, PolluxError


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Raise `InputError` for anything that is not a `PolluxError` already; `what` begins its sentence."""
    try:
        yield
    except PolluxError:
        raise
    except Exception as error:
        raise InputError(f"{what} failed: {type(error).__name__}: {error}. Correct the twin's definition") from error
