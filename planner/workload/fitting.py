"""A trace as a catalog workload: tabulated marginals and the correlation of a Gaussian copula."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from planner.catalog.schema import Provenance, SourceKind, TokenDistribution, Workload
from planner.workload.library import CopulaSample, cell_means
from planner.workload.sizes import FloatArray, RequestSizes, Side
from planner.workload.traces import Trace

# Dense where it matters: up to P90 every 5 %, then closer and closer to the largest request.
PROBABILITIES = (
    0.0, 0.01, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85,
    0.90, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 1.0,
)  # fmt: skip

_CORRELATION_LIMIT = 0.999
_CORRELATION_DIGITS = 4
_FIT_POINTS = 4096


def fit_workload(
    trace_or_sizes: Trace | RequestSizes,
    *,
    name: str,
    title: str,
    source: str,
    kind: SourceKind,
    arrival_cv2: float | None = None,
    provenance: Mapping[str, Provenance] | None = None,
    notes: str | None = None,
) -> Workload:
    """Fit a catalog workload to a trace.

    Parameters
    ----------
    trace_or_sizes : Trace or RequestSizes
        What to fit.
    name, title, source, kind : str
        As in the catalog; the source should name the data and its licence.
    arrival_cv2 : float, optional
        Squared coefficient of variation of the gaps. Left out: that of the trace, or 1 where it has none.
    provenance, notes : optional
        As in the catalog.

    Returns
    -------
    Workload
        Quantiles at `PROBABILITIES`, each of them a size that occurs, and the copula's correlation to 4 digits.

    Notes
    -----
    The correlation r is that for which the fitted copula reproduces E[L m] / (E[L] E[m]), the mean product of prompt
    and output over the product of the means, found by bisection. It is not the correlation of the observed normal
    scores (`normal_score_correlation`), because what a planner needs is the KV memory that requests hold, E[m (L +
    m/2)], and a dependence that is no Gaussian copula can have the one without the other: the Azure conversation
    trace has normal scores correlated by 0.01 and yet E[L m] 8 % below the product of the means.
    """
    sizes = trace_or_sizes.sizes() if isinstance(trace_or_sizes, Trace) else trace_or_sizes
    if arrival_cv2 is None:
        measured = trace_or_sizes.arrival_cv2 if isinstance(trace_or_sizes, Trace) else None
        # Evenly spaced requests have none; the schema wants a positive figure.
        arrival_cv2 = 1.0 if measured is None else max(float(f"{measured:.6g}"), 1e-6)
    prompt, output = _table(sizes, "prompt"), _table(sizes, "output")
    return Workload(
        name=name,
        title=title,
        source=source,
        kind=kind,
        prompt_tokens=prompt,
        output_tokens=output,
        correlation=_copula_correlation(sizes, prompt, output),
        arrival_cv2=arrival_cv2,
        provenance=dict(provenance or {}),
        notes=notes,
    )


def normal_score_correlation(sizes: RequestSizes) -> float:
    """Return the correlation of the normal scores of prompt and output, ties at their average rank; 0 if one is fixed.

    The normal score of a request is Phi^-1 of the cumulative probability at the middle of its tie.
    """
    prompt = _normal_scores(sizes.prompt_tokens, sizes.weight)
    output = _normal_scores(sizes.output_tokens, sizes.weight)
    return weighted_correlation(prompt, output, sizes.weight)


def weighted_correlation(x: FloatArray, y: FloatArray, weight: FloatArray) -> float:
    """Return the product-moment correlation of `x` and `y`; 0 if one of them does not vary."""
    dx, dy = x - weight @ x, y - weight @ y
    scale = float(np.sqrt((weight @ dx**2) * (weight @ dy**2)))
    negligible = 1e-12 * max(1.0, float(np.abs(x).max() * np.abs(y).max()))
    return float(np.clip(weight @ (dx * dy) / scale, -1, 1)) if scale > negligible else 0.0


def _normal_scores(values: FloatArray, weight: FloatArray) -> FloatArray:
    _, tie = np.unique(values, return_inverse=True)
    total = np.bincount(tie, weight)
    middle = np.clip(np.cumsum(total) - total / 2, 1e-12, 1 - 1e-12)
    inverse = NormalDist().inv_cdf
    return np.array([inverse(p) for p in middle.tolist()])[tie]


def _table(sizes: RequestSizes, which: Side) -> TokenDistribution:
    tokens = sizes.quantile(which, np.array(PROBABILITIES))
    return TokenDistribution(probabilities=list(PROBABILITIES), tokens=tokens.tolist())


def _copula_correlation(sizes: RequestSizes, prompt: TokenDistribution, output: TokenDistribution) -> float:
    """Bisect for the correlation that reproduces E[L m] / (E[L] E[m])."""
    if prompt.tokens[0] == prompt.tokens[-1] or output.tokens[0] == output.tokens[-1]:
        return 0.0
    product = float(sizes.weight @ (sizes.prompt_tokens * sizes.output_tokens))
    target = product / (sizes.mean_prompt_tokens * sizes.mean_output_tokens)
    sample = CopulaSample(_FIT_POINTS)
    weight = sample.weight
    l_tokens = cell_means(prompt, sample.prompt_order, weight)

    def ratio(correlation: float) -> float:
        m_tokens = cell_means(output, sample.output_order(correlation), weight)
        return float(weight @ (l_tokens * m_tokens)) / (float(weight @ l_tokens) * float(weight @ m_tokens))

    low, high = -_CORRELATION_LIMIT, _CORRELATION_LIMIT
    if target <= ratio(low):
        return low
    if target >= ratio(high):
        return high
    while high - low > 10.0 ** -(_CORRELATION_DIGITS + 1):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) < target else (low, middle)
    return round((low + high) / 2, _CORRELATION_DIGITS) + 0.0


def workload_to_yaml(workload: Workload) -> str:
    """Return the workload as the text of a catalog file.

    The name is left out: a catalog file's stem is its name. Reading the text back gives an equal Workload.
    """
    lines = [f"title: {_text(workload.title)}", f"source: {_text(workload.source)}", f"kind: {workload.kind}"]
    for field, table in (("prompt_tokens", workload.prompt_tokens), ("output_tokens", workload.output_tokens)):
        lines += ["", f"{field}:", _flow("probabilities", table.probabilities), _flow("tokens", table.tokens)]
    lines += ["", f"correlation: {_number(workload.correlation)}", f"arrival_cv2: {_number(workload.arrival_cv2)}"]
    if workload.prefix_cached:
        lines.append(f"prefix_cached: {_number(workload.prefix_cached)}")
    if workload.provenance:
        lines += ["", "provenance:"]
    for path, origin in workload.provenance.items():
        lines += [f"  {_text(path)}:", f"    kind: {origin.kind}", f"    source: {_text(origin.source, '      ')}"]
    if workload.notes is not None:
        lines += ["", f"notes: {_text(workload.notes)}"]
    return "\n".join(lines) + "\n"


# Text that YAML reads as itself without quotes: no `: `, no ` #`, nothing that could be a number or a date.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_(),./-]*(?: [A-Za-z0-9_(),./-]+)*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 108


def _text(text: str, indent: str = "  ") -> str:
    words = text.split(" ")
    if len(text) > 80 and text.isprintable() and all(words):
        lines = textwrap.wrap(
            text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False, replace_whitespace=False
        )
        return ">-\n" + "\n".join(indent + line for line in lines)
    if _PLAIN.fullmatch(text) and text.casefold() not in _RESERVED:
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _flow(field: str, numbers: list[float]) -> str:
    text = f"  {field}: [{', '.join(_number(number) for number in numbers)}]"
    return textwrap.fill(text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _number(number: float) -> str:
    # 1e-05 has no dot, which YAML 1.2 allows.
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
