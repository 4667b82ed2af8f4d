"""Whole arrays instead of scalars: programs that are too long for a tape, as loops over arrays in memory.

The tape of `pollux.model.native.tape` names every number of a program, which is right for a filter of five states and
hopeless for an ensemble of forty members of forty states. Here an array stays an array:

    nodes      the jaxpr without calls, what is constant computed (`nodes.flatten`)
    schedule   nodes that work element by element are gathered, so that one loop does all of them (`schedule`)
    views      slices, transposes and broadcasts are other strides of the same memory (`view`)
    kernels    loops with explicit vectors: element by element, sums, products, factors, solutions; loops and branches

One program, one instance of it, no fleet: vectors run along arrays instead of across twins.
"""

from pollux.model.native.arrays.lower import assembly
from pollux.model.native.arrays.nodes import wide

__all__ = ["assembly", "wide"]
