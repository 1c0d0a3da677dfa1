"""What a million prompt and output tokens cost, by a stated rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenCost:
    """Cost of tokens, prompt and output apart.

    Attributes
    ----------
    usd_per_million_prompt_tokens, usd_per_million_output_tokens : float or None
        [USD per 10^6 tokens]; None where there are no such tokens.
    prompt_share : float
        Of the whole cost that prompts bear.
    """

    usd_per_million_prompt_tokens: float | None
    usd_per_million_output_tokens: float | None
    prompt_share: float


def token_cost(
    usd_per_hour: Sequence[float],
    prompt_time_fraction: Sequence[float],
    prompt_tokens_per_hour: float,
    output_tokens_per_hour: float,
) -> TokenCost:
    """Share the cost of pools between prompt and output tokens by the time that they take.

    Parameters
    ----------
    usd_per_hour : sequence of float
        Cost of each pool, its idle time and spares included [USD/h].
    prompt_time_fraction : sequence of float
        Share of each pool's busy time that computes prompts: 1 of a prefill pool, 0 of a decode pool.
    prompt_tokens_per_hour, output_tokens_per_hour : float
        Served by all pools together [tokens/h].

    Notes
    -----
    c_prompt = sum_i C_i q_i / N_prompt        c_output = sum_i C_i (1 - q_i) / N_output             (1)

    The two add up to the whole cost: idle time is borne in proportion. The first token comes with its prompt, and is
    counted among the output tokens.
    """
    prompt = math.fsum(c * q for c, q in zip(usd_per_hour, prompt_time_fraction, strict=True))
    output = math.fsum(c * (1.0 - q) for c, q in zip(usd_per_hour, prompt_time_fraction, strict=True))

    def per_million(cost: float, tokens: float) -> float | None:
        return cost / tokens * 1e6 if tokens > 0 else None

    total = prompt + output
    return TokenCost(
        per_million(prompt, prompt_tokens_per_hour),
        per_million(output, output_tokens_per_hour),
        prompt / total if total > 0 else 0.0,
    )
