"""What no accelerator or network of this decade lies outside of: a value beyond has a wrong unit or digit.

Beyond a range by a factor of four or more a value is an error; nearer to it, a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from planner.catalog.schema import Accelerator, Fabric, Machine
from planner.units import format_bandwidth, format_data, format_line_rate, format_power, format_time

Severity = Literal["error", "warning"]
Remark = tuple[Severity, str, str]  # severity, dotted path in the file, message

_CERTAIN_FACTOR = 4.0

_MEMORY_BYTES = (1e9, 2e12)
_MEMORY_BANDWIDTH_BYTES_PER_S = (50e9, 50e12)
_MEMORY_READ_S = (4e-3, 1.5)  # HBM takes 20-40 ms, LPDDR half a second
_SCALE_UP_BANDWIDTH_BYTES_PER_S = (1e9, 5e12)
_TDP_W = (20.0, 5000.0)
_LATENCY_S = (1e-7, 10e-3)

# By precision: dense rate [FLOP/s], and FLOPs to a byte of memory bandwidth.
_PEAK_FLOP_PER_S = {"fp32": (1e12, 1e15), "other": (10e12, 1e17)}
_FLOP_PER_BYTE = {
    "fp32": (1.0, 300.0), "bf16": (15.0, 1000.0), "fp16": (15.0, 1000.0), "fp8": (15.0, 2000.0), "int8": (10.0, 2000.0),
    "fp4": (15.0, 4000.0), "int4": (15.0, 4000.0),
}  # fmt: skip

# One port of a network between machines carries at most 1.6 Tbit/s in 2026; scale-up links carry more.
_PORT_BYTES_PER_S = (1e8, 200e9)
_SCALE_UP_PORT_BYTES_PER_S = (1e9, 2e12)
_SCALE_UP_FAMILIES = ("nvlink", "ici")
_PORT_TOLERANCE = 0.01


def in_range(path: str, value: float, limits: tuple[float, float], show: Callable[[float], str]) -> Iterator[Remark]:
    """Yield a remark on a value outside of its range: an error where a unit or digit is certainly wrong."""
    low, high = limits
    if not low <= value <= high:
        certain = value <= low / _CERTAIN_FACTOR or value >= high * _CERTAIN_FACTOR
        message = f"{path}: {show(value)} is implausible (expected {show(low)} to {show(high)})"
        yield "error" if certain else "warning", path, message


def about_rates(entry: Accelerator) -> Iterator[Remark]:
    """Yield what is implausible about the figures of an accelerator, each by itself and against the others."""
    if not entry.peak:
        yield "error", "peak", "peak: no precision is given"
    fp8, bf16 = entry.peak.get("fp8"), entry.peak.get("bf16")
    if fp8 is not None and bf16 is not None and fp8 < bf16:
        yield "error", "peak.fp8", f"peak.fp8 is below peak.bf16 ({fp8 / 1e12:g} < {bf16 / 1e12:g} TFLOP/s)"
    bandwidth = entry.memory_bandwidth_bytes_per_s
    for precision, peak in entry.peak.items():
        path = f"peak.{precision}"
        limits = _PEAK_FLOP_PER_S.get(precision, _PEAK_FLOP_PER_S["other"])
        alone = list(in_range(path, peak, limits, lambda v: f"{v / 1e12:g} TFLOP/s"))
        yield from alone
        if not alone:
            yield from in_range(
                path, peak / bandwidth, _FLOP_PER_BYTE[precision], lambda v: f"{v:.3g} FLOPs a byte of memory bandwidth"
            )
    yield from in_range("memory", entry.memory_bytes, _MEMORY_BYTES, format_data)
    alone = list(in_range("memory_bandwidth", bandwidth, _MEMORY_BANDWIDTH_BYTES_PER_S, format_bandwidth))
    yield from alone
    if not alone:
        read_s = entry.memory_bytes / bandwidth
        yield from in_range("memory", read_s, _MEMORY_READ_S, lambda v: f"{format_time(v)} to read all of it")
    yield from in_range("tdp", entry.tdp_w, _TDP_W, format_power)
    if entry.scale_up:
        link = entry.scale_up.bandwidth_bytes_per_s
        yield from in_range("scale_up.bandwidth", link, _SCALE_UP_BANDWIDTH_BYTES_PER_S, format_bandwidth)
        if link > bandwidth:
            yield (
                "warning",
                "scale_up.bandwidth",
                f"scale_up.bandwidth: {format_bandwidth(link)} exceeds the memory's {format_bandwidth(bandwidth)}",
            )


def about_port(entry: Machine, fabric: Fabric | None) -> Iterator[Remark]:
    """Yield what is implausible about the NICs of a machine, on the fabric that it names where that is known."""
    path, nic = "network.nic_bandwidth", entry.network.nic_bandwidth_bytes_per_s
    limits = _SCALE_UP_PORT_BYTES_PER_S if fabric and fabric.family in _SCALE_UP_FAMILIES else _PORT_BYTES_PER_S
    if nic > limits[1] and limits[0] <= nic / 8 <= limits[1]:
        yield (
            "error",
            path,
            f"{path}: {format_bandwidth(nic)} is {format_line_rate(nic)}, more than any port has; did you mean: "
            f"{format_line_rate(nic / 8)}?",
        )
    else:
        yield from in_range(path, nic, limits, format_line_rate)
    rate = fabric.line_rate_bytes_per_s if fabric else None
    if fabric and rate is not None and limits[0] <= nic <= limits[1] and nic > rate * (1 + _PORT_TOLERANCE):
        yield (
            "warning",
            path,
            f"{path}: {format_line_rate(nic)} exceeds the line rate of {fabric.name}, {format_line_rate(rate)}",
        )


def about_fabric(entry: Fabric) -> Iterator[Remark]:
    """Yield what is implausible about a network technology."""
    limits = _SCALE_UP_PORT_BYTES_PER_S if entry.family in _SCALE_UP_FAMILIES else _PORT_BYTES_PER_S
    if entry.line_rate_bytes_per_s is not None:
        yield from in_range("line_rate", entry.line_rate_bytes_per_s, limits, format_line_rate)
    yield from in_range("latency", entry.latency_s, _LATENCY_S, format_time)
