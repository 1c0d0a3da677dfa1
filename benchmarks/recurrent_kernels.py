"""Fit the recurrences of linear attention to measured kernels, leaving out one model at a time.

    python benchmarks/recurrent_kernels.py ../shared/data/kernels/gdn.csv

The table has two kernels under one name, the convolution before the recurrence and the recurrence itself. Where it has
both for one shape the faster is the convolution; the others are told apart by which of the two fits is nearer, which is
clear: they differ by a factor of ten. Of each engine, accelerator and phase the recurrence has at most four numbers:

    context     t = launches + FLOP / (e P) + bytes / (m BW) + chunks of the longest prompt x c
    generation  t = launches + bytes / (m BW)
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from planner.catalog.catalog import Catalog
from planner.catalog.layers import LinearAttention
from planner.latency.recurrence import DELTA_CHUNK_TOKENS, scan_of

ACCELERATORS = {"a100-sxm-80gb": "a100-sxm-80gb", "h100-sxm": "h100-sxm", "b200-sxm": "b200-sxm"}
Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """Result for one engine, accelerator and phase."""

    group: tuple[str, ...]
    n_rows: int
    coefficients: list[float]
    median_error: float
    median_error_left_out: float


def fits(path: Path) -> list[Fit]:
    """Fit every group of rows of a table of gated delta rules."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups[row["gpu"], row["engine"], row["phase"]].append(row)
    return [found for key, rows in sorted(groups.items()) if (found := _fit(key, rows)) is not None]


def _fit(key: tuple[str, ...], rows: list[dict[str, str]]) -> Fit | None:
    y = np.array([float(row["latency_us"]) for row in rows]) * 1e-6
    convolution, scan = _terms(key, rows)
    pairs: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        pairs[tuple(v for k, v in row.items() if k != "latency_us")].append(i)
    both = [sorted(v, key=lambda i: y[i]) for v in pairs.values() if len(v) == 2]
    if not both:
        return None  # nothing tells the two kernels apart
    is_scan = np.full(len(rows), -1)
    for fast, slow in both:
        is_scan[fast], is_scan[slow] = 0, 1
    for _ in range(8):
        one = _solve(convolution[is_scan == 0], y[is_scan == 0])
        other = _solve(scan[is_scan == 1], y[is_scan == 1])
        nearer = np.abs(np.log(np.maximum(scan @ other, 1e-9) / y)) < np.abs(np.log(convolution @ one / y))
        is_scan = nearer.astype(int)
        for fast, slow in both:
            is_scan[fast], is_scan[slow] = 0, 1
    chosen = is_scan == 1
    coefficients = _solve(scan[chosen], y[chosen])
    models = np.array([row["model_name"] for row in rows])
    left_out: list[float] = []
    for model in sorted(set(models)):
        without, own = chosen & (models != model), chosen & (models == model)
        left_out += list(np.abs(scan[own] @ _solve(scan[without], y[without]) / y[own] - 1))
    errors = np.abs(scan[chosen] @ coefficients / y[chosen] - 1)
    return Fit(key, int(chosen.sum()), coefficients.tolist(), float(np.median(errors)), float(np.median(left_out)))


def _terms(key: tuple[str, ...], rows: list[dict[str, str]]) -> tuple[Floats, Floats]:
    """Columns of both kernels: fixed time, then seconds at full rates."""
    chip = Catalog.default().accelerator(ACCELERATORS[key[0]])
    peak, bandwidth = chip.peak["bf16"], chip.memory_bandwidth_bytes_per_s
    convolution, scan = [], []
    for row in rows:
        heads, key_heads, width = (int(row[name]) for name in ("num_v_heads", "num_k_heads", "head_k_dim"))
        batch, tokens, length = (int(row[name]) for name in ("batch_size", "num_tokens", "seq_len"))
        mixer = LinearAttention(
            type="gated-delta", n_heads=heads, n_key_heads=key_heads, key_head_dim=width,
            value_head_dim=int(row["head_v_dim"]), conv_kernel=4,
        )  # fmt: skip
        cost = scan_of(mixer, int(row["d_model"]), 1)
        state = 2 * heads * width * int(row["head_v_dim"]) * 4.0
        convolution.append([1.0, tokens * (2 * key_heads + heads) * width * 4.0 / bandwidth])
        if key[2] == "generation":
            scan.append([1.0, batch * state / bandwidth])
            continue
        chunks = float(np.ceil(length / DELTA_CHUNK_TOKENS))
        flop = cost.flop_per_prompt_token * DELTA_CHUNK_TOKENS * batch * chunks
        traffic = cost.bytes_per_prompt_token * tokens + batch * state
        scan.append([1.0, flop / peak, traffic / bandwidth, chunks])
    return np.array(convolution), np.array(scan)


def _solve(terms: Floats, y: Floats) -> Floats:
    """Non-negative coefficients of least relative error, large errors weighted down."""
    weight = 1.0 / y
    for _ in range(15):
        found = nnls(terms * weight[:, None], y * weight)[0]
        weight = 1.0 / y / np.sqrt(np.maximum(np.abs(terms @ found / y - 1.0), 0.02))
    return found


if __name__ == "__main__":
    results = fits(Path(sys.argv[1]))
    for r in results:
        told = ", ".join(f"{c:.3g}" for c in r.coefficients)
        errors = f"{r.median_error:.0%}, left out {r.median_error_left_out:.0%}"
        print(f"{' '.join(r.group):32} {r.n_rows:5} rows, median error {errors}: {told}")
    print(f"median over groups: left out {np.median([r.median_error_left_out for r in results]):.0%}")
