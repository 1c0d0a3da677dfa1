"""Candidate pools made once and chosen from many times: for other designs, budgets and objectives.

A capacity curve does not depend on what is minimised, on budgets, or on which other pools a design allows. So the
pools of the widest design serve every narrower one, and a capacity once computed is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import InfeasibleError
from planner.planning.infeasible import explain_infeasible, unreachable
from planner.planning.search import Progress, Solution, best_among, pools_of, quiet
from planner.pools.candidate import Candidate, needs_end_to_end
from planner.pools.configuration import Configuration, Rejection
from planner.pools.design import Design
from planner.scenario.resolve import Problem
from planner.serving.capacity import CapacityCurve


@dataclass(frozen=True, eq=False)
class Pools:
    """The candidate pools of a problem, to choose from again and again.

    Attributes
    ----------
    problem : Problem
        What they were made for.
    found : list of Configuration
        Layouts of the model on the machines considered.
    rejected : list of Rejection
        Machines that cannot serve, and why.
    candidates : list of Candidate
        None where no objective can be reached.
    """

    problem: Problem
    found: list[Configuration]
    rejected: list[Rejection]
    candidates: list[Candidate]

    def narrowed(self, design: Design, machines: Collection[str]) -> Pools:
        """Those that a design allows on some of the machines."""
        kept = {m.name for m in self.problem.machines} & set(machines)
        problem = replace(
            self.problem,
            design=design,
            machines=tuple(m for m in self.problem.machines if m.name in kept),
            unpriced=tuple(name for name in self.problem.unpriced if name in kept),
        )
        return Pools(
            problem,
            [c for c in self.found if c.machine.name in kept],
            [r for r in self.rejected if r.machine in kept],
            allowed(self.candidates, design, kept),
        )

    def best(self, problem: Problem, progress: Progress = quiet) -> Solution | None:
        """Best plan for the problem or a variation of it with other limits or another objective; None if there is none.

        Raises
        ------
        NoPlanFoundError
            A time limit passed before any plan was found.
        """
        return best_among(problem, self.candidates, self.rejected, progress)

    def why_none(self, problem: Problem) -> InfeasibleError:
        """Why `best` has found none, with what would help."""
        if not self.found and self.rejected:
            error = self.rejected[0].error
            return error if isinstance(error, InfeasibleError) else InfeasibleError(error.what, value=error.value)
        return explain_infeasible(problem, self.candidates) if self.candidates else unreachable(problem, self.found)


def make_pools(problem: Problem, progress: Progress = quiet) -> Pools:
    """Generate the candidate pools of a problem, their capacities remembered once computed.

    Raises
    ------
    InfeasibleError
        The model fits no machine.
    """
    found, rejected, candidates = pools_of(problem, progress)
    return Pools(problem, found, rejected, [remembering(c) for c in candidates])


def can_share(problem: Problem) -> bool:
    """Whether other budgets leave the pools of a problem as they are.

    They do not where throughput is sought within end-to-end limits: how long prompts wait at the rate that is the
    answer decides what decode pools may take.
    """
    return problem.scenario.objective != "throughput" or not needs_end_to_end(problem.need)


def allowed(candidates: Sequence[Candidate], design: Design, machines: Collection[str]) -> list[Candidate]:
    """Candidates that a design may have, on these machines; the same as if they were generated for it alone."""

    def fits(c: Candidate) -> bool:
        wanted = design.decode_machine if c.role == "decode" else design.prefill_machine
        name = c.configuration.machine.name
        return (design.mixed if c.role == "mixed" else design.split) and name in machines and wanted in (None, name)

    return chosen_from(candidates, fits)


def chosen_from(candidates: Sequence[Candidate], fits: Callable[[Candidate], bool]) -> list[Candidate]:
    """Candidates that fit, decode pools with the senders that are left, without those that nothing is left for."""
    kept = [c for c in candidates if fits(c)]
    prefill = {c.key for c in kept if c.role == "prefill"}
    fed = [
        replace(c, sources=tuple(key for key in c.sources if key in prefill)) if c.role == "decode" else c for c in kept
    ]
    needed = {key for c in fed for key in c.sources}
    return [c for c in fed if c.role == "mixed" or c.sources or c.key in needed]


def remembering(candidate: Candidate) -> Candidate:
    """The same candidate, each capacity of which is computed once."""
    known = dict(zip(candidate.curve.n_machines.tolist(), candidate.curve.rate_per_s.tolist(), strict=True))

    def compute(n: np.ndarray) -> CapacityCurve:
        new = np.array([k for k in n.tolist() if k not in known], dtype=np.int64)
        if new.size:
            known.update(zip(new.tolist(), candidate.compute(new).rate_per_s.tolist(), strict=True))
        return CapacityCurve(n, np.array([known[k] for k in n.tolist()], dtype=float))

    return replace(candidate, compute=compute)
