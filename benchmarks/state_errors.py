"""State the errors of the runtimes of 2026 from measurements that they were not fitted to: writes `stated_errors`.

    python benchmarks/state_errors.py            # what they are
    python benchmarks/state_errors.py --write    # and put them into hardware_catalog/runtimes/

An error is what four rows in five stay within, but no more than 2.5 times their median: steps summed from kernels
(prefill and decode, dense) and served time between tokens (decode), by family, layout, precision and phase.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import as_kernels, expert_error, serving_errors, step_errors
from measurements import kernel_steps, moe_runs, serving_runs
from ruamel.yaml import YAML

from planner.catalog.catalog import Catalog

RUNTIMES = Path(__file__).resolve().parents[1] / "hardware_catalog" / "runtimes"
Key = tuple[str, str, str, str]  # family, layout, precision, phase


def errors_of(catalog: Catalog, engine: str) -> dict[Key, list[float]]:
    """Absolute relative errors of an engine's runtime by kind."""
    runtime = catalog.runtime(f"{engine}-2026")
    found: dict[Key, list[float]] = defaultdict(list)
    steps = kernel_steps(backend=engine)
    if steps:
        for s, e in zip(steps, step_errors(catalog, as_kernels(runtime), steps), strict=True):
            found["dense", "one" if s.tensor_parallel == 1 else "tensor", s.precision, s.phase].append(abs(e))
    runs = [r for r in serving_runs() if r.backend == engine and (r.input_tokens, r.output_tokens) != (4000, 1000)]
    for run, error in zip(runs, serving_errors(catalog, runtime, runs)[0] if runs else [], strict=True):
        layout = "one" if run.tensor_parallel == 1 else "tensor"
        found["dense", layout, run.precision, "decode"].append(abs(error))
    for r in moe_runs():
        if r.engine == engine and not r.multi_token:
            family = "latent-experts" if r.model == "deepseek-v3" else "experts"
            spread = r.expert_parallel > 1 or r.attention_data_parallel > 1
            alone = r.tensor_parallel * r.attention_data_parallel == 1
            layout = "spread" if spread else "one" if alone else "tensor"
            precision = "fp8" if r.model == "deepseek-v3" else "mxfp4"
            found[family, layout, precision, "decode"].append(abs(expert_error(catalog, r)))
    return found


def stated(errors: list[float]) -> float:
    """What four rows in five stay within, at most 2.5 times the median."""
    return float(min(np.quantile(errors, 0.8), 2.5 * np.median(errors)))


def main() -> None:
    """Print, and write if asked to."""
    catalog = Catalog.default()
    for engine in ("vllm", "sglang", "trtllm"):
        block: dict[str, Any] = {}
        for key, errors in sorted(errors_of(catalog, engine).items()):
            if len(errors) < 5:
                continue
            family, layout, precision, phase = key
            error = max(stated(errors), 0.02)
            covered = float(np.mean(np.array(errors) <= error + 1e-12))
            print(f"{engine:7} {' '.join(key):40} n {len(errors):4} stated {error:5.1%} "
                  f"median {np.median(errors):5.1%} "
                  f"covers {covered:.0%}")  # fmt: skip
            block["-".join(key)] = {"family": family, "layout": layout, "precision": precision, "phase": phase,
                                    "error": round(error, 3), "n_rows": len(errors)}  # fmt: skip
        if "--write" in sys.argv:
            write(engine, block)


def write(engine: str, block: dict[str, Any]) -> None:
    """Put the errors into a runtime's file."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 118, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = RUNTIMES / f"{engine}-2026.yaml"
    data = yaml.load(file)
    if "stated_errors" in data:
        data["stated_errors"] = block
    else:
        data.insert(list(data).index("kv_transfer"), "stated_errors", block)
    data["provenance"]["stated_errors"] = {
        "kind": "derived",
        "source": "benchmarks/state_errors.py: what four measurements in five stay within, see docs/accuracy.md",
    }
    data["provenance"]["unmeasured_error"] = {
        "kind": "estimate",
        "source": "served mixtures of experts were off by half under an earlier runtime that had not been held to any",
    }
    data["unmeasured_error"] = 0.5
    temporary = file.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        yaml.dump(data, stream)
    os.replace(temporary, file)


if __name__ == "__main__":
    main()
