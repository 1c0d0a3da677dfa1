"""Failures as people write them: `decode:0@120s-300s`, a machine by its pool and number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from planner import units
from planner.errors import ScenarioError, UnitError, UnknownNameError
from planner.pools.prediction import Member
from planner.simulation.specification import Failure

FAILURE_FORM = "POOL:NUMBER@TIME[-TIME]"
_EXAMPLE = "decode:0@120s-300s"


@dataclass(frozen=True)
class NamedFailure:
    """A failure by the name of its machine.

    Attributes
    ----------
    pool : str
        A role, `decode`, or one type of machine in it, `decode.dgx-a100`.
    number : int
        Of the machine, from 0, counted over the pools of that name in the order of the cluster.
    at_s, repaired_s : float
        When it stops, and comes back empty; infinite if it does not [s].
    text : str
        As it was written.
    """

    pool: str
    number: int
    at_s: float
    repaired_s: float
    text: str


def parse_failure(text: str) -> NamedFailure:
    """Read `decode:0@120s-300s`: the first decode machine is down from 120 s to 300 s; without an end, for good.

    Raises
    ------
    ScenarioError
        Not in that form.
    UnitError
        A time that cannot be read.
    """
    match = re.fullmatch(r"\s*([^:@]+?)\s*:\s*(\d+)\s*@\s*([^-]+?)\s*(?:-\s*([^-]+?)\s*)?", text)
    if not match:
        raise ScenarioError(
            "not a failure", where="failures", value=text, rule=FAILURE_FORM, fix=f"write it like {_EXAMPLE}"
        )
    pool, number, start, end = match.groups()
    try:
        at_s = units.parse(start, units.TIME)
        repaired_s = inf if end is None else units.parse(end, units.TIME)
    except UnitError as error:
        raise error.at("failures") from None
    if not repaired_s > at_s:
        raise ScenarioError(
            "a machine comes back after it has failed", where="failures", value=text, fix=f"write it like {_EXAMPLE}"
        )
    return NamedFailure(pool, int(number), at_s, repaired_s, text.strip())


def failures_of(named: Sequence[NamedFailure], members: Sequence[Member]) -> list[Failure]:
    """The machines that are meant, numbered through the cluster.

    Raises
    ------
    UnknownNameError
        A pool that the cluster does not have.
    ScenarioError
        A number beyond the machines of that name, or a machine that fails while it is down.
    """
    machines: dict[str, list[int]] = {}
    first = 0
    for member in members:
        numbers = list(range(first, first + member.count))
        first += member.count
        for name in (member.role, f"{member.role}.{member.configuration.machine.name}"):
            machines.setdefault(name, []).extend(numbers)
    found: list[Failure] = []
    for failure in named:
        if failure.pool not in machines:
            error = UnknownNameError.of("pool", failure.pool, machines, where="failures")
            error.value = failure.text
            raise error
        of_pool = machines[failure.pool]
        if failure.number >= len(of_pool):
            raise ScenarioError(
                f"there is no machine {failure.pool}:{failure.number}", where="failures", value=failure.text,
                rule=f"{failure.pool}:0" + (f" to {failure.pool}:{len(of_pool) - 1}" if len(of_pool) > 1 else ""),
            )  # fmt: skip
        new = Failure(of_pool[failure.number], failure.at_s, failure.repaired_s)
        if any(f.machine == new.machine and f.at_s < new.repaired_s and new.at_s < f.repaired_s for f in found):
            raise ScenarioError(
                f"the machine {failure.pool}:{failure.number} fails while it is down", where="failures",
                value=failure.text, rule="failures of one machine do not overlap",
            )  # fmt: skip
        found.append(new)
    return found
