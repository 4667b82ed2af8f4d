"""The exception tree. Every message names the rule, the value received and the way out.

    PolluxError
    ├── DefinitionError        a twin is declared wrongly
    │   ├── UnitError          an equation or a conversion mixes units
    │   └── ShapeError         a shape, dtype or finiteness rule is broken
    ├── CompileError           a kernel cannot be derived from this twin
    ├── NumericalError         a computation failed and the caller asked to be told (`throw=True`)
    ├── InputError             data from outside is refused at the border
    │   ├── WiringError        the wiring file is wrong
    │   └── MessageError       one message is wrong; it is kept in quarantine
    ├── StoreError             the journal cannot be written or read
    │   ├── CorruptionError    a checksum does not match
    │   └── FencedError        another writer holds the store
    ├── AccessError            the caller may not do this
    └── MissingExtraError      an optional dependency is not installed

A numerical outcome that a caller should inspect (not converged, unidentifiable) is a field of the result,
not an exception.
"""


class PolluxError(Exception):
    """Root of everything that Pollux raises on purpose."""

    exit_code = 1
    """Exit status of the command line when this error ends a command."""


class DefinitionError(PolluxError):
    """A twin is declared wrongly; raised while it is declared or compiled."""

    exit_code = 3


class UnitError(DefinitionError):
    """An equation or a conversion mixes units that do not agree."""


class ShapeError(DefinitionError):
    """A shape, dtype or finiteness rule is broken."""


class CompileError(PolluxError):
    """A kernel cannot be derived from this twin."""

    exit_code = 3


class NumericalError(PolluxError):
    """A computation failed and the caller asked to be told."""

    exit_code = 4


class InputError(PolluxError):
    """Data from outside is refused at the border."""

    exit_code = 5


class WiringError(InputError):
    """The wiring file is wrong."""


class MessageError(InputError):
    """One message is wrong. `reason` is a short machine-readable word."""

    def __init__(self, message: str, reason: str = "malformed"):
        super().__init__(message)
        self.reason = reason


class StoreError(PolluxError):
    """The journal cannot be written or read."""

    exit_code = 6


class CorruptionError(StoreError):
    """A checksum does not match what was written."""


class FencedError(StoreError):
    """Another writer holds the store."""


class AccessError(PolluxError):
    """The caller may not do this."""

    exit_code = 7


class MissingExtraError(PolluxError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 8

    def __init__(self, package: str, extra: str):
        super().__init__(f"`{package}` is needed for this and is not installed: `pip install 'pollux[{extra}]'`")
