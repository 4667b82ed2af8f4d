"""A blueprint: a twin and how it is to be run. What a project's `definition` names is one, or a plain twin."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pollux.runtime.face import FaultKind
from pollux.runtime.live import Outlook
from pollux.runtime.ports import Detector, Forecaster, Mirror, Planner

if TYPE_CHECKING:
    from pollux.core.twin import Twin


@dataclass(frozen=True)
class Blueprint:
    """Everything about one kind of asset that the wiring does not say.

    A factory that is left out is Pollux's own default with the options of the wiring's table of that name. Factories
    are called in a worker thread, in the order mirror, detector, forecaster, planner.
    """

    twin: "Twin"
    title: str = ""
    kind: str = ""
    """The domain, as "city water"."""
    track: tuple[str, ...] = ()
    """Parameters that the mirror carries in its state."""
    mirror: Callable[[], Mirror] | None = None
    detector: Callable[[], Detector] | None = None
    forecaster: Callable[[], Forecaster] | None = None
    planner: Callable[[Forecaster], Planner] | None = None
    """None: nobody plans by itself; people and agents may still propose."""
    outlook: Outlook | None = None
    """Expected inputs where no plan runs; None: as they are now."""
    check_step: float | None = None
    """Longest RK4 step of the guard's twin check, s; None: the wiring's period."""
    prior_share: float = 1.0
    """Share of the parameters' prior uncertainty in the twin check; below 1 after a calibration."""
    schematic: str | None = None
    """SVG with `data-signal` attributes; None: one is drawn from the definition."""
    faults: tuple[FaultKind, ...] = ()
    """Faults that the plant can be told to have, if it is a demo plant."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `LiveSettings` that differ from its defaults."""
