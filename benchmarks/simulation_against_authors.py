"""This simulator against the published results of the Splitwise authors' simulator, row by row.

    python benchmarks/simulation_against_authors.py [DATA]

DATA holds `splitwise_profile.csv`, `code70_arrivals.csv` and `splitwise_sim_code70.csv`; default ../shared/data.
Prints, for each row, the ratio of simulated to published percentiles in seconds, and both verdicts on the nine
objectives (slowdown against one request alone on a DGX-A100, as in Table VI of the paper); then how many rows agree.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.simulation.arrivals import Requests, requests_of
from planner.simulation.engine import simulate_requests
from planner.simulation.outcome import Outcome
from planner.simulation.specification import LaneSpec, Way
from planner.simulation.splitwise_simulator import (
    BASELINE_POLICY,
    SPLIT_POLICY,
    SplitwiseSimulatorSteps,
    kv_bytes_per_token,
    read_splitwise_steps,
    splitwise_lanes,
    splitwise_wire,
)

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
PERCENTILES = (50, 90, 99)
METRICS = ("ttft", "tbt", "e2e")
LIMITS = {"ttft": (2.0, 3.0, 6.0), "tbt": (1.25, 1.5, 5.0), "e2e": (1.25, 1.5, 5.0)}
LIMIT_OF = {(m, p): limit for m in METRICS for p, limit in zip(PERCENTILES, LIMITS[m], strict=True)}
WEIGHT_BYTES = 329e9  # BLOOM-176B
BYTES_PER_TOKEN = kv_bytes_per_token(70, 14336)
HARDWARE = {"A": "a100-80gb", "H": "h100-80gb", "Hcap": "h100-80gb-pcap"}


@dataclass(frozen=True)
class Row:
    """One published run beside the same cluster simulated here."""

    design: str
    prompt_machines: int
    token_machines: int
    published_s: dict[tuple[str, int], float]
    simulated_s: dict[tuple[str, int], float]
    published_slowdown: dict[tuple[str, int], float]
    simulated_slowdown: dict[tuple[str, int], float]
    published_met: bool

    @property
    def simulated_met(self) -> bool:
        """All nine objectives."""
        return all(self.simulated_slowdown[k] < limit for k, limit in LIMIT_OF.items())

    @property
    def agrees(self) -> bool:
        """The same verdict."""
        return self.simulated_met == self.published_met

    def error(self, metric: str, percentile: int) -> float:
        """Relative difference in seconds."""
        return self.simulated_s[metric, percentile] / self.published_s[metric, percentile] - 1.0

    @property
    def closest_to_limit(self) -> float:
        """Relative distance of the published slowdowns to the nearest limit: how sure the verdict is."""
        return min(abs(self.published_slowdown[k] / limit - 1.0) for k, limit in LIMIT_OF.items())


class Comparison:
    """The authors' trace, profile and clusters."""

    def __init__(self, data: Path) -> None:
        self._data = data
        with (data / "code70_arrivals.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.requests: Requests = requests_of(
            *([float(r[c]) for r in rows] for c in ("arrival_timestamp", "prompt_size", "token_size"))
        )
        self._steps: dict[str, SplitwiseSimulatorSteps] = {}

    def steps(self, kind: str) -> SplitwiseSimulatorSteps:
        """Step times on A, H or Hcap."""
        if kind not in self._steps:
            self._steps[kind] = read_splitwise_steps(self._data / "splitwise_profile.csv", "bloom-176b", HARDWARE[kind])
        return self._steps[kind]

    def simulate(self, design: str, prompt_machines: int, token_machines: int) -> Outcome:
        """One cluster on the authors' trace."""
        longest = int(self.requests.prompt_tokens.max())

        def lanes(kind: str, role: str, pool: int, first: int, count: int) -> list[LaneSpec]:
            return splitwise_lanes(
                self.steps(kind), role, pool, first, count,  # type: ignore[arg-type]
                weight_bytes=WEIGHT_BYTES, bytes_per_token=BYTES_PER_TOKEN, longest_prompt=longest,
            )  # fmt: skip

        family, _, letters = design.partition("-")
        if family == "Baseline":
            cluster = lanes(letters[0], "mixed", 0, 0, prompt_machines)
            ways: list[Way] = [(0, None, 1.0)]
            return simulate_requests(cluster, ways, {}, self.requests, policy=BASELINE_POLICY)
        token_kind = "Hcap" if letters == "HHcap" else letters[1]
        cluster = [
            *lanes(letters[0], "prefill", 0, 0, prompt_machines),
            *lanes(token_kind, "decode", 1, prompt_machines, token_machines),
        ]
        wires = {(i, j): splitwise_wire(BYTES_PER_TOKEN) for i in (0, 1) for j in (0, 1)}
        return simulate_requests(cluster, [(0, 1, 1.0)], wires, self.requests, policy=SPLIT_POLICY)

    def latencies(self, outcome: Outcome) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Seconds and slowdowns as the authors define them: TBT is over all output tokens, the first included."""
        arrival, output = self.requests.arrival_s, self.requests.output_tokens
        seconds = {
            "ttft": outcome.first_token_s - arrival,
            "tbt": (outcome.finish_s - outcome.first_token_s) / output,
            "e2e": outcome.finish_s - arrival,
        }
        alone = self.steps("A")
        prompt_s = alone.prompt_time_s(self.requests.prompt_tokens.astype(float))
        reference = {"ttft": prompt_s, "tbt": alone.one_token_s, "e2e": prompt_s + alone.one_token_s * output}
        return seconds, {m: seconds[m] / reference[m] for m in METRICS}

    def rows(self, every: int = 1) -> Iterator[Row]:
        """The published runs, or every second, third ... of them."""
        with (self._data / "splitwise_sim_code70.csv").open(newline="") as file:
            for row in itertools.islice(csv.DictReader(file), 0, None, every):
                counts = int(row["prompt_machines"]), int(row["token_machines"])
                seconds, slowdown = self.latencies(self.simulate(row["design"], *counts))
                both = [(m, p) for m in METRICS for p in PERCENTILES]
                yield Row(
                    row["design"], *counts,
                    {(m, p): float(row[f"{m}_seconds_p{p}"]) for m, p in both},
                    {(m, p): float(np.percentile(seconds[m], p)) for m, p in both},
                    {(m, p): float(row[f"{m}_slowdown_p{p}"]) for m, p in both},
                    {(m, p): float(np.percentile(slowdown[m], p)) for m, p in both},
                    row["nine_objectives_met"] == "True",
                )  # fmt: skip


def within(rows: list[Row]) -> dict[tuple[str, int], float]:
    """Share of rows whose percentile is within 10 % at P50 and P90, 20 % at P99."""
    return {
        (m, p): float(np.mean([abs(r.error(m, p)) <= (0.2 if p == 99 else 0.1) for r in rows]))
        for m in METRICS
        for p in PERCENTILES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    comparison = Comparison(parser.parse_args().data)
    start, rows = time.perf_counter(), []
    names = [f"{m} p{p}" for m in METRICS for p in PERCENTILES]
    print(f"{'design':16} {'machines':>8}  " + " ".join(f"{n:>9}" for n in names) + "  met: published, here")
    for row in comparison.rows():
        rows.append(row)
        errors = " ".join(f"{row.error(m, p):+9.1%}" for m in METRICS for p in PERCENTILES)
        verdict = f"{row.published_met!s:5} {row.simulated_met!s:5}{'' if row.agrees else ' <'}"
        print(f"{row.design:16} {row.prompt_machines:4}+{row.token_machines:<3}  {errors}  {verdict}")
    took = time.perf_counter() - start
    print(f"\n{len(rows)} runs of {len(comparison.requests):,} requests in {took:.1f} s")
    for title, chosen in (
        ("all rows", rows),
        ("rows that meet the nine objectives", [r for r in rows if r.published_met]),
    ):
        shares = within(chosen)
        worst = {k: max(abs(r.error(*k)) for r in chosen) for k in shares}
        median = {k: float(np.median([abs(r.error(*k)) for r in chosen])) for k in shares}
        print(f"\n{title} ({len(chosen)}): within 10 % (P50, P90) or 20 % (P99); median and worst error")
        for m, p in shares:
            print(f"  {m:4} p{p}: {shares[m, p]:4.0%}   {median[m, p]:6.1%} {worst[m, p]:6.1%}")
    same = sum(r.agrees for r in rows)
    print(f"\nsame verdict on the nine objectives: {same} of {len(rows)} ({same / len(rows):.0%})")
    for r in rows:
        if not r.agrees:
            cluster = f"{r.design} {r.prompt_machines}+{r.token_machines}"
            print(f"  differs: {cluster}, published {r.closest_to_limit:.1%} from a limit")


if __name__ == "__main__":
    main()
