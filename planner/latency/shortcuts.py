"""Work that requests are spared: cached prefixes, and several tokens a decode step.

Both are factors of the workload and the runtime, not of the hardware. They change what a step is asked to do, so they
lie around a source of step times and everything above (queues, simulation) works on as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.catalog import parameters
from planner.catalog.schema import Llm
from planner.errors import ScenarioError
from planner.latency import StepTimes
from planner.latency.batch import Batch, Floats
from planner.latency.scaled import ScaledSteps


@dataclass(frozen=True)
class Shortcuts:
    """How much work is spared; the defaults spare none.

    Parameters
    ----------
    prefix_cached : float
        Share of each prompt's tokens whose KV cache is there already, from 0 to below 1.
    tokens_per_step : float
        Tokens that a sequence gets from a decode step on average: the next one and the draft tokens accepted.
    draft_tokens : int
        Draft tokens that a step verifies for each sequence, by multi-token prediction or speculative decoding.

    Raises
    ------
    ScenarioError
        A share outside 0 to 1, or more tokens a step than are verified.

    Notes
    -----
    If each draft token is accepted with probability a when the ones before it were, k of them give [1]_

        tokens_per_step = (1 - a^(k+1)) / (1 - a)                                                    (2.8)

    References
    ----------
    .. [1] Leviathan, Kalman, Matias, Fast inference from transformers via speculative decoding, ICML 2023,
       arXiv 2211.17192, equation 1.
    """

    prefix_cached: float = 0.0
    tokens_per_step: float = 1.0
    draft_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.prefix_cached < 1.0:
            raise ScenarioError(
                "not a share of prompt tokens",
                where="prefix_cached",
                value=f"{self.prefix_cached:g}",
                rule="from 0 to below 1: the last token of a prompt is always computed",
            )
        if self.draft_tokens < 0:
            raise ScenarioError("must be a whole number of at least 0", where="draft_tokens", value=self.draft_tokens)
        if not 1.0 <= self.tokens_per_step <= 1.0 + self.draft_tokens:
            raise ScenarioError(
                f"a decode step that verifies {self.draft_tokens} draft tokens yields 1 to {self.rows} tokens",
                where="tokens_per_step",
                value=f"{self.tokens_per_step:g}",
                rule="1 <= tokens_per_step <= 1 + draft_tokens: those verified cost computation, accepted or not",
                fix="give draft_tokens (--draft-tokens) as well: how many a step verifies",
            )

    @property
    def rows(self) -> int:
        """Tokens of each sequence that a decode step computes: the next one and the drafts it verifies."""
        return 1 + self.draft_tokens

    def prompt_token_budget(self, budget: int) -> int:
        """Prompt tokens, cached ones counted, of which `budget` tokens are left to compute."""
        return int(budget / (1.0 - self.prefix_cached))


def speculating(llm: Llm, n_drafts: int, acceptance: float | None = None, prefix_cached: float = 0.0) -> Shortcuts:
    """Decode steps that verify draft tokens of the head that a model ships.

    Parameters
    ----------
    llm : Llm
    n_drafts : int
        Draft tokens a sequence and step; 0 for none.
    acceptance : float, optional
        Probability that a draft token is accepted when those before it were; left out: what the model's file states.
    prefix_cached : float
        Share of each prompt's tokens that is cached.

    Raises
    ------
    ScenarioError
        The model ships no head, or nobody states how often its drafts are accepted.
    """
    if n_drafts == 0:
        return Shortcuts(prefix_cached)
    if not llm.draft_layers:
        raise ScenarioError(
            f"{llm.name} ships no head that drafts tokens", where="speculate", value=n_drafts,
            fix="of a draft model of your own give --draft-tokens with --tokens-per-step",
        )  # fmt: skip
    likely = llm.draft_acceptance if acceptance is None else acceptance
    if likely is None:
        raise ScenarioError(
            f"nobody states how often drafts of {llm.name} are accepted", where="acceptance",
            fix="give --acceptance, such as 80 % as your server's log says",
        )  # fmt: skip
    return Shortcuts(prefix_cached, sum(likely**i for i in range(n_drafts + 1)), n_drafts)


def draft_layers(llm: Llm, shortcuts: Shortcuts) -> int:
    """Layers of the draft module that a server keeps in memory: the model's head, one layer of a foreign module."""
    return max(llm.draft_layers, 1) if shortcuts.draft_tokens else 0


def without_cached(batch: Batch, prefix_cached: float) -> Batch:
    """The batch with that share of every prompt's tokens in the KV cache already.

    Notes
    -----
    Of a prompt of s tokens (1 - h) s are computed, at least the last one, each with the h s cached ones before it.
    Summed over prompts, n of tokens and a = sum s (s + 1)/2 of pairs become

        n' = (1 - h) n,  a' = (1 - h^2) a - h (1 - h) n / 2                                          (2.7)

    which is exact for whole prompts, whatever their sizes.
    """
    if prefix_cached == 0.0:
        return batch
    n = batch.prompt_tokens
    new = np.minimum(np.maximum((1.0 - prefix_cached) * n, batch.n_prompts), n)
    h = 1.0 - new / np.maximum(n, 1e-300)
    pairs = (1.0 - h * h) * batch.attention_pairs - 0.5 * h * (1.0 - h) * n
    return Batch(new, pairs, batch.n_prompts, batch.decode_sequences, batch.context_tokens)


def draft_share(llm: Llm) -> float:
    """Time of drafting one token over that of a decode step.

    A draft module is one layer of the model and the LM head, run for each draft token in turn (multi-token prediction:
    DeepSeek-V3, arXiv 2412.19437, section 2.2; EAGLE, arXiv 2401.15077). Its share of a step is taken as
    that of its weights among those that a token is multiplied with.
    """
    active, head = parameters.n_active_parameters(llm), float(parameters.lm_head_elements(llm))
    return ((active - head) / llm.n_layers + head) / active


class ShortenedSteps:
    """Step times of a lane on which requests are spared work.

    A step of this lane gives each sequence one token, like any other; it takes the time that a token takes on average.

    Parameters
    ----------
    step : StepTimes
        Step times that include verifying the draft tokens.
    shortcuts : Shortcuts
    draft_share : float
        Time of drafting one token over that of a decode step.
    rows : int
        Sequences that each sequence is looked up as. A table of measured times knows only batch sizes, so that
        verifying k tokens beside the next one is a batch k + 1 times as large; the roofline knows better and needs 1.

    Notes
    -----
    A decode step takes T and drafting its k tokens k f T. With y tokens a step, a token takes

        t = T (1 + k f) / y                                                                          (2.9)

    A step of prompts and sequences together takes T_p and yields y tokens to each sequence as well. It counts as one
    token with the prompts and y - 1 without,

        t_p = T_p - T + t                                                                            (2.9)

    which keeps the total time; a first token that is computed in such a step appears earlier by less than T.
    """

    def __init__(self, step: StepTimes, shortcuts: Shortcuts, draft_share: float, rows: int = 1) -> None:
        self.step, self.shortcuts, self.rows = step, shortcuts, rows
        self._per_token = (1.0 + shortcuts.draft_tokens * draft_share) / shortcuts.tokens_per_step

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step that gives every decoding sequence one token [s]."""
        batch = without_cached(batch, self.shortcuts.prefix_cached)
        if self.shortcuts.draft_tokens == 0:
            return self.step.step_time_s(batch)
        d = batch.decode_sequences * self.rows
        none = np.zeros_like(d)
        with_prompts = self.step.step_time_s(
            Batch(batch.prompt_tokens, batch.attention_pairs, batch.n_prompts, d, batch.context_tokens)
        )
        decode = self.step.step_time_s(Batch(none, none, none, d, batch.context_tokens))
        return np.where(d > 0, with_prompts - decode + self._per_token * decode, with_prompts)


def shortened(step: StepTimes, shortcuts: Shortcuts, llm: Llm, *, rows: int = 1) -> StepTimes:
    """`step` with the shortcuts; itself where there are none."""
    return step if shortcuts == Shortcuts() else ShortenedSteps(step, shortcuts, draft_share(llm), rows)


def as_measured(step: StepTimes) -> StepTimes:
    """The step times beneath, of whole steps and not scaled; itself where no work is spared."""
    step = step.step if isinstance(step, ScaledSteps) else step
    return step.step if isinstance(step, ShortenedSteps) else step
