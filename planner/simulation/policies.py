"""Scheduling policies by name, as people ask for them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from planner.errors import ScenarioError, UnknownNameError
from planner.simulation.specification import SPLITWISE, Policy, Routing

POLICIES = {"jsq": Policy(), "splitwise": SPLITWISE}
ROUTINGS: tuple[str, ...] = tuple(name.replace("_", "-") for name in get_args(Routing))


def policy_of(
    name: str = "jsq", *, routing: str | None = None, chunk_tokens: int | None = None, overflow: bool | None = None
) -> Policy:
    """A named policy with single choices changed.

    Parameters
    ----------
    name : str
        `jsq`: join the shortest queue, prompts first and sequences along. `splitwise`: the scheduling of that paper,
        with its mixed pool, routing by memory, and steps in which sequences pause.
    routing : str, optional
        `pending-tokens`, `least-loaded` or `round-robin`.
    chunk_tokens : int, optional
        Chunked prefill with so many tokens a step, decoding sequences counted.
    overflow : bool, optional
        Whether machines of one pool may serve the other phase when its own pool is full.

    Raises
    ------
    UnknownNameError
        An unknown policy or routing, with near misses.
    ScenarioError
        A chunk of no tokens.
    """
    if name not in POLICIES:
        raise UnknownNameError.of("policy", name, POLICIES, where="policy")
    policy = POLICIES[name]
    if routing is not None:
        if routing.replace("_", "-") not in ROUTINGS:
            raise UnknownNameError.of("routing", routing, ROUTINGS, where="routing")
        policy = replace(policy, routing=routing.replace("-", "_"))  # type: ignore[arg-type]
    if overflow is not None:
        policy = replace(policy, overflow=overflow)
    if chunk_tokens is not None:
        if chunk_tokens < 1:
            raise ScenarioError("a chunk holds at least one token", where="chunk_tokens", value=chunk_tokens)
        # Chunks share the budget of a step already.
        policy = replace(policy, chunk_tokens=chunk_tokens, shared_budget=False)
    return policy


def policy_name(policy: Policy) -> str:
    """The name of a policy, or of the one it was made of and what was changed: `splitwise, round-robin routing`."""
    base = "splitwise" if policy.decode_routing == "memory" else "jsq"
    preset, changed = POLICIES[base], []
    if policy.routing != preset.routing:
        changed.append(f"{policy.routing.replace('_', '-')} routing")
    if policy.chunk_tokens is not None:
        changed.append(f"prefill in chunks of {policy.chunk_tokens:,} tokens a step")
    if policy.overflow != preset.overflow:
        changed.append("overflow between pools" if policy.overflow else "no overflow between pools")
    return ", ".join([base, *changed])
