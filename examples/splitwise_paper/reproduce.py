"""The cluster tables and claims of the Splitwise paper beside what this model and its simulation find.

    python reproduce.py [--profile FILE] [--quick] [--no-verify] [--format table|csv]

Paper: Patel et al., Splitwise, ISCA 2024, arXiv 2311.18677v2. BLOOM-176B, 16 bits, eight GPUs a replica; the Azure
traces of 2023 as fitted workloads of the catalog; its nine slowdown objectives (Table VI). Step times come from the
built-in runtime `splitwise-2023`, or from the authors' measured table with --profile (splitwise_profile.csv). Prices
are those of its Table I, and of its Table V where named; power is that of its Table V (overlay/).

`model` is what the formulas find best, `simulated` what is left after proof by simulation. --quick leaves out all but
the first table, --no-verify all simulations.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import planner
from planner.errors import InfeasibleError, PlannerError

HERE = Path(__file__).resolve().parent
SETTING: dict[str, Any] = {
    "model": "bloom-176b",
    "runtime": "splitwise-2023",
    "slo": ["splitwise"],
    "machines": ["dgx-a100", "dgx-h100", "dgx-h100-cap"],
    "prices": ["splitwise-2023"],
    "catalog": [str(HERE / "overlay")],
}
WORKLOADS = {"coding": "azure-code-2023", "conversation": "azure-conv-2023"}
N_H100 = 40  # the budget of every table: what so many DGX H100 cost, or draw
H100_USD_PER_HOUR = 38.0  # Table I; 40 of them cost as much as 86 DGX A100, which is how the paper counts
H100_W = 11_375.0  # overlay/: 40 of them draw as much as 70 DGX A100
OTHER_PRICES = "splitwise-2023-ratio-2.35"  # Table V: one DGX H100 costs 2.35 DGX A100

# Machines of the paper's clusters (prompt, token; a baseline has one pool), by budget, workload and design.
PRINTED: dict[tuple[str, str], dict[str, tuple[int, int]]] = {
    ("iso-power", "coding"): {
        "Baseline-A100": (70, 0), "Baseline-H100": (40, 0), "Splitwise-AA": (55, 15), "Splitwise-HH": (35, 5),
        "Splitwise-HA": (35, 8), "Splitwise-HHcap": (35, 7),
    },
    ("iso-power", "conversation"): {
        "Baseline-A100": (70, 0), "Baseline-H100": (40, 0), "Splitwise-AA": (45, 25), "Splitwise-HH": (25, 15),
        "Splitwise-HA": (25, 26), "Splitwise-HHcap": (25, 21),
    },
    ("iso-cost", "coding"): {
        "Baseline-A100": (86, 0), "Baseline-H100": (40, 0), "Splitwise-AA": (66, 20), "Splitwise-HH": (35, 5),
        "Splitwise-HA": (35, 10), "Splitwise-HHcap": (35, 7),
    },
    ("iso-cost", "conversation"): {
        "Baseline-A100": (86, 0), "Baseline-H100": (40, 0), "Splitwise-AA": (51, 35), "Splitwise-HH": (25, 15),
        "Splitwise-HA": (30, 21), "Splitwise-HHcap": (30, 10),
    },
}  # fmt: skip
ROLE_MACHINES = {
    "Baseline-A100": ("dgx-a100", ""), "Baseline-H100": ("dgx-h100", ""), "Splitwise-AA": ("dgx-a100", "dgx-a100"),
    "Splitwise-HH": ("dgx-h100", "dgx-h100"), "Splitwise-HA": ("dgx-h100", "dgx-a100"),
    "Splitwise-HHcap": ("dgx-h100", "dgx-h100-cap"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line: what the paper prints, what the formulas find, what simulation leaves of it, and why they differ."""

    table: str
    case: str
    paper: str
    model: str
    simulated: str
    why: str = ""


class Reproduction:
    """Plans of the paper's setting, each made once."""

    def __init__(self, profile: str | None, verify: bool) -> None:
        self._setting = SETTING | ({"profile": profile} if profile else {})
        self._verify = verify
        self._known: dict[tuple[object, ...], planner.Plan | None] = {}

    def plan(self, workload: str, design: str, verify: bool, **fields: Any) -> planner.Plan | None:
        """The best plan of a design; None if there is none, or none is asked for."""
        if verify and not self._verify:
            return None
        key = (workload, design, verify, *sorted((k, str(v)) for k, v in fields.items()))
        if key not in self._known:
            tell(f"{design}, {workload}, {', '.join(f'{k}={v}' for k, v in fields.items())}")
            asked = self._setting | {"workload": WORKLOADS[workload], "design": design, "verify": verify} | fields
            try:
                self._known[key] = planner.optimize(asked)
            except InfeasibleError:
                self._known[key] = None
        return self._known[key]

    def carried_per_s(self, workload: str, design: str, counts: tuple[int, int]) -> float:
        """What a given cluster carries within the objectives, by the formulas [requests/s]."""
        first, second = ROLE_MACHINES[design]
        roles = ("prefill", "decode") if second else ("mixed",)
        pools = [
            {"role": role, "machine": machine, "count": n}
            for role, machine, n in zip(roles, (first, second), counts, strict=False)
        ]
        asked = {k: v for k, v in self._setting.items() if k != "machines"}
        plan = planner.evaluate(pools, asked | {"workload": WORKLOADS[workload], "rate": 1.0})
        return plan.headroom if plan.headroom < 16.0 else self._carried(pools, asked, workload)

    def _carried(self, pools: list[dict[str, Any]], asked: dict[str, Any], workload: str) -> float:
        rate = 16.0
        while True:  # evaluate looks for the breaking load up to 16 x; begin nearer to it
            plan = planner.evaluate(pools, asked | {"workload": WORKLOADS[workload], "rate": rate})
            if plan.headroom < 16.0:
                return plan.headroom * rate
            rate *= 16.0


def tell(text: str) -> None:
    """Progress, on stderr if somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{text[:100]}")
        sys.stderr.flush()


def machines(plan: planner.Plan | None) -> str:
    """Counts in the paper's order, prompt and token machines."""
    if plan is None:
        return "none"
    counts = {role: sum(p.count for p in plan.pools if p.role == role) for role in ("prefill", "decode", "mixed")}
    parts = [str(counts["mixed"])] if counts["mixed"] else []
    return " and ".join([*parts, *([f"{counts['prefill']} + {counts['decode']}"] if counts["prefill"] else [])])


def headline(r: Reproduction) -> Iterator[Row]:
    """Cost-optimal Splitwise-HH for coding at 70 requests/s (section VI-B)."""
    model, simulated = (r.plan("coding", "Splitwise-HH", v, rate=70.0) for v in (False, True))
    yield Row(
        "cost-optimal", "Splitwise-HH, coding, 70 requests/s", "27 + 3", machines(model), machines(simulated),
        "decode holds BLOOM's KV cache, 4.1 MB a token, and slows with its batch; the paper's look-up hides that",
    )  # fmt: skip


def clusters(r: Reproduction) -> Iterator[Row]:
    """Throughput-optimal clusters of one budget (Tables of section VI-C and VI-D)."""
    for (budget, workload), designs in PRINTED.items():
        for design, printed in designs.items():
            limit = budget_of(budget)
            model, simulated = (r.plan(workload, design, v, objective="throughput", **limit) for v in (False, True))
            theirs = r.carried_per_s(workload, design, printed)
            text = str(printed[0]) if not printed[1] else f"{printed[0]} + {printed[1]}"
            yield Row(
                f"{budget} throughput, {workload}", design, f"{text}: {theirs:.1f}/s by this model",
                "none" if model is None else f"{machines(model)}: {model.rate_per_s:.1f}/s",
                "" if simulated is None else f"{machines(simulated)}: {simulated.rate_per_s:.1f}/s",
                difference(printed, model, theirs),
            )  # fmt: skip


def budget_of(budget: str) -> dict[str, float]:
    """The budget of so many DGX H100."""
    if budget == "iso-cost":
        return {"max_cost_usd_per_hour": N_H100 * H100_USD_PER_HOUR}
    return {"max_power_w": N_H100 * H100_W}


def difference(printed: tuple[int, int], plan: planner.Plan | None, theirs: float) -> str:
    """Why the optimum is elsewhere."""
    if plan is None:
        return "no cluster meets the nine objectives"
    decode = sum(p.count for p in plan.pools if p.role == "decode")
    if not printed[1] or decode <= printed[1] + 2:
        return ""
    gain = plan.rate_per_s / theirs - 1.0 if theirs > 0 else float("inf")
    more = f"{gain:+.0%}" if gain < 10 else "many times"
    return f"a decode step slows with its batch, so more token machines: {more} of what the paper's mix carries here"


def claims(r: Reproduction) -> Iterator[Row]:
    """Throughput ratios that the text claims, from the tables above."""

    def rate(budget: str, workload: str, design: str, verify: bool) -> float | None:
        plan = r.plan(workload, design, verify, objective="throughput", **budget_of(budget))
        return plan.rate_per_s if plan else None

    def ratio(budget: str, workload: str, design: str, base: str, verify: bool) -> str:
        one, other = (rate(budget, workload, d, verify) for d in (design, base))
        return f"{one / other:.2f} x" if one and other else ""

    for text, budget, design, base, printed in (
        ("AA against Baseline-A100, iso-power", "iso-power", "Splitwise-AA", "Baseline-A100", "2.15 x (conversation)"),
        ("AA against Baseline-H100, iso-cost", "iso-cost", "Splitwise-AA", "Baseline-H100", "1.4 x"),
        (
            "HH against Baseline-H100, iso-power",
            "iso-power",
            "Splitwise-HH",
            "Baseline-H100",
            "2.35 x at most",
        ),
        ("HHcap against Baseline-H100, iso-power", "iso-power", "Splitwise-HHcap", "Baseline-H100", ""),
        ("HA against Baseline-H100, iso-cost", "iso-cost", "Splitwise-HA", "Baseline-H100", "1.18 x at 10 % less cost"),
    ):
        for workload in WORKLOADS:
            yield Row(
                "claim: throughput", f"{text}, {workload}", printed,
                ratio(budget, workload, design, base, False), ratio(budget, workload, design, base, True),
                "splitting pays on coding; on conversation decode dominates, and with its true cost the margin shrinks"
                if workload == "conversation" else "",
            )  # fmt: skip


def orders(r: Reproduction) -> Iterator[Row]:
    """Designs by cost and by power at 70 requests/s: which is least, and by how much under Baseline-H100."""
    for objective, book, printed in (
        ("cost", "splitwise-2023", "AA least: -25 %"),
        ("cost", OTHER_PRICES, "AA least: -25 %"),
        ("power", "splitwise-2023", "HHcap least: -25 %"),
    ):
        for workload in WORKLOADS:
            found = {}
            for verify in (False, True):
                values = {}
                for design in ROLE_MACHINES:
                    plan = r.plan(workload, design, verify, objective=objective, rate=70.0, prices=[book])
                    if plan is not None:
                        values[design] = plan.cost_usd_per_hour if objective == "cost" else plan.power_w
                found[verify] = in_order(values)
            at = f" at prices of {book}" if objective == "cost" else ""
            yield Row(f"designs by {objective}, 70 requests/s{at}", workload, printed, found[False], found[True])


def in_order(values: dict[str, Any]) -> str:
    """Designs from the least, relative to Baseline-H100."""
    base = values.get("Baseline-H100")
    short = {d: d.removeprefix("Splitwise-").replace("Baseline-", "B-") for d in values}
    return ", ".join(
        short[d] + (f" {v / base - 1.0:+.0%}" if base else "") for d, v in sorted(values.items(), key=lambda e: e[1])
    )


def wrong_mix(r: Reproduction) -> Iterator[Row]:
    """Conversation on the machines bought for coding, roles chosen anew (section VI-F)."""
    for design, printed in (("Splitwise-AA", "0 %"), ("Splitwise-HH", "0 %"), ("Splitwise-HA", "-7 %"),
                            ("Splitwise-HHcap", "-7 %")):  # fmt: skip
        losses = []
        for verify in (False, True):
            bought = r.plan("coding", design, verify, objective="throughput", **budget_of("iso-cost"))
            right = r.plan("conversation", design, verify, objective="throughput", **budget_of("iso-cost"))
            if bought is None or right is None:
                losses.append("")
                continue
            stock: dict[str, int] = {}
            for pool in bought.pools:
                stock[pool.machine] = stock.get(pool.machine, 0) + pool.count
            kept = r.plan("conversation", "splitwise", verify, objective="throughput", max_machines=stock,
                          machines=sorted(stock))  # fmt: skip
            losses.append(f"{kept.rate_per_s / right.rate_per_s - 1.0:+.0%}" if kept else "none carried")
        yield Row("conversation on a coding cluster", f"{design}, iso-cost, machines may change role", printed, *losses)


def batch_jobs(r: Reproduction) -> Iterator[Row]:
    """Requests/s per dollar without objectives (section VI-E): splitting degenerates to the baseline."""
    loose = {"slo": ["e2e.p50=1000000s"], "max_utilisation": 1.0, "objective": "throughput"}
    per_dollar: dict[str, list[float | None]] = {}
    for design in ("Baseline-A100", "Splitwise-AA", "Baseline-H100", "Splitwise-HH"):
        for verify in (False,):
            plan = r.plan("conversation", design, verify, **loose, **budget_of("iso-cost"))
            value = plan.rate_per_s / plan.cost_usd_per_hour if plan and plan.cost_usd_per_hour else None
            per_dollar.setdefault(design, []).append(value)
    base = per_dollar["Baseline-H100"][0]
    for design, printed in (("Baseline-A100", 0.89), ("Splitwise-AA", 0.89), ("Baseline-H100", 0.75),
                            ("Splitwise-HH", 0.75)):  # fmt: skip
        value = per_dollar[design][0]
        yield Row(
            "batch jobs, requests/s per $", design, f"{printed} ({printed / 0.75:.2f} x Baseline-H100)",
            f"{value / base:.2f} x Baseline-H100" if value and base else "none", "",
            "the paper's dollars are not defined; ratios are compared",
        )  # fmt: skip


def rows(r: Reproduction, quick: bool) -> Iterator[Row]:
    """All tables in order."""
    yield from headline(r)
    if not quick:
        for table in (clusters, claims, orders, wrong_mix, batch_jobs):
            yield from table(r)


def main() -> int:
    """Print the tables; exit code 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", help="measured step times, the Splitwise authors' table")
    parser.add_argument("--quick", action="store_true", help="the first table only")
    parser.add_argument("--no-verify", action="store_true", help="no simulation")
    parser.add_argument("--format", choices=("table", "csv"), default="table")
    given = parser.parse_args()
    found = rows(Reproduction(given.profile, not given.no_verify), given.quick)
    try:
        if given.format == "csv":
            writer = csv.DictWriter(sys.stdout, [f for f in Row.__dataclass_fields__], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in found)
        else:
            show(found)
    except PlannerError as error:
        print(f"{error}", file=sys.stderr)
        return error.exit_code
    finally:
        tell("")
    return 0


def show(found: Iterator[Row]) -> None:
    """A block a table; a line each for the paper, the model and the simulation where they are long."""
    last = why = ""
    for row in found:
        tell("")
        wide = max(len(row.paper), len(row.model), len(row.simulated)) > 30
        if row.table != last:
            print(("\n" if last else "") + row.table)
            if not wide:
                print(f"  {'':50} {'paper':30} {'model':18} simulated")
            last, why = row.table, ""
        if wide:
            print(f"  {row.case}")
            for name in ("paper", "model", "simulated"):
                if getattr(row, name):
                    print(f"    {name:10} {getattr(row, name)}")
        else:
            print(f"  {row.case:50} {row.paper:30} {row.model:18} {row.simulated}".rstrip())
        if row.why and row.why != why:
            print(f"    {row.why}")
            why = row.why


if __name__ == "__main__":
    raise SystemExit(main())
