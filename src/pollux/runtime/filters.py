"""A filter from the wiring: `method = "Ukf"`, or a table with its settings, `{ kind = "SelfTuning", memory = 300 }`."""

from typing import Any

from pollux.core.errors import PolluxError, WiringError
from pollux.runtime.tables import closest

FILTERS = (
    "Ekf", "SquareRootEkf", "IteratedEkf", "Ukf", "SquareRootUkf", "Cubature", "SelfTuning", "Mhe", "Dual", "Etkf",
    "Enkf", "Ienkf", "ParticleFilter", "AuxiliaryParticleFilter", "RaoBlackwellParticleFilter",
)  # fmt: skip
"""Those whose settings are numbers, names and other filters; the rest are built in Python, in a blueprint."""


def filter_of(wanted: Any, where: str) -> Any:
    """The filter that `wanted` names. Raises `WiringError` for an unknown one, or settings that it does not have."""
    table = {"kind": wanted} if isinstance(wanted, str) else wanted
    kind = table.get("kind") if isinstance(table, dict) else None
    if kind not in FILTERS:
        raise WiringError(
            f"{where}: `method` is a filter or a table with its `kind`, received {wanted!r}. "
            f"{closest(str(kind), FILTERS)}"
        )
    import pollux  # the public face, whose names are loaded when they are asked for

    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k != "kind"}
    if "method" in settings:
        settings["method"] = filter_of(settings["method"], where)
    try:
        return getattr(pollux, kind)(**settings)
    except (PolluxError, TypeError) as error:
        raise WiringError(f"{where}: `method`, {kind}: {error}") from None
