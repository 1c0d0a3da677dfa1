"""Every verb asked the same questions: what each answers, and whether they agree.

`python benchmarks/agreement.py` asks in full (certificates with the usual number of requests) and prints a table;
`tests/test_agreement.py` asks the same with few requests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import planner

SUMS = ("cost", "power", "machines")  # objectives that are sums over machines at given prices
PAIR = {"machines": ("dgx-a100", "dgx-h100")}  # where a case names none: verbs are compared, not machines
CLIENTS = ("users", "concurrency")  # who wait for answers: a load that is no rate
FEW = {"verify_runs": 1, "verify_requests": 2000}

CASES: Mapping[str, Mapping[str, Any]] = {
    "unlimited": {"rate": 30.0},
    "stock": {"rate": 30.0, "max_machines": {"dgx-h100": 1}},
    "budget": {"rate": 30.0, "max_cost": "200 USD/h"},
    "two machine types": {"rate": 30.0, "max_machines": {"dgx-h100": 1, "dgx-a100": 3}},
    "thin network": {"rate": 30.0, "design": "splitwise", "machines": ("dgx-h100",), "network": "1Gbit/s"},
    "thin network, mixed pools allowed": {"rate": 30.0, "machines": ("dgx-h100",), "network": "1Gbit/s"},
    "pair of one network": {"rate": 30.0, "design": "Splitwise-HA"},
    "stock of a pair is zero": {"rate": 30.0, "design": "Splitwise-HA", "max_machines": {"dgx-a100": 0}},
    "infeasible": {"rate": 100.0, "max_total_machines": 2},
    "unreachable": {"rate": 30.0, "slo": ("ttft=1ms",)},
    "does not fit": {"rate": 30.0, "model": "bloom-176b", "machines": ("g5-48xlarge",)},
    "one machine": {"rate": 3.0, "machines": ("dgx-h100",), "design": "Baseline-H100", "slo": ("ttft=300ms",)},
    "spares": {"rate": 30.0, "spares": 1},
    "two pools": {"rate": 60.0, "max_pools": 2},
    "throughput": {"objective": "throughput", "max_cost": "200 USD/h"},
    "throughput within end-to-end limits": {
        "objective": "throughput", "max_cost": "120 USD/h", "slo": ("ttft=1s", "e2e=30s")
    },
    "power": {"rate": 30.0, "objective": "power"},
    "machines": {"rate": 30.0, "objective": "machines"},
    "carbon": {"rate": 30.0, "objective": "carbon"},
    "end to end": {"rate": 30.0, "slo": ("ttft=1s", "tbt=200ms", "e2e=30s")},
    "slowdowns": {"rate": 20.0, "slo": ("splitwise",)},
    "no price": {"rate": 30.0, "machines": ("dgx-h100-cap", "dgx-a100"), "design": "splitwise"},
    "no such machine": {"rate": 30.0, "machines": ("dgx-h101",)},
    "users": {"users": 300, "think_time": "10s", "isl": 1000, "osl": 200},
    "requests under way": {"concurrency": 100},
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a verb says.

    Attributes
    ----------
    exit_code : int
    reason : str or None
        Why there is no plan, as the verb says it.
    value : float or None
        Of the objective.
    pools : tuple of (str, str, int)
        Role, machine and machines bought, in order; empty where the verb does not say.
    verified : str or None
        What the verb says of simulation.
    design : str or None
    """

    exit_code: int
    reason: str | None = None
    value: float | None = None
    pools: tuple[tuple[str, str, int], ...] = ()
    verified: str | None = None
    design: str | None = None


def value_of(plan: planner.Plan, objective: str) -> float:
    """What is least or most, recomputed from the totals of a plan."""
    if objective == "cost":
        return plan.cost_usd_per_hour or float("nan")
    if objective == "carbon":
        assert plan.energy is not None
        return plan.energy.rated_carbon_kg_per_hour
    return {"power": plan.power_w, "machines": float(plan.machines), "throughput": plan.rate_per_s}[objective]


def pools_of(plan: planner.Plan) -> tuple[tuple[str, str, int], ...]:
    """Pools of a plan as an answer has them."""
    return tuple(sorted((p.role, p.machine, p.count + p.spares) for p in plan.pools))


def of_plan(plan: planner.Plan) -> Answer:
    """The answer that a plan is."""
    objective = str(plan.scenario["objective"])
    confirmed = plan.certificate is None or plan.certificate.status == "confirmed"
    code = 0 if plan.solver.status in ("optimal", "near_tie") and confirmed else 4
    return Answer(code, None, value_of(plan, objective), pools_of(plan), plan.verified, plan.design)


def asked(question: Callable[[], Answer]) -> Answer:
    """An answer, or the error as one."""
    try:
        return question()
    except planner.PlannerError as error:
        return Answer(error.exit_code, error.what)


def optimize(fields: Mapping[str, Any]) -> Answer:
    """`planner.optimize`, what the others are held against."""
    return asked(lambda: of_plan(planner.optimize(**fields)))


def compare(fields: Mapping[str, Any]) -> Answer:
    """The row of the same design."""

    def question() -> Answer:
        own = {name: value for name, value in fields.items() if name not in ("design", "verify", "objective")}
        row = planner.compare(
            designs=[fields.get("design", "auto")], objectives=[fields.get("objective", "cost")],
            verify=fields["verify"], **own,
        ).rows[0]  # fmt: skip
        return of_plan(row.plan) if row.plan is not None else Answer(row.exit_code, row.reason)

    return asked(question)


def alternatives(fields: Mapping[str, Any]) -> Answer:
    """The first plan listed."""
    return asked(lambda: of_plan(planner.alternatives(most=1, within="0 %", **fields).plans[0].plan))


def frontier(fields: Mapping[str, Any]) -> Answer:
    """The point of least y; its machines may be others of the same value, for least x breaks ties."""

    def question() -> Answer:
        objective = fields.get("objective", "cost")
        own = {name: value for name, value in fields.items() if name not in ("objective", "verify")}
        found = planner.frontier(x="machines" if objective != "machines" else "power", y=objective, **own)
        end = min(found.points, key=lambda point: point.y)
        return Answer(0 if end.status == "optimal" else 4, None, end.y, (), end.plan.verified)

    return asked(question)


def sweep(fields: Mapping[str, Any]) -> Answer:
    """A sweep of one scenario."""

    def question() -> Answer:
        row = planner.sweep(vary={"seed": [0]}, workers=1, **fields).rows[0]
        code = {"optimal": 0, "near_tie": 0, "limit": 4, "infeasible": 3, "none": 5, "error": 2}[row.status]
        if row.pools is None:
            return Answer(code, row.message)
        return Answer(code if row.confirmed is not False else 4, None, row.objective_value, _read(row.pools),
                      row.verified)  # fmt: skip

    return asked(question)


def sensitivity(fields: Mapping[str, Any]) -> Answer:
    """The plan that errors are errors of."""

    def question() -> Answer:
        found = planner.sensitivity(draws=0, flips=False, errors=_no_errors(), workers=1, **fields)
        return Answer(0, None, found.value, _read(found.pools), found.verified)

    return asked(question)


def robustness(fields: Mapping[str, Any]) -> Answer:
    """The plan of optimize, put to no mishap at all."""

    def question() -> Answer:
        plan = planner.optimize(**fields)
        found = planner.robustness(plan, only=["growth"], growth=[])
        row = found.rows[0]
        assert row.mishap == "none"
        holds = 0 if row.holds else 4
        machines = {machine: 0 for machine in found.owned}
        for pool in plan.pools:
            machines[pool.machine] += pool.count + pool.spares
        assert machines == found.owned
        cost = found.cost_usd_per_hour if fields.get("objective", "cost") == "cost" else None
        return Answer(holds, None, cost, (), found.verified)

    return asked(question)


def procure(fields: Mapping[str, Any]) -> Answer:
    """One workload in one period, rented on demand."""
    if "max_pools" in fields:
        return Answer(-1)  # a fleet has no such limit
    if any(name in fields for name in CLIENTS):
        return Answer(-1)  # nor clients who wait

    def question() -> Answer:
        of_workload = ("rate", "slo")
        own = {"workload": "azure-conv-2023"} | {n: fields[n] for n in of_workload if n in fields}
        own.setdefault("rate", 70.0)
        shared = {
            name: value for name, value in fields.items()
            if name not in (*of_workload, "objective", "verify", "verify_runs", "verify_requests")
        }  # fmt: skip
        found = planner.procure({"workloads": {"one": own}, "plans": ["on_demand"], **shared})
        pools = tuple(sorted((p.role, p.machine, p.count + p.spares) for p in found.pools))
        return Answer(0 if found.solver.status == "optimal" else 4, None, found.cost_usd_per_hour, pools,
                      found.verified)  # fmt: skip

    return asked(question)


def sheet(fields: Mapping[str, Any]) -> Answer:
    """The cells of a sheet: flat text and numbers in, one row a pool out, or one row that says what is wrong."""
    from planner import sheet as cells

    if "max_machines" in fields:
        return Answer(-1)  # a cell holds no mapping
    flat = {name: _cell(value) for name, value in fields.items()}
    rows = cells.plan_records(**flat)
    if "error" in rows[0]:
        return Answer(-1, str(rows[0]["error"]))
    pools = tuple(sorted((r["role"], r["machine"], r["count"] + r["spares"]) for r in rows))
    objective = str(fields.get("objective", "cost"))
    value = {
        "cost": lambda: cells.cost_per_hour(**flat),
        "power": lambda: float(cells.power_kw(**flat)) * 1e3,
        "machines": lambda: cells.machines_needed(**flat),
    }.get(objective, lambda: None)()  # fmt: skip
    return Answer(0, None, value, pools, None)


def regime_map(fields: Mapping[str, Any]) -> Answer:
    """The cell at the scenario's own values: the best of the named designs."""
    if any(name in fields for name in CLIENTS):
        return Answer(-1)  # its loads are rates

    def question() -> Answer:
        rate = fields.get("rate", 70.0)
        own = {name: value for name, value in fields.items() if name not in ("rate", "verify")}
        found = planner.regime_map(
            x=f"load={rate}/s..{2 * rate}/s:2", y="prompt-output-ratio=5.4708..10:2", workers=1, rate=rate, **own
        )
        cell = found.cells[0]
        if cell.design is None:
            return Answer(3, cell.reason)
        return Answer(0, None, cell.value, _read(cell.pools or ""), found.verified)

    return asked(question)


def _no_errors() -> dict[str, float]:
    return {"price": 0.0, "load": 0.0, "prompt": 0.0, "output": 0.0, "arrival-cv2": 0.0, "step-time": 0.0}


def _read(text: str) -> tuple[tuple[str, str, int], ...]:
    """Pools out of `27 x dgx-h100 prefill + 3 x dgx-h100 decode`."""
    pools = []
    for part in text.split(" + "):
        count, _, rest = part.partition(" x ")
        machine, role, *_ = rest.split()
        pools.append((role, machine, int(count)))
    return tuple(sorted(pools))


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, (tuple, list)) else value


@dataclass(frozen=True)
class Verb:
    """A verb, the questions that it takes, and whether it can prove what it says by simulation."""

    ask: Callable[[Mapping[str, Any]], Answer]
    objectives: tuple[str, ...]
    certifies: bool
    needs_plan: bool = False


ALL = ("cost", "power", "machines", "carbon", "throughput")
VERBS: Mapping[str, Verb] = {
    "compare": Verb(compare, ALL, True),
    "alternatives": Verb(alternatives, SUMS, False),
    "frontier": Verb(frontier, SUMS, False),
    "sweep": Verb(sweep, ALL, True),
    "sensitivity": Verb(sensitivity, ("cost", "power", "machines", "carbon"), False),
    "robustness": Verb(robustness, ALL, False, needs_plan=True),
    "procure": Verb(procure, ("cost",), False),
    "sheet": Verb(sheet, ALL, True),
    "regime-map": Verb(regime_map, SUMS, False),
}


def disagreements(verb: str, case: str, *, verify: bool, few: bool) -> list[str]:
    """What a verb says otherwise than optimize; empty where they agree or the verb does not take the question."""
    how = VERBS[verb]
    fields: dict[str, Any] = PAIR | dict(CASES[case])
    objective = str(fields.get("objective", "cost"))
    if objective not in how.objectives or (verify and not how.certifies):
        return []
    if how.certifies:
        fields["verify"] = verify
        if verify and few:
            fields |= FEW
        expected = optimize(fields)
    else:
        expected = optimize(fields | {"verify": False})
        if how.needs_plan:
            if expected.value is None:
                return []
            fields["verify"] = False
    return list(_differences(how.ask(fields), expected, verb))


def _differences(got: Answer, expected: Answer, verb: str) -> Any:
    if got == Answer(-1):
        return
    if verb == "regime-map" and expected.design == "mixed fleet":
        # A map is of designs with one type of machine a role: it may be dearer, or have none, and no more than that.
        if got.value is not None and expected.value is not None and got.value < expected.value * (1 - 1e-6):
            yield f"value {got.value}, less than the least, {expected.value}"
        return
    if got.exit_code not in (-1, expected.exit_code):
        yield f"exit {got.exit_code} ({got.reason}), optimize {expected.exit_code} ({expected.reason})"
    if expected.reason is not None and expected.reason not in (got.reason or ""):
        yield f"reason {got.reason!r}, optimize {expected.reason!r}"
    if expected.reason is None and got.reason is not None:
        yield f"refuses: {got.reason!r}"
    if None not in (got.value, expected.value) and abs(got.value - expected.value) > 1e-6 * abs(expected.value):
        yield f"value {got.value}, optimize {expected.value}"
    if got.pools and expected.pools and got.pools != expected.pools:
        yield f"pools {got.pools}, optimize {expected.pools}"
    if got.reason is None and got.verified not in (None, expected.verified):
        yield f"verified {got.verified!r}, optimize {expected.verified!r}"


def main() -> int:
    """Ask everything in full; 1 where anything disagrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=[*CASES], action="append")
    parser.add_argument("--verb", choices=[*VERBS], action="append")
    parser.add_argument("--few", action="store_true", help="few requests a certificate")
    given = parser.parse_args()
    bad = 0
    for case in given.case or CASES:
        for verb in given.verb or VERBS:
            for verify in (False, True):
                found = disagreements(verb, case, verify=verify, few=given.few)
                bad += bool(found)
                if found:
                    print(f"{case} / {verb}{' --verify' if verify else ''}: {'; '.join(found)}", flush=True)
        print(f"{case}: asked", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
