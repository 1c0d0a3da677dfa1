"""A simulation as text for a terminal: whether the objectives hold, by how much, and what happened on the way."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.tables.text import aligned, counted, labelled, number, percent, wrapped
from planner.simulation.report import (
    ArrivalReport,
    IntervalReport,
    ObjectiveReport,
    PercentileReport,
    SimulationReport,
)
from planner.units import format_power, format_time
from planner.workload.objectives import METRIC_TITLES

WIDTH = 100
_LABEL_WIDTH = 11
_WIDE_ENOUGH_FOR_MEANS = 90
_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_TITLES = METRIC_TITLES | {"largest_gap": "longest gap", "queueing": "queueing", "transfer": "KV transfer"}


def simulation_table(report: SimulationReport, *, width: int = WIDTH, colour: bool = False) -> str:
    """Return a simulation as text.

    Parameters
    ----------
    report : SimulationReport
    width : int
        Columns that running text may take; a table takes what it needs.
    colour : bool
        Whether to mark met and missed objectives in colour, for terminals.
    """
    blocks = [_headline(report, width), _pools(report), _objectives(report, colour), _latencies(report, width)]
    blocks.append(_remarks(report, width))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(report: SimulationReport, width: int) -> list[str]:
    first = (
        f"{report.design} for {report.model} ({report.precision}, {report.runtime}), "
        f"{report.workload} at {number(report.arrivals.rate_per_s)} requests/s"
    )
    if report.arrivals.kind == "rates":
        first += " on average"
    if report.load != 1.0:
        first += f" ({number(report.load)}x load)"
    lines = [*wrapped(first, width), *wrapped(_verdict(report), width)]
    runs = counted(len(report.seeds), "run")
    what = f"{counted(report.n_requests, 'request')} in {runs}, {format_time(report.simulated_s)} of traffic"
    return [*lines, *wrapped(f"Simulated {what}", width)]


def _verdict(report: SimulationReport) -> str:
    if not report.stable:
        return "UNSTABLE: it cannot keep up, and latency grows as long as the load lasts"
    missed = [_title(o) for o in report.objectives if not o.met]
    verdict = f"Does not meet the objectives ({', '.join(missed)})" if missed else "Meets the objectives"
    return f"INTERRUPTED, of the part until then: {verdict[0].lower()}{verdict[1:]}" if report.interrupted else verdict


def _pools(report: SimulationReport) -> list[str]:
    titles = ["role", "machine", "count", "replicas", "busy", "prompts", "batch", "KV memory", "kW drawn"]
    rows = [
        [
            pool.role, pool.machine, f"{pool.count:,}", pool.layout, _share(pool.busy), _share(pool.prompt_share),
            "-" if pool.batch is None else number(pool.batch, 3), _share(pool.memory_used),
            "-" if pool.power_w is None else f"{pool.power_w / 1e3:,.1f}",
        ]
        for pool in report.pools
    ]  # fmt: skip
    return aligned(titles, rows, right=("count", "busy", "prompts", "batch", "KV memory", "kW drawn"))


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _title(objective: ObjectiveReport) -> str:
    return f"{METRIC_TITLES[objective.metric]} p{number(objective.percentile, 6)}"


def _objectives(report: SimulationReport, colour: bool) -> list[str]:
    titles = ["objective", "limit", "predicted", "simulated (95 %)", "late (allowed)", ""]
    rows = []
    for o in report.objectives:
        rows.append([
            _title(o),
            _quantity(o.limit, o.unit),
            _predicted(o.simulated, o.unit),
            _interval(o.simulated, o.unit) if report.stable else "grows without end",
            "-" if o.late.high is None else f"{_small(o.late.high)} ({_small(o.allowed)})",
            "met" if o.met else "MISSED",
        ])  # fmt: skip
    lines = aligned(titles, rows)
    if not colour:
        return lines
    marked = [lines[0]]
    for line, o in zip(lines[1:], report.objectives, strict=True):
        word = "met" if o.met else "MISSED"
        marked.append(f"{line.removesuffix(word)}{_GREEN if o.met else _RED}{word}{_PLAIN}")
    return marked


def _small(share: float) -> str:
    """A share of requests with the digits that matter for a 99th percentile."""
    return percent(share, 2 if 0 < share < 0.0995 else 1 if 0 < share < 0.995 else 0)


def _quantity(value: float, unit: str) -> str:
    return format_time(value) if unit == "s" else f"{number(value, 3)}x"


def _predicted(percentile: PercentileReport, unit: str) -> str:
    if percentile.predicted is None:
        return "-"
    error = percentile.prediction_error
    return _quantity(percentile.predicted, unit) + (f" ({100 * error:+.0f} %)" if error is not None else "")


def _interval(interval: IntervalReport, unit: str = "s") -> str:
    """`452 ms (440 - 464)`: one unit for all three."""
    if interval.value is None:
        return "-"
    scale, suffix = (1.0, "x") if unit == "x" else _scale(interval.value)
    low, high = (
        "?" if bound is None else number(max(bound, 0.0) * scale, 3) for bound in (interval.low, interval.high)
    )
    return f"{number(interval.value * scale, 3)}{suffix} ({low}-{high})"


def _scale(seconds: float) -> tuple[float, str]:
    if seconds < 0.9995:
        return 1e3, " ms"
    return (1.0, " s") if seconds < 7200 else (1 / 3600, " h")


def _latencies(report: SimulationReport, width: int) -> list[str]:
    if not report.stable:
        return []
    titles = ["latency", "mean", "p50", "p90", "p99"]
    rows = []
    for latency in report.latencies:
        if latency.mean.value is None:
            continue
        percentiles = (latency.p50, latency.p90, latency.p99)
        mean = format_time(latency.mean.value)
        rows.append([_TITLES[latency.metric], mean, *(_interval(p) for p in percentiles)])
        if any(p.predicted is not None for p in percentiles):
            rows.append(["  predicted", "", *(_predicted(p, "s") for p in percentiles)])
    if width < _WIDE_ENOUGH_FOR_MEANS:
        titles, rows = [titles[0], *titles[2:]], [[row[0], *row[2:]] for row in rows]
    return aligned(titles, rows) if rows else []


def _remarks(report: SimulationReport, width: int) -> list[str]:
    lines: list[str] = []
    for label, text in _labels(report):
        lines += labelled(label, text, label_width=_LABEL_WIDTH, width=width)
    return lines


def _labels(report: SimulationReport) -> Iterator[tuple[str, str]]:
    yield "Arrivals", _arrivals(report.arrivals, report)
    yield "Policy", report.policy_name.replace("jsq", "jsq (join the shortest queue)", 1)
    if report.power_w is not None and report.energy_per_request_j is not None:
        yield "Energy", f"{format_power(report.power_w)} on average, {_energy(report.energy_per_request_j)} a request"
    yield "Memory", _memory(report)
    if report.policy.get("overflow"):
        yield "Overflow", f"{counted(report.n_overflowed, 'request')} went to the other pool"
    if report.failures:
        down = (
            f"{f.machine} from {format_time(f.at_s)}"
            + ("" if f.repaired_s is None else f" to {format_time(f.repaired_s)}")
            for f in report.failures
        )
        yield "Failures", f"{', '.join(down)}; {counted(report.n_restarted, 'request')} began again"
    yield "Counted", _counted(report)
    if any(o.unit == "x" for o in report.objectives):
        yield (
            "Slowdown",
            f"x is against the same request alone on {report.scenario.get('reference_machine', 'the reference')}",
        )
    if any(o.simulated.predicted is not None for o in report.objectives):
        yield "Predicted", "by the formulas of planner evaluate; in brackets how far they are off"
    yield "Late", "at most so many requests are, at the upper end of the 95 % interval"
    source = "measured" if report.scenario.get("profile") else "modelled"
    yield "Trust", f"{source} step times +/- {percent(report.step_time_error)}; intervals say only how far chance goes"
    for n, note in enumerate(report.notes):
        yield "" if n else "Notes", note


def _arrivals(arrivals: ArrivalReport, report: SimulationReport) -> str:
    if arrivals.kind == "replay":
        how = "stretched to this rate" if arrivals.rescaled or report.load != 1.0 else "with its own timestamps"
        played = f", {arrivals.repeat:,} times" if arrivals.repeat > 1 else ""
        text = f"{report.workload} replayed {how}{played}; CV2 of the gaps {number(arrivals.cv2, 3)}"
        return text + (f"; {report.n_together:,} came together with the one before" if report.n_together else "")
    seeds = ", ".join(map(str, report.seeds))
    several = "seeds" if len(report.seeds) > 1 else "seed"
    if arrivals.kind == "closed":
        return f"of users who send the next request when the last one is answered, {several} {seeds}"
    shape = "Poisson" if arrivals.cv2 == 1.0 else f"gamma gaps of CV2 {number(arrivals.cv2, 3)}"
    shape = shape if arrivals.cv2 > 0 else "at even gaps"
    if arrivals.kind == "rates":
        rates = " / ".join(number(rate, 3) for rate in arrivals.rates_per_s[:12])
        more = " / ..." if len(arrivals.rates_per_s) > 12 else ""
        shape = f"{shape} at {rates}{more} requests/s, {format_time(arrivals.period_s or 0.0)} each"
    return f"{shape}, {several} {seeds}"


def _energy(joules: float) -> str:
    return f"{number(joules, 3)} J" if joules < 1e4 else f"{number(joules / 3.6e6, 3)} kWh"


def _memory(report: SimulationReport) -> str:
    waited = counted(report.n_waited_for_memory, "request") if report.n_waited_for_memory else "no request"
    texts = [f"{waited} waited for KV memory after the prompt"]
    if report.n_preempted:
        texts.append(f"{counted(report.n_preempted, 'time')} one was pre-empted and computed again")
    if report.n_too_large:
        named = "; ".join(report.too_large[:3])
        fit = "fits" if report.n_too_large == 1 else "fit"
        texts.append(
            f"{counted(report.n_too_large, 'request')} never {fit} ({named}{', ...' * (report.n_too_large > 3)})"
        )
    return "; ".join(texts)


def _counted(report: SimulationReport) -> str:
    left_out = sum(report.warm_up_requests)
    text = f"{counted(report.n_counted, 'request')} that ended, after a warm-up of {left_out:,}"
    return text + (f"; {report.n_unfinished:,} were in flight when it was interrupted" if report.interrupted else "")
