"""The kernel behind the guard's sixth check: posterior samples through the model under an input schedule.

    x_0 ~ N(mean, cov),  theta ~ prior,  x_{k+1} = F(t_k, h, x_k, u_k, theta) + sqrt(Q h) w_k,  w_k ~ N(0, I)
    shortfall_j = mean over the nodes of max(-margin_j, 0)

F is one or more RK4 steps. The schedule is laid on a uniform grid of at most `steps` nodes; every interval takes the
input that holds at its middle, and the time grid stretches with the schedule, so that one compiled program serves
all. Samples with the same seed are the same for every plan.
"""

from pollux.autonomy.judgement import TwinCheck
from pollux.model.statespace import StateSpace


def build_twin_check(space: StateSpace, *, longest_step: float, substeps: int = 1, block: int = 64) -> TwinCheck:
    """Compile the check for one twin (`space` is flat, with tracked parameters appended to the state).

    `longest_step` is the longest RK4 interval in seconds that resolves the dynamics; a schedule takes as many
    intervals as it needs, computed in blocks of `block` so that no schedule compiles anything new. Parameters that
    are not tracked are drawn from their priors around their values.
    """
    del longest_step, substeps, block
    raise NotImplementedError
