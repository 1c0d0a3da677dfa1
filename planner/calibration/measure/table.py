"""Timings as the CSV that `planner calibrate` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from planner.calibration.measure.run import Timing

COLUMNS = ("machine", "kind", "precision", "shape", "latency_us", "spread_us", "calls")


def table_text(timings: Sequence[Timing], machine: str, about: Sequence[str] = ()) -> str:
    """Return the CSV.

    Parameters
    ----------
    timings : sequence of Timing
    machine : str
        Of the catalog, or the name that the driver gives the GPU.
    about : sequence of str
        Comments for its head: versions, date, what was left out.
    """
    text = io.StringIO()
    for line in about:
        text.write(f"# {line}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for timing in timings:
        kernel = timing.kernel
        shape = " ".join(f"{name}={size}" for name, size in kernel.shape)
        times = (f"{timing.latency_s * 1e6:.6g}", f"{timing.spread_s * 1e6:.6g}")
        writer.writerow([machine, kernel.kind, kernel.precision, shape, *times, timing.n_calls])
    return text.getvalue()
