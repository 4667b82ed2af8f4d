"""A loop with a bound, in the form that the wanted derivative can be taken through.

Forward mode passes through `lax.while_loop`. Reverse mode needs to go back over the turns, so it takes two nested scans
of about sqrt(n) turns, each turn of the outer one recomputed on the way back (Griewank, Achieving logarithmic growth of
temporal and spatial complexity in reverse automatic differentiation, Optim. Methods Softw. 1 (1992), two levels), and
chunks after the end skipped.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax


def repeat_while(
    unfinished: Callable[[Any], Any],
    turn: Callable[[Any], Any],
    carry: Any,
    most: int,
    gradient: Literal["forward", "reverse"],
) -> Any:
    """`turn` applied while `unfinished`. With `gradient` "reverse" at most about `most` turns are taken."""
    if gradient == "forward":
        return jax.lax.while_loop(unfinished, turn, carry)
    inner = math.isqrt(most - 1) + 1

    def once(carry, _):
        return jax.lax.cond(unfinished(carry), turn, lambda c: c, carry), None

    @jax.checkpoint
    def some(carry):
        return jax.lax.scan(once, carry, length=inner)[0]

    def chunk(carry, _):
        return jax.lax.cond(unfinished(carry), some, lambda c: c, carry), None

    return jax.lax.scan(chunk, carry, length=-(-most // inner))[0]
