"""A calibration as text for a terminal, and as data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from planner.calibration.fit import Calibration, Fitted
from planner.export.tables.text import aligned, counted, percent, wrapped
from planner.units import format_time

_PHASES = {"tpot": "TPOT"}


def calibration_table(calibration: Calibration, *, width: int = 100) -> str:
    """Return a calibration as text: parameters before and after, errors by phase, the rows that fit worst, notes."""
    head = (
        f"{calibration.runtime} on {calibration.accelerator} ({calibration.machine}), "
        f"fitted to {counted(calibration.n_rows, 'measurement')}"
    )
    lines = [*wrapped(head, width), ""]
    titles = ["parameter", "before", "after", "+/-", "status"]
    lines += aligned(titles, [_parameter(p) for p in calibration.parameters], right=titles[1:4])
    titles = ["mean error", "rows", "before", "after", "worst", "bias", "held out", "worst held out"]
    rows = [
        [
            _PHASES.get(e.phase, e.phase),
            str(e.n_rows),
            _share(e.before.mean),
            _share(e.after.mean),
            _share(e.after.worst),
            _share(e.after.bias, signed=True),
            _share(e.held_out.mean),
            _share(e.held_out.worst),
        ]
        for e in calibration.errors
    ]
    lines += ["", *aligned(titles, rows, right=titles[1:])]
    lines += wrapped(
        f"  Held out: {calibration.held_out_by} at a time. Stated error of step times: {_errors(calibration)}",
        width,
    )
    titles = ["fits worst", "measured", "fitted", "error"]
    rows = [
        [r.label, format_time(r.measured_s), format_time(r.predicted_s), _share(r.error, signed=True)]
        for r in calibration.worst
    ]
    lines += ["", *aligned(titles, rows, right=titles[1:])]
    return "\n".join(lines) + "\n"


def _errors(calibration: Calibration) -> str:
    kinds = [
        f"{percent(e.error)} of {e.family}, {e.layout}, {e.precision}, {e.phase} ({e.n_rows} rows)"
        for e in calibration.stated_errors.values()
    ]
    return "; ".join(kinds) + "; the base's for all else" if kinds else "the base's for all"


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as JSON-ready data; what does not exist is null."""
    record = dataclasses.asdict(dataclasses.replace(calibration, efficiency=None))  # type: ignore[arg-type]
    record["efficiency"] = calibration.efficiency.model_dump(mode="json", by_alias=False)
    record["stated_errors"] = {
        name: stated.model_dump(mode="json", by_alias=False) for name, stated in calibration.stated_errors.items()
    }
    return _finite(record)  # type: ignore[no-any-return]


def parameter_records(calibration: Calibration) -> list[dict[str, object]]:
    """Return one flat record for each parameter."""
    return [dataclasses.asdict(parameter) for parameter in calibration.parameters]


def _parameter(parameter: Fitted) -> list[str]:
    fitted = parameter.error is not None
    return [
        parameter.path,
        _value(parameter, parameter.prior),
        _value(parameter, parameter.value) if fitted else "=",
        percent(parameter.error or 0.0) if fitted else "",
        {"not identified": "not identified, kept", "held": "held"}.get(parameter.status, parameter.status),
    ]


def _value(parameter: Fitted, value: float) -> str:
    return format_time(value) if parameter.unit == "s" else f"{value:.3g}"


def _share(value: float, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "-"
    text = percent(value, 1)
    return f"+{text}" if signed and value > 0 and not text.startswith("0.0") else text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(below) for below in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
