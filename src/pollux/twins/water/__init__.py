"""Reference twin A: a city water network, mirrored against EPANET's Net1 in its own process.

The plant's process imports this package too, so nothing numerical is imported until `blueprint` is called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pollux import Blueprint


def blueprint() -> "Blueprint":
    """How the water twin is run; what `pollux.toml` names as its `definition`."""
    from pollux.twins.water.operation import make

    return make()
