"""Write the runtimes of 2026 from fits to kernels: `python benchmarks/write_runtimes.py FILE`.

FILE is what `fit_kernels.py --cache FILE` kept. Changes the efficiencies in hardware_catalog/runtimes/ and nothing
else: measured accelerators have their own, H200 those of H100 (the same chip with other memory), architectures those of
the measured chip, and the defaults the geometric mean of the measured ones for what does not grow with a chip's peaks.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fit_kernels import ACCELERATORS, ENGINES, FORMS, TIMES
from ruamel.yaml import YAML

RUNTIMES = Path(__file__).resolve().parents[1] / "hardware_catalog" / "runtimes"
ARCHITECTURES = {"ampere": "a100-sxm-80gb", "hopper": "h100-sxm", "blackwell": "b200-sxm"}
AS = {"h200-sxm": "h100-sxm"}
TWINS = {"bf16": "fp16"}  # run at one rate
SHARED = ("kernel_launch", "attention_launch", "one_shot_alpha", "one_shot_link", "direct_rank",
          "direct_all_reduce_alpha", "direct_link", "all_reduce_alpha")  # fmt: skip
EXCHANGE = {"exchange_link": "link", "alpha": "alpha", "node_alpha": "node_alpha", "network": "network",
            "bytes_per_element": "bytes_per_element"}  # fmt: skip


def text(name: str, value: float) -> str | float:
    """A value as the file has it: times in microseconds, three digits."""
    is_time = name in TIMES or name in ("launch", "alpha", "node_alpha", "spread")
    return f"{value * 1e6:.3g} us" if is_time else float(f"{value:.3g}")


def block_of(values: Mapping[str, float], exchange: Mapping[str, Any]) -> dict[str, Any]:
    """Efficiencies of one accelerator under one engine, in the form of a runtime's file."""
    block: dict[str, Any] = {}
    for path, value in values.items():
        head, *rest = path.split(".")
        if not rest:
            block[head] = text(head, value)
        elif len(rest) == 1:
            for precision in (rest[0], *([TWINS[rest[0]]] if rest[0] in TWINS else [])):
                block.setdefault(head, {})[precision] = text(head, value)
        else:
            block.setdefault(head, {}).setdefault(rest[0], {})[rest[1]] = text(rest[1], value)
    for form in FORMS:
        if form in exchange:
            block[f"{form}_exchange"] = {
                phase: {EXCHANGE[name]: text(EXCHANGE[name], value) for name, value in costs.items()}
                for phase, costs in exchange[form].items()
            }
    return block


def put(data: Any, engine: str, kept: Mapping[str, Any]) -> None:
    """Change a runtime's data in place."""
    blocks = {a: block_of(**kept[f"{a}/{engine}"]) for a in ACCELERATORS}
    for accelerator, block in blocks.items():
        # Weight-only experts that an engine's tables lack: those of vLLM, else of SGLang, on the same chip
        # (TensorRT-LLM runs gpt-oss on Hopper by the same Triton kernels as vLLM); INT4 for MXFP4 where there is none.
        others = [block_of(**kept[f"{accelerator}/{e}"])["experts"] for e in ("vllm", "sglang")]
        for precision in ("int4", "mxfp4"):
            alike = next((o[p] for p in (precision, "int4") for o in others if p in o), None)
            if precision not in block["experts"] and alike is not None:
                block["experts"][precision] = alike
    for accelerator in (*ACCELERATORS, *AS):
        old = data["accelerators"].get(accelerator) or {}
        data["accelerators"][accelerator] = merged(old, blocks[AS.get(accelerator, accelerator)])
    for architecture, accelerator in ARCHITECTURES.items():
        own = {name: value for name, value in blocks[accelerator].items() if name != "link"}
        data["architectures"][architecture] = merged(data["architectures"].get(architecture) or {}, own)
    every = [kept[f"{a}/{engine}"]["values"] for a in ACCELERATORS]
    for name in SHARED:
        data["defaults"][name] = text(name, float(np.exp(np.mean([np.log(v[name]) for v in every]))))


def merged(old: Any, new: Mapping[str, Any]) -> Any:
    """The old block with the new values, in its order; tables are replaced whole."""
    kept = {name: value for name, value in old.items() if name not in new and name not in ("gemm",)}
    return {**copy.deepcopy(dict(new)), **kept}


def main(path: str) -> None:
    """Write all three runtimes."""
    kept = json.loads(Path(path).read_text(encoding="utf-8"))
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 118, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    for engine in ENGINES:
        file = RUNTIMES / f"{engine}-2026.yaml"
        data = yaml.load(file)
        put(data, engine, kept)
        temporary = file.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            yaml.dump(data, stream)
        os.replace(temporary, file)


if __name__ == "__main__":
    main(sys.argv[1])
