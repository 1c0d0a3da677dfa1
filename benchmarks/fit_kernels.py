"""Fit the terms of the latency model to measured kernels, one term after the other.

    python benchmarks/fit_kernels.py                # what the fits find and how far they are off
    python benchmarks/fit_kernels.py --left-out     # errors of a GPU, and of an engine, left out of the fit
    python benchmarks/fit_kernels.py --cache FILE   # keep the values, as JSON, for `fit_runtimes.py`

A term's parameters are fitted to its own kernels alone: products, attention, all-reduces, expert layers, latent
attention with its projections, exchanges of tokens. Each accelerator, engine and precision has its own values; how
many columns an expert costs beyond its own and how often a routed token is moved are one number each for all. Errors
are logarithms, the loss is soft-L1 with a scale of 10 %. Needs scipy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import kernel_tables
import numpy as np
from kernel_tables import Group
from numpy.typing import NDArray
from scipy.optimize import least_squares

from planner.calibration import kernels
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, ExchangeCosts, ExpertCosts, ExpertExchange, LatentCosts
from planner.latency.weights import QUANTISED

Floats = NDArray[np.float64]
Values = Mapping[str, float]
Apply = Callable[[Efficiency, Values], Efficiency]
LOSS_SCALE = 0.1
ENGINES = ("vllm", "sglang", "trtllm")
ACCELERATORS = ("a100-sxm-80gb", "h100-sxm", "b200-sxm")
FORMS = ("low_latency", "high_throughput")
# What stands for a precision of the catalog, the first that a table has. Other labels are scored with these values too:
# per-tensor FP8 or blocks of 128 x 128, weight-only INT8, MXFP4 with wide or with narrow activations.
PRODUCTS = {"bf16": ("bfloat16",), "fp8": ("fp8", "fp8_block"), "fp4": ("nvfp4",), "int4": ("int4_wo",)}
EXPERT_LABELS = {"bf16": ("bfloat16",), "fp8": ("fp8_block", "fp8"), "fp4": ("nvfp4",), "int4": ("int4_wo",),
                 "mxfp4": ("w4a8_mxfp4_mxfp8", "w4a16_mxfp4")}  # fmt: skip
BOUNDS: dict[str, tuple[float, float, float]] = {  # lowest, highest, where to start
    "gemm": (0.05, 1.0, 0.6), "gemm_half": (1.0, 400.0, 60.0), "gemm_launch": (1e-6, 4e-5, 6e-6),
    "gemm_input_bytes": (0.1, 40.0, 5.0),
    "kernel_launch": (1e-6, 2e-5, 4e-6), "weight_streaming": (0.3, 1.0, 0.8),
    "prefill_attention": (0.1, 1.0, 0.5), "decode_attention": (0.2, 1.0, 0.75), "attention_launch": (2e-6, 6e-5, 1e-5),
    "one_shot_alpha": (5e-7, 2e-5, 4e-6), "one_shot_link": (0.02, 1.0, 0.5), "direct_rank": (1e-9, 3e-6, 1e-7),
    "direct_all_reduce_alpha": (5e-7, 1e-4, 1e-5), "direct_link": (0.02, 1.0, 0.5),
    "all_reduce_alpha": (1e-6, 3e-4, 5e-5), "link": (0.05, 1.0, 0.7),
    "experts.gemm": (0.02, 1.0, 0.4), "experts.half_tokens": (1.0, 400.0, 60.0), "experts.streaming": (0.2, 1.0, 0.8),
    "experts.launch": (5e-6, 3e-4, 3e-5), "experts.spread": (1e-8, 1e-4, 1e-5),
    "latent.gemm": (0.1, 1.0, 0.5), "latent.half_tokens": (1.0, 400.0, 80.0), "latent.launch": (1e-6, 3e-4, 4e-5),
    "latent.prefill": (0.1, 1.0, 0.6), "latent.decode": (0.2, 1.0, 0.8),
    "alpha": (1e-6, 5e-4, 3e-5), "node_alpha": (1e-8, 1e-3, 1e-5), "exchange_link": (0.02, 3.0, 0.4),
    "network": (0.02, 2.0, 0.6),
}  # fmt: skip
TIMES = {name for name, (_, high, _) in BOUNDS.items() if high < 1e-2}
NESTED = {"experts": ExpertCosts, "latent": LatentCosts}


def with_values(efficiency: Efficiency, values: Values) -> Efficiency:
    """The efficiencies with some values changed: `link`, `gemm.fp8` in a table, `experts.fp8.launch` in its costs."""
    update: dict[str, Any] = {}
    nested: dict[tuple[str, str], dict[str, float]] = {}
    for path, value in values.items():
        head, *rest = path.split(".")
        field = f"{head}_s" if head in TIMES else head
        if len(rest) == 2:
            nested.setdefault((head, rest[0]), {})[rest[1]] = value
        elif rest:
            table = update.setdefault(field, dict(getattr(efficiency, field)))
            table[rest[0]] = value
        else:
            update[field] = value
    for (head, precision), costs in nested.items():
        table = update.setdefault(head, dict(getattr(efficiency, head)))
        table[precision] = NESTED[head].model_validate(costs)
    return efficiency.model_copy(update=update)


def bounds_of(path: str) -> tuple[float, float, float]:
    """Lowest, highest and first value of a parameter."""
    head, *rest = path.split(".")
    return BOUNDS[f"{head}.{rest[1]}" if len(rest) == 2 else head]


def fit(
    catalog: Catalog, groups: Sequence[Group], base: Efficiency, paths: Sequence[str], apply: Apply | None = None
) -> dict[str, float]:
    """Values of `paths` that make the logarithmic errors of the groups least."""
    set_to = apply or with_values
    low, high, start = (np.log([bounds_of(p)[i] for p in paths]) for i in range(3))

    def residuals(x: Floats) -> Floats:
        efficiency = set_to(base, dict(zip(paths, np.exp(x).tolist(), strict=True)))
        return np.concatenate([np.log(g.predict_s(catalog, efficiency) / g.time_s) for g in groups])

    solutions = [
        least_squares(
            residuals, np.clip(start + np.log(f), low + 1e-6, high - 1e-6), bounds=(low, high), loss="soft_l1",
            f_scale=LOSS_SCALE, xtol=1e-5, ftol=1e-6,
        )
        for f in (0.5, 1.0, 2.0)
    ]  # fmt: skip
    found = min(solutions, key=lambda s: s.cost)
    return dict(zip(paths, np.exp(found.x).tolist(), strict=True))


def bare(efficiency: Efficiency) -> Efficiency:
    """The efficiencies without what the terms replace."""
    update = {name: field.get_default() for name, field in Efficiency.model_fields.items() if not field.is_required()}
    return efficiency.model_copy(update=update)


def of(groups: Sequence[Group], accelerator: str, engine: str, labels: Sequence[str] = ()) -> list[Group]:
    """The groups of an accelerator and engine, and of some labels where they are given."""
    mine = [g for g in groups if (g.accelerator, g.engine) == (accelerator, engine)]
    return [g for g in mine if not labels or g.label in labels]


def fit_all(catalog: Catalog, accelerator: str, engine: str) -> dict[str, float]:
    """All terms of one accelerator under one engine; what the tables do not have is left out."""
    base = bare(catalog.runtime("vllm-2026").efficiency(catalog.accelerator(accelerator)))
    found: dict[str, float] = {}

    def stage(groups: list[Group], paths: Sequence[str]) -> None:
        nonlocal base
        if groups:
            values = fit(catalog, groups, base, paths)
            found.update(values)
            base = with_values(base, values)

    stage(
        of(GEMM, accelerator, engine, ("bfloat16",)),
        ("gemm.bf16", "gemm_half.bf16", "weight_streaming", "kernel_launch"),
    )
    for p, labels in list(PRODUCTS.items())[1:]:
        names = ("gemm", "gemm_half", "gemm_launch", *(("gemm_input_bytes",) if p in QUANTISED else ()))
        stage(first(GEMM, accelerator, engine, labels), [f"{n}.{p}" for n in names])
    stage(of(ATTENTION, accelerator, engine), ("prefill_attention", "decode_attention", "attention_launch"))
    stage(of(ALL_REDUCE, accelerator, engine), ("one_shot_alpha", "one_shot_link", "direct_rank",
          "direct_all_reduce_alpha", "direct_link", "all_reduce_alpha", "link"))  # fmt: skip
    for p, labels in EXPERT_LABELS.items():
        names = ("gemm", "half_tokens", "streaming", "launch", "spread")
        stage(first(EXPERTS, accelerator, engine, labels), [f"experts.{p}.{n}" for n in names])
    for p in ("bf16", "fp8", "fp4"):
        mine = [g for g in of(LATENT, accelerator, engine) if g.precision == p]
        stage(mine, [f"latent.{p}.{n}" for n in ("gemm", "half_tokens", "launch", "prefill", "decode")])
    return found


def first(groups: Sequence[Group], accelerator: str, engine: str, labels: Sequence[str]) -> list[Group]:
    """The groups with the first of the labels that there is."""
    return next((f for label in labels if (f := of(groups, accelerator, engine, (label,)))), [])


def exchange_of(catalog: Catalog, accelerator: str, engine: str) -> dict[str, dict[str, dict[str, float]]]:
    """Costs of the exchanges of tokens, by form and direction."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    base = catalog.runtime("vllm-2026").efficiency(catalog.accelerator(accelerator))
    for form in FORMS:
        for phase in (kernels.DISPATCH, kernels.COMBINE):
            groups = [g for g in of(EXCHANGE, accelerator, engine) if g.kind == phase
                      and bool(g.shape["low_latency"][0]) == (form == FORMS[0])]  # fmt: skip
            if not groups:
                continue
            across = any((g.shape["machines"] > 1).any() for g in groups)
            paths = ("alpha", "exchange_link", *(("node_alpha", "network") if across else ()))

            def applied(efficiency: Efficiency, values: Values, form: str = form) -> Efficiency:
                return efficiency.model_copy(update={f"{form}_exchange": both(values)})

            values = fit(catalog, groups, base, paths, applied)
            width = float(np.median(np.concatenate([g.shape["width"] for g in groups])))
            found.setdefault(form, {})[phase] = values | {"bytes_per_element": width}
    return found


def both(values: Values) -> ExpertExchange:
    """An exchange whose two directions cost the same."""
    costs = ExchangeCosts(
        alpha_s=values["alpha"],
        node_alpha_s=values.get("node_alpha", 0.0),
        link=values["exchange_link"],
        network=values.get("network"),
        bytes_per_element=values.get("bytes_per_element", 1.0),
    )
    return ExpertExchange(dispatch=costs, combine=costs)


def stands(group: Group) -> bool:
    """Whether the group's label is what its precision was fitted to."""
    table = {kernels.GEMM: (GEMM, PRODUCTS), kernels.EXPERTS: (EXPERTS, EXPERT_LABELS)}.get(group.kind)
    if table is None:
        return True
    groups, labels = table
    return group in first(groups, group.accelerator, group.engine, labels.get(group.precision, ()))


def errors_of(catalog: Catalog, group: Group, values: Values, exchange: Mapping[str, Mapping[str, Values]]) -> Floats:
    """Relative errors of a group with fitted values."""
    base = bare(catalog.runtime("vllm-2026").efficiency(catalog.accelerator(group.accelerator)))
    efficiency = with_values(base, values)
    if group.kind in (kernels.DISPATCH, kernels.COMBINE):
        form = FORMS[0] if group.shape["low_latency"][0] else FORMS[1]
        efficiency = efficiency.model_copy(update={f"{form}_exchange": both(exchange[form][group.kind])})
    return group.predict_s(catalog, efficiency) / group.time_s - 1.0


def left_out(catalog: Catalog) -> list[tuple[str, ...]]:
    """Median absolute errors of each term for a GPU or an engine whose values are the geometric mean of the others'."""
    found = {(a, e): (fit_all(catalog, a, e), exchange_of(catalog, a, e)) for a in ACCELERATORS for e in ENGINES}

    def mean(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = {n for part in parts for n in part}
        return {n: _mean([part[n] for part in parts if n in part], mean) for n in names}

    rows: list[tuple[str, ...]] = []
    for kind, outs in (("GPU", ACCELERATORS), ("engine", ENGINES)):
        for out in outs:
            for term, groups in TERMS.items():
                sizes = []
                for g in groups:
                    if out not in (g.accelerator, g.engine) or not stands(g):
                        continue
                    others = [
                        found[k] for k in found
                        if k != (g.accelerator, g.engine)
                        and (k[1] == g.engine if kind == "GPU" else k[0] == g.accelerator)
                    ]  # fmt: skip
                    values, exchange = (mean([o[i] for o in others]) for i in (0, 1))
                    try:
                        sizes.append(np.abs(errors_of(catalog, g, values, exchange)))
                    except (KeyError, ValueError):  # no other has such kernels
                        continue
                if sizes:
                    size = np.concatenate(sizes)
                    rows.append((out, term, f"{size.size}", f"{np.median(size):.1%}"))
    return rows


def _mean(values: Sequence[Any], of_tables: Callable[[Sequence[Any]], Any]) -> Any:
    return of_tables(values) if isinstance(values[0], dict) else float(np.exp(np.mean(np.log(values))))


GEMM = kernel_tables.gemm()
ATTENTION = kernel_tables.attention()
ALL_REDUCE = kernel_tables.all_reduce()
EXPERTS = kernel_tables.experts()
LATENT = kernel_tables.latent()
EXCHANGE = kernel_tables.exchange()
TERMS: dict[str, list[Group]] = {
    "products": GEMM, "attention": ATTENTION, "all-reduce": ALL_REDUCE, "experts": EXPERTS, "latent attention": LATENT,
    "all-to-all": EXCHANGE,
}  # fmt: skip


def main() -> None:
    """Fit, print, and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--cache", type=Path, help="write the values as JSON")
    parser.add_argument("--left-out", action="store_true", help="predict each GPU and engine from the others")
    arguments = parser.parse_args()
    catalog = Catalog.default()
    if arguments.left_out:
        for row in left_out(catalog):
            print(*row)
        return
    kept: dict[str, dict[str, object]] = {}
    sizes: dict[str, list[Floats]] = {term: [] for term in TERMS}
    standing: dict[str, list[Floats]] = {term: [] for term in TERMS}
    for accelerator in ACCELERATORS:
        for engine in ENGINES:
            values, exchange = fit_all(catalog, accelerator, engine), exchange_of(catalog, accelerator, engine)
            kept[f"{accelerator}/{engine}"] = {"values": values, "exchange": exchange}
            print(accelerator, engine, {k: float(f"{v:.3g}") for k, v in values.items()})
            for term, groups in TERMS.items():
                for group in of(groups, accelerator, engine):
                    size = np.abs(errors_of(catalog, group, values, exchange))
                    sizes[term].append(size)
                    if stands(group):
                        standing[term].append(size)
                    print(f"  {term:17} {group.kind:18} {group.label:26} n {size.size:4} median {np.median(size):6.1%} "
                          f"mean {size.mean():6.1%}", flush=True)  # fmt: skip
    for name, of_term in (("fitted", standing), ("all", sizes)):
        for term, found in of_term.items():
            every = np.concatenate(found)
            print(f"{term:17} {name:6} n {every.size:5} median {np.median(every):6.1%} mean {every.mean():6.1%}")
    if arguments.cache:
        arguments.cache.write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
