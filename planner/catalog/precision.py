"""Number formats of weights and caches."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "mxfp4", "int4"]
PRECISION_BYTES: dict[str, float] = {
    "fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "mxfp4": 0.5, "int4": 0.5,
}  # fmt: skip
# Bytes of a stored value with its share of the scales: `fp4` is NVFP4 (an 8-bit scale for 16 values), `mxfp4` has one
# for 32 (OCP Microscaling 1.0, section 5.2), `int4` a 16-bit scale and a 4-bit zero point for 128 (AWQ, GPTQ).
# Scales of FP8 and INT8 are one a channel or a block of 128 x 128, below 0.1 %.
STORED_BYTES: dict[str, float] = PRECISION_BYTES | {
    "fp4": (4 + 8 / 16) / 8, "mxfp4": (4 + 8 / 32) / 8, "int4": (4 + 20 / 128) / 8,
}  # fmt: skip
