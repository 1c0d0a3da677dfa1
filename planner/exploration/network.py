"""What a network does to splitting: links that cannot carry the KV caches, and the bandwidth from which it pays."""

from __future__ import annotations

from collections.abc import Sequence

from planner.errors import ScenarioError
from planner.fleet.configuration import Configuration, Rejection
from planner.problem import Problem


def require_connection(problem: Problem, found: Sequence[Configuration], rejected: Sequence[Rejection] = ()) -> None:
    """Refuse a split design of which no prefill machine can send to a decode machine.

    Raises
    ------
    ScenarioError
        The machines stand at different sites or on different kinds of network.
    PlannerError
        One of the two machines of the design cannot serve the model at all.
    """
    design = problem.design
    senders = [c for c in found if design.prefill_machine in (None, c.machine.name)]
    receivers = [c for c in found if design.decode_machine in (None, c.machine.name)]
    for name, kept in ((design.prefill_machine, senders), (design.decode_machine, receivers)):
        if not kept:
            raise next((r.error for r in rejected if name in (None, r.machine)), rejected[0].error)
    if any(a.can_send_to(b) for a in senders for b in receivers):
        return
    places = sorted({(c.machine.name, c.machine.site, c.fabric.family) for c in (*senders, *receivers)})
    near = any(a.machine.site == b.machine.site for a in senders for b in receivers)
    raise ScenarioError(
        "the machines of this pair cannot send KV caches to each other",
        where="design",
        value=design.name,
        rule="KV caches cross within one site and one kind of network; "
        + "; ".join(f"{name}: site {site}, {family}" for name, site, family in places),
        fix="put both on one network, such as --network roce-400g" if near else "choose machines of one site",
    )
