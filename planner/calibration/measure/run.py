"""Running the kernels of a plan and timing them, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from planner.calibration.measure.plan import Kernel
from planner.calibration.measure.timing import FLUSH_BYTES, Clock
from planner.errors import InputError

BUDGET_S = 240.0
LAUNCHES = 200  # kernels in the graph whose time gives that of one launch


@dataclass(frozen=True)
class Timing:
    """A kernel's time: the median of `n_calls` [s], and the range that half of them lie in [s]."""

    kernel: Kernel
    latency_s: float
    spread_s: float
    n_calls: int


def require_torch() -> Any:
    """Return torch.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import torch
    except ImportError:
        raise InputError(
            "torch is not installed, and kernels are timed with it",
            where="planner measure",
            fix="pip install 'splitwise-planner[gpu]' on the machine with the GPU",
        ) from None
    return torch


def require_gpu() -> tuple[str, int]:
    """Return the name that the driver gives the GPU, and how many there are.

    Raises
    ------
    InputError
        No torch, no GPU that it can use, or GPUs of several kinds.
    """
    torch = require_torch()
    if not torch.cuda.is_available():
        raise InputError(
            "no GPU that torch can use",
            where="planner measure",
            value=f"torch {torch.__version__}",
            fix="run it on the machine with the GPU, with a torch built for its driver",
        )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if len(set(names)) > 1:
        raise InputError(
            "GPUs of several kinds",
            where="planner measure",
            value=", ".join(names),
            fix="show it those of one kind: CUDA_VISIBLE_DEVICES=0",
        )
    return names[0], len(names)


def measure_kernels(
    kernels: Sequence[Kernel],
    device: str = "cuda",
    *,
    budget_s: float = BUDGET_S,
    flush_bytes: int = FLUSH_BYTES,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[list[Timing], list[str]]:
    """Time kernels one after another.

    Parameters
    ----------
    kernels : sequence of Kernel
    device : str
        What torch calls it.
    budget_s : float
        When it is spent, the rest is left out [s].
    flush_bytes : int
        See `Clock`.
    progress : callable
        Told what is being timed.

    Returns
    -------
    list of Timing, list of str
        And what could not be timed, and why.
    """
    torch = require_torch()
    torch.manual_seed(0)
    clock = Clock(device, flush_bytes)
    started = time.monotonic()
    timings: list[Timing] = []
    notes: list[str] = []
    refused: set[tuple[str, str]] = set()
    local = [k for k in kernels if k.kind != "all-reduce"]
    share_s = 0.6 * budget_s / max(len(local), 1)
    for n, kernel in enumerate(local):
        if time.monotonic() - started > budget_s:
            notes.append(f"{len(local) - n} kernels left out: the budget of {budget_s:.0f} s is spent")
            break
        if (kernel.kind, kernel.precision) in refused:
            continue
        progress(f"timing {kernel.kind} {kernel.precision} ({n + 1} of {len(local)})")
        try:
            call, count = _call(torch, kernel, device)
            median_s, spread_s, n_calls = clock.time_s(call, min(share_s, 1.0))
        except torch.OutOfMemoryError:
            notes.append(f"{_shown(kernel)} left out: not enough memory")
        except (RuntimeError, NotImplementedError, AttributeError, TypeError) as error:
            # What a device or a version of torch cannot do it says in one of these.
            refused.add((kernel.kind, kernel.precision))
            notes.append(f"{kernel.kind} in {kernel.precision} left out: {str(error).splitlines()[0][:120]}")
        else:
            timings.append(Timing(kernel, median_s / count, spread_s / count, n_calls))
    reduces = [k for k in kernels if k.kind == "all-reduce"]
    left_s = budget_s - (time.monotonic() - started)
    if reduces and left_s > 0:
        from planner.calibration.measure.collectives import measure_all_reduces

        progress("timing all-reduces")
        found, said = measure_all_reduces(reduces, "nccl" if device.startswith("cuda") else "gloo", left_s)
        timings += [Timing(kernel, median_s, spread_s, n) for kernel, median_s, spread_s, n in found]
        notes += said
    return timings, notes


def _shown(kernel: Kernel) -> str:
    return " ".join([kernel.kind, kernel.precision, *(f"{name}={size}" for name, size in kernel.shape)])


def _call(torch: Any, kernel: Kernel, device: str) -> tuple[Callable[[], object], int]:
    """What to time, and how many kernels it runs."""
    if kernel.kind in ("gemm", "weight-streaming"):
        return _product_call(torch, kernel, device), 1
    if kernel.kind == "prefill-attention":
        return _attention_call(torch, kernel, device, kernel.size("tokens"), kernel.size("tokens"), True), 1
    if kernel.kind == "decode-attention":
        return _attention_call(torch, kernel, device, 1, kernel.size("context"), False), 1
    if kernel.kind == "launch":
        return _launches_call(torch, device), LAUNCHES
    raise ValueError(kernel.kind)


def _product_call(torch: Any, kernel: Kernel, device: str) -> Callable[[], object]:
    """x W^T, as linear layers compute it: the weights lie transposed."""
    m, n, k = (kernel.size(name) for name in ("m", "n", "k"))
    if kernel.precision in ("bf16", "fp16"):
        dtype = torch.bfloat16 if kernel.precision == "bf16" else torch.float16
        x = torch.randn(m, k, device=device, dtype=dtype)
        w = torch.randn(n, k, device=device, dtype=dtype)
        return lambda: torch.nn.functional.linear(x, w)
    if kernel.precision == "fp8":
        rows = max(m, 16)  # the product of FP8 wants 16 rows; servers pad as well
        x8 = torch.randn(rows, k, device=device).to(torch.float8_e4m3fn)
        w8 = torch.randn(n, k, device=device).to(torch.float8_e4m3fn).t()
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(x8, w8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    if kernel.precision == "int8":
        rows = max(m, 32)
        xi = torch.randint(-127, 127, (rows, k), device=device, dtype=torch.int8)
        wi = torch.randint(-127, 127, (n, k), device=device, dtype=torch.int8).t()
        return lambda: torch._int_mm(xi, wi)
    raise NotImplementedError("no product of torch in this precision")


def _attention_call(
    torch: Any, kernel: Kernel, device: str, queries: int, keys: int, causal: bool
) -> Callable[[], object]:
    n, heads, kv_heads, width = (kernel.size(name) for name in ("batch", "heads", "kv_heads", "head_dim"))
    q = torch.randn(n, heads, queries, width, device=device, dtype=torch.bfloat16)
    k = torch.randn(n, kv_heads, keys, width, device=device, dtype=torch.bfloat16)
    v = torch.randn(n, kv_heads, keys, width, device=device, dtype=torch.bfloat16)
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda: attend(q, k, v, is_causal=causal, enable_gqa=heads != kv_heads)


def _launches_call(torch: Any, device: str) -> Callable[[], object]:
    """Kernels that do next to nothing, in one CUDA graph as servers launch their decode steps."""
    x = torch.zeros(1, device=device)

    def every() -> None:
        for _ in range(LAUNCHES):
            x.add_(1.0)

    if not device.startswith("cuda"):
        return every
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # a graph is captured after a first run on a side stream
        every()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        every()
    return graph.replay  # type: ignore[no-any-return]
