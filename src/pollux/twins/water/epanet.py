"""A thin, typed door to the EPANET 2.2 solver that wntr ships: only the calls that the plant needs, in SI
units.

The library is loaded straight from wntr's folder. Importing `wntr` itself pulls pandas, SciPy and a plotting
stack (5 s on two busy cores) of which the plant needs nothing; the solver and the network file are the same.

Source: L. A. Rossman et al., EPANET 2.2 User Manual, EPA/600/R-20/133, and its toolkit reference.
"""

import ctypes
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

# Toolkit codes (epanet2_enums.h).
EMITTER, BASEDEMAND, PATTERN, TANKLEVEL, DEMAND, HEAD, PRESSURE, ELEVATION = 3, 1, 2, 8, 9, 10, 11, 0
FLOW, STATUS, SETTING, ENERGY = 8, 11, 12, 13
DURATION, HYDSTEP, PATTERNSTEP, REPORTSTEP = 0, 1, 3, 5
LPS = 5
CONTROLCOUNT = 5
ACCURACY = 1
WARNING_LIMIT = 100
"""Codes below are warnings (negative pressure, pump beyond its curve): the solution stands."""


class EpanetError(RuntimeError):
    """The solver refused; `code` is its error number."""

    def __init__(self, code: int, call: str):
        super().__init__(f"EPANET `{call}` answered error {code}; the error list is in appendix B of its manual")
        self.code = code


def wntr_folder() -> Path:
    """Folder of the installed wntr package, found without importing it.

    Raises:
        ModuleNotFoundError: wntr is not installed.
    """
    spec = find_spec("wntr")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The water plant needs `wntr`: `pip install 'pollux[water]'`")
    return Path(spec.submodule_search_locations[0])


def _library() -> Path:
    folder = wntr_folder() / "epanet" / "libepanet"
    if os.name == "nt":
        return folder / "windows-x64" / "epanet22.dll"
    if sys.platform == "darwin":
        arm = "arm" in platform.platform().lower()
        return folder / ("darwin-arm/libepanet2.dylib" if arm else "darwin-x64/libepanet22.dylib")
    return folder / "linux-x64" / "libepanet22.so"


class Epanet:
    """One open hydraulic project, stepped by the caller.

    Flows in L/s, heads and pressures in m, power in kW.
    """

    def __init__(self, inp: Path, hydraulic_step: int):
        self._lib = ctypes.CDLL(str(_library()))
        self._ph = ctypes.c_uint64()
        self._call("createproject", ctypes.byref(self._ph), project=False)
        self._call("open", str(inp).encode(), os.devnull.encode(), b"")  # without a name it reports to stdout
        self._call("setstatusreport", ctypes.c_int(0))
        self._call("setoption", ctypes.c_int(ACCURACY), ctypes.c_double(1e-6))
        self._call("setflowunits", ctypes.c_int(LPS))
        for code, value in (
            (DURATION, 2_000_000_000),  # 63 years: the caller decides when it ends
            (HYDSTEP, hydraulic_step),
            (PATTERNSTEP, hydraulic_step),
            (REPORTSTEP, hydraulic_step),
        ):
            self._call("settimeparam", ctypes.c_int(code), ctypes.c_long(value))
        self._open = False

    def _call(self, name: str, *args: object, project: bool = True) -> None:
        function = getattr(self._lib, f"EN_{name}")
        code = function(self._ph, *args) if project else function(*args)
        if code >= WARNING_LIMIT:
            raise EpanetError(code, name)

    def drop_controls(self) -> None:
        """Remove the network's own simple controls: the station's local control does their work."""
        count = ctypes.c_int()
        self._call("getcount", ctypes.c_int(CONTROLCOUNT), ctypes.byref(count))
        for index in range(count.value, 0, -1):
            self._call("deletecontrol", ctypes.c_int(index))

    def flatten_pattern(self, index: int = 1) -> None:
        """Make a demand pattern constant 1, so that base demands are the demands."""
        one = (ctypes.c_double * 1)(1.0)
        self._call("setpattern", ctypes.c_int(index), one, ctypes.c_int(1))

    def node(self, name: str) -> int:
        """Index of a node."""
        return self._index("getnodeindex", name)

    def link(self, name: str) -> int:
        """Index of a link."""
        return self._index("getlinkindex", name)

    def _index(self, call: str, name: str) -> int:
        index = ctypes.c_int()
        self._call(call, name.encode(), ctypes.byref(index))
        return index.value

    def get_node(self, index: int, code: int) -> float:
        """One value of a node."""
        value = ctypes.c_double()
        self._call("getnodevalue", ctypes.c_int(index), ctypes.c_int(code), ctypes.byref(value))
        return value.value

    def set_node(self, index: int, code: int, value: float) -> None:
        """Set one value of a node."""
        self._call("setnodevalue", ctypes.c_int(index), ctypes.c_int(code), ctypes.c_double(value))

    def get_link(self, index: int, code: int) -> float:
        """One value of a link."""
        value = ctypes.c_double()
        self._call("getlinkvalue", ctypes.c_int(index), ctypes.c_int(code), ctypes.byref(value))
        return value.value

    def set_link(self, index: int, code: int, value: float) -> None:
        """Set one value of a link."""
        self._call("setlinkvalue", ctypes.c_int(index), ctypes.c_int(code), ctypes.c_double(value))

    def start(self) -> None:
        """Open the solver at time zero."""
        self._call("openH")
        self._call("initH", ctypes.c_int(10))  # 10: initialise flows, save nothing
        self._open = True

    def solve(self) -> int:
        """Solve the flows of this instant; may be repeated after a change. Returns the solver's time in s."""
        t = ctypes.c_long()
        self._call("runH", ctypes.byref(t))
        return t.value

    def advance(self) -> int:
        """Move the tanks to the next hydraulic event with the flows just solved.

        Returns the seconds it took.
        """
        dt = ctypes.c_long()
        self._call("nextH", ctypes.byref(dt))
        return dt.value

    def close(self) -> None:
        """Free the project; safe to call twice."""
        if self._ph.value:
            if self._open:
                self._call("closeH")
            self._call("close")
            self._lib.EN_deleteproject(self._ph)
            self._ph = ctypes.c_uint64()
