"""What a solver said: the solution as it came, and as it was judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SolverStatus = Literal["optimal", "limit", "infeasible", "none"]
UNBOUNDED = "the model is unbounded"
SOLVER_TOLERANCE = 1e-9  # primal, dual and integer; HiGHS allows 1e-10 at the least


@dataclass(frozen=True)
class SolveOutcome:
    """What a solver found, after the checks. The values are in the problem's variables (`varValue`).

    Parameters
    ----------
    status : str
        `optimal`: proven, within the gap asked for; `limit`: stopped with a solution; `infeasible`: proven to have
        none; `none`: stopped without a solution.
    objective : float or None
        Objective of the solution, recomputed from the values; None without a solution.
    bound : float or None
        No solution is better than this; None where the solver gave none.
    gap : float or None
        |objective - bound| / |objective|; None without either.
    seconds : float
        Wall-clock time, loading and checking included [s].
    solver : str
        Name and version.
    """

    status: SolverStatus
    objective: float | None
    bound: float | None
    gap: float | None
    seconds: float
    solver: str

    @property
    def has_solution(self) -> bool:
        """Whether the variables hold a solution that passed the checks."""
        return self.status in ("optimal", "limit")


@dataclass(frozen=True)
class RawSolution:
    """A solver's own words, before any check. `unsound` says what makes them unusable."""

    status: SolverStatus
    values: dict[str, float] | None
    bound: float | None
    solver: str
    unsound: str | None = None
