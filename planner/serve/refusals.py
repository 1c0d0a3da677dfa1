"""What HTTP refuses, in the one envelope of all errors."""

from __future__ import annotations

from typing import Any

from planner.errors import EXIT_INFEASIBLE, EXIT_NO_PLAN, InputError, PlannerError
from planner.serve.process import Answer


class RequestError(InputError):
    """A request that the server does not answer.

    Parameters
    ----------
    what : str
    status : int
        Of HTTP.
    **more
        As for every error.
    """

    def __init__(self, what: str, status: int, **more: Any) -> None:
        super().__init__(what, **more)
        self.status = status


# Exit code of the command -> status of HTTP. A missed objective (3) and a plan that a limit cut short (4) that are no
# errors are answers.
_OF_EXIT_CODE = {2: 422, EXIT_INFEASIBLE: 422, EXIT_NO_PLAN: 503}


def status_of(answer: Answer) -> int:
    """Status of HTTP of an answer."""
    if not answer.is_error:
        return 200
    return _OF_EXIT_CODE.get(answer.exit_code, 500)


def status_of_error(error: PlannerError) -> int:
    """Status of HTTP of an error that the server itself makes."""
    return error.status if isinstance(error, RequestError) else _OF_EXIT_CODE.get(error.exit_code, 500)
