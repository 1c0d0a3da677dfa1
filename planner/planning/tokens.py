"""A plan in the units of who serves tokens: a second, an accelerator, a user, and what a million of them cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.planning.plan import Percentiles, PoolPlan


@dataclass(frozen=True)
class TokenFigures:
    """Figures of a plan by token; None where one is not known.

    Attributes
    ----------
    accelerators : int or None
        Of all machines, spares included.
    output_tokens_per_s_per_accelerator : float or None
        [tokens/s]
    output_tokens_per_s_per_user : float or None
        At the median time between tokens [tokens/s].
    cost_usd_per_million_prompt_tokens, cost_usd_per_million_output_tokens : float or None
        Cost of the time that goes into each [USD].
    """

    accelerators: int | None
    output_tokens_per_s_per_accelerator: float | None
    output_tokens_per_s_per_user: float | None
    cost_usd_per_million_prompt_tokens: float | None
    cost_usd_per_million_output_tokens: float | None


def token_figures(
    pools: Sequence[PoolPlan], prompt_per_hour: float, output_per_hour: float, percentiles: Sequence[Percentiles]
) -> TokenFigures:
    """Return what a plan is in tokens.

    Parameters
    ----------
    pools : sequence of PoolPlan
    prompt_per_hour, output_per_hour : float
        Tokens served at this load [1/h].
    percentiles : sequence of Percentiles
        Of the plan, as simulated where it was.

    Notes
    -----
    The cost of a pool is divided between prompts and outputs as its busy time is: all of a prefill pool's goes to
    prompts, all of a decode pool's to outputs. Times tokens the two add up to the whole.
    """
    each = [p.accelerators_per_machine for p in pools]
    accelerators = None
    if all(n is not None for n in each):
        accelerators = sum((n or 0) * (p.count + p.spares) for n, p in zip(each, pools, strict=True))
    tbt = next((p.p50_s for p in percentiles if p.metric == "tbt"), None)
    prompts, outputs = _cost_shares(pools)
    return TokenFigures(
        accelerators,
        output_per_hour / 3600.0 / accelerators if accelerators else None,
        1.0 / tbt if tbt else None,
        None if prompts is None or prompt_per_hour <= 0 else prompts / prompt_per_hour * 1e6,
        None if outputs is None or output_per_hour <= 0 else outputs / output_per_hour * 1e6,
    )


def _cost_shares(pools: Sequence[PoolPlan]) -> tuple[float | None, float | None]:
    """Cost of prompts and of outputs [USD/h]; None where a price or a pool's share of time is not known."""
    if any(p.cost_usd_per_hour is None or p.prompt_time_fraction is None for p in pools):
        return None, None
    whole = sum(p.cost_usd_per_hour or 0.0 for p in pools)
    prompts = sum((p.cost_usd_per_hour or 0.0) * (p.prompt_time_fraction or 0.0) for p in pools)
    return prompts, whole - prompts
