"""Native kernels: the jaxpr of a per-twin program becomes machine code. See `docs/concepts/native.md`."""

from pollux.model.native.back import Lowered, Native
from pollux.model.native.cache import Cache, Folder, NoCache
from pollux.model.native.compiled import Report
from pollux.model.native.kernel import Bound
from pollux.model.native.tape import UnsupportedError

__all__ = ["Bound", "Cache", "Folder", "Lowered", "Native", "NoCache", "Report", "UnsupportedError"]
