"""The joint distribution of prompt and output tokens, as weighted points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.errors import ScenarioError

FloatArray = NDArray[np.float64]
Side = Literal["prompt", "output"]

# Cell edges of `compressed` lie at probabilities 1 - (1 - i/k)^_TAIL_POWER: above 1, the cells shrink towards the
# upper tail. With 16 cells the highest one holds 0.1 % of the requests and the lowest 15 %.
_TAIL_POWER = 2.5
_GOLDEN = 0.6180339887498949
_WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class RequestSizes:
    """Weighted points of the joint distribution of prompt and output tokens.

    Parameters
    ----------
    prompt_tokens, output_tokens : ndarray, shape (n,)
        Tokens in and out of one request [tokens]; each at least 1 and finite. Not necessarily whole numbers:
        a point may be the mean of several requests.
    weight : ndarray, shape (n,)
        Probability of each point; positive, summing to 1.
    name : str
        What the sizes are of, for reports.

    Raises
    ------
    ScenarioError
        Shapes differ, no points, a value that is not finite or below 1 token, weights that do not sum to 1.

    Notes
    -----
    The arrays are copied and read-only.
    """

    prompt_tokens: FloatArray
    output_tokens: FloatArray
    weight: FloatArray
    name: str

    def __post_init__(self) -> None:
        for field in ("prompt_tokens", "output_tokens", "weight"):
            try:
                array = np.array(getattr(self, field), dtype=float)
            except (TypeError, ValueError):
                raise ScenarioError(f"{field} of request sizes {self.name!r} are not numbers") from None
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        self._check()

    def _check(self) -> None:
        where = f"request sizes {self.name!r}"
        if self.weight.ndim != 1 or not self.prompt_tokens.shape == self.output_tokens.shape == self.weight.shape:
            shapes = f"{self.prompt_tokens.shape}, {self.output_tokens.shape}, {self.weight.shape}"
            raise ScenarioError(
                "prompt_tokens, output_tokens and weight differ in shape",
                where=where, value=shapes, rule="three one-dimensional arrays of one length",
            )  # fmt: skip
        if not self.weight.size:
            raise ScenarioError("there are no request sizes", where=where, rule="at least one point")
        for field in ("prompt_tokens", "output_tokens"):
            values = getattr(self, field)
            # Written so that NaN fails too.
            bad = ~((values >= 1) & np.isfinite(values))
            if bad.any():
                first = int(np.argmax(bad))
                raise ScenarioError(
                    f"{field}[{first}] is not a number of tokens", where=where, value=values[first],
                    rule="finite and at least 1 token",
                )  # fmt: skip
        bad = ~((self.weight > 0) & np.isfinite(self.weight))
        if bad.any():
            first = int(np.argmax(bad))
            raise ScenarioError(
                f"weight[{first}] is not a probability", where=where, value=self.weight[first], rule="above 0"
            )
        total = float(self.weight.sum())
        if abs(total - 1) > _WEIGHT_TOLERANCE:
            raise ScenarioError("weights do not sum to 1", where=where, value=total, fix="divide them by their sum")

    @classmethod
    def equally_weighted(cls, prompt_tokens: ArrayLike, output_tokens: ArrayLike, name: str) -> RequestSizes:
        """Return the sizes of requests that count alike, such as those of a trace."""
        n = np.size(prompt_tokens)
        weight = np.full(n, 1 / max(n, 1))
        return cls(np.asarray(prompt_tokens), np.asarray(output_tokens), weight, name)

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.weight.size)

    @property
    def mean_prompt_tokens(self) -> float:
        """Mean prompt of a request, E[L] [tokens]."""
        return float(self.weight @ self.prompt_tokens)

    @property
    def mean_output_tokens(self) -> float:
        """Mean output of a request, E[m], the first token included [tokens]."""
        return float(self.weight @ self.output_tokens)

    @property
    def mean_decode_steps(self) -> float:
        """Mean decode steps of a request, E[m - 1]: prefill yields the first token."""
        return float(self.weight @ (self.output_tokens - 1))

    @property
    def decode_context_tokens(self) -> float:
        """Mean context that a decode step sees [tokens].

        Notes
        -----
        A request of L prompt tokens and m output tokens takes m' = m - 1 decode steps. Before its step j
        (j = 1..m') it holds L + j - 1 tokens, after it L + j; taking the middle of the two, L + j - 1/2, the steps
        sum to m' (L + m'/2), and over all steps of all requests the mean is

            c = E[m' (L + m'/2)] / E[m'] = (E[m' L] + E[m'^2] / 2) / E[m']                                   (1.2)

        With m' independent of L this is E[L] + E[m'^2] / (2 E[m']): the second moment matters, and long answers
        weigh more than short ones. If no request decodes (all m = 1) it is the limit of short answers, E[L].
        """
        steps = self.output_tokens - 1
        total = float(self.weight @ steps)
        if total == 0:
            return self.mean_prompt_tokens
        return float(self.weight @ (steps * (self.prompt_tokens + steps / 2))) / total

    @property
    def mean_kv_token_steps(self) -> float:
        """Mean KV tokens held, summed over the output tokens of a request [tokens x steps].

        Notes
        -----
        E[m (L + m/2)] with all m output tokens counted, the first included: the form of [1]_, by which a pool of M
        KV tokens and iteration time b sustains M / (b E[m (L + m/2)]) requests/s.

        References
        ----------
        .. [1] arXiv 2605.04595, token pool.
        """
        m = self.output_tokens
        return float(self.weight @ (m * (self.prompt_tokens + m / 2)))

    def quantile(self, which: Side, p: ArrayLike) -> Any:
        """Return the smallest token count whose cumulative probability reaches `p`.

        Parameters
        ----------
        which : {"prompt", "output"}
            Which tokens.
        p : float or ndarray
            Probability in [0, 1]; 0 gives the smallest point.

        Returns
        -------
        float or ndarray
            Tokens, same shape as `p`. Always one of the points: nothing is interpolated.
        """
        if which not in ("prompt", "output"):
            raise ScenarioError("unknown side of a request", value=which, rule="prompt or output")
        probability = np.asarray(p, dtype=float)
        if not np.all((probability >= 0) & (probability <= 1)):
            raise ScenarioError("not a probability", value=p, rule="between 0 and 1")
        values = self.prompt_tokens if which == "prompt" else self.output_tokens
        order = np.argsort(values, kind="stable")
        cumulative = np.cumsum(self.weight[order])
        # The tolerance keeps rounding of the cumulative sum from skipping a point at p = k/n.
        index = np.searchsorted(cumulative, probability - 1e-12, side="left")
        result = values[order][np.minimum(index, values.size - 1)]
        return result if probability.ndim else float(result)

    def at_ratio(self, prompt_output_ratio: float) -> RequestSizes:
        """Return sizes whose mean prompt is so many times the mean output, with as many tokens a request as before.

        All prompts are scaled by one factor and all outputs by another, so that the shape of both, and how they go
        together, stay. No side is scaled below one token, which at extreme ratios moves the means a little.

        Raises
        ------
        ScenarioError
            A ratio that is not positive.
        """
        if not (prompt_output_ratio > 0 and math.isfinite(prompt_output_ratio)):
            raise ScenarioError("not a ratio of prompt to output tokens", value=prompt_output_ratio, rule="above 0")
        output = (self.mean_prompt_tokens + self.mean_output_tokens) / (1.0 + prompt_output_ratio)
        return self.scaled(output * prompt_output_ratio / self.mean_prompt_tokens, output / self.mean_output_tokens)

    def scaled(self, prompt_factor: float, output_factor: float) -> RequestSizes:
        """Return sizes with all prompts and all outputs times a factor, none below one token."""
        return RequestSizes(
            np.maximum(self.prompt_tokens * prompt_factor, 1.0),
            np.maximum(self.output_tokens * output_factor, 1.0),
            self.weight,
            self.name,
        )

    def compressed(self, max_points: int) -> RequestSizes:
        """Return at most `max_points` points that stand for these.

        Parameters
        ----------
        max_points : int
            At least 1. If there are no more points than that already, self is returned.

        Returns
        -------
        RequestSizes
            One point for each cell that holds any.

        Notes
        -----
        The requests are cut into k = floor(sqrt(max_points)) strips by prompt, and each strip into k cells by output,
        at the cumulative probabilities 1 - (1 - i/k)^2.5, i = 0..k: cells are finest in both upper tails, so that
        P99 and P99.9 survive. A cell's output is its mean. If its prompt were its mean too, all k points of a strip
        would have nearly the same prompt, and a seventh of the requests (k = 16) one step of the distribution; so
        the prompts of a strip are dealt to its cells in slices of the cells' weights, in a golden-ratio order that is
        independent of the output.

        Means of prompt and output are preserved to rounding, and so is the dependence between strips; what depends
        or varies within cells is lost. The result depends on the points and not on their order.
        """
        if max_points < 1:
            raise ScenarioError("cannot compress to no points", value=max_points, rule="at least 1 point")
        if self.n_points <= max_points:
            return self
        k = math.isqrt(max_points)
        edges = 1 - (1 - np.arange(1, k) / k) ** _TAIL_POWER
        order = np.lexsort((self.weight, self.output_tokens, self.prompt_tokens))
        prompt, output, weight = self.prompt_tokens[order], self.output_tokens[order], self.weight[order]
        probability = np.concatenate(([0.0], np.cumsum(weight)))
        prompt_integral = np.concatenate(([0.0], np.cumsum(weight * prompt)))
        strip = np.searchsorted(edges, _midpoints(weight))

        order = np.lexsort((weight, prompt, output, strip))
        output, weight, strip = output[order], weight[order], strip[order]
        strip_weight = np.bincount(strip, weight, minlength=k)
        before = np.concatenate(([0.0], np.cumsum(strip_weight)))[strip]
        within = (_midpoints(weight) - before) / strip_weight[strip]
        cell = strip * k + np.searchsorted(edges, within)

        cells, cell = np.unique(cell, return_inverse=True)
        cell_weight = np.bincount(cell, weight)
        output_means = np.bincount(cell, weight * output) / cell_weight

        deal = np.lexsort((np.mod(cells * _GOLDEN, 1.0), cells // k))
        ends = np.concatenate(([0.0], np.cumsum(cell_weight[deal])))
        ends[-1] = probability[-1]
        prompt_means = np.empty_like(cell_weight)
        prompt_means[deal] = np.diff(np.interp(ends, probability, prompt_integral)) / cell_weight[deal]
        # A mean of ones may round to just below 1 token.
        return RequestSizes(
            np.maximum(prompt_means, 1.0), np.maximum(output_means, 1.0), cell_weight / cell_weight.sum(), self.name
        )


def _midpoints(weight: FloatArray) -> FloatArray:
    """Cumulative probability at the middle of each point."""
    return np.asarray(np.cumsum(weight) - weight / 2)
