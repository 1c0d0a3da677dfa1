"""Time of a fleet of 24 periods, against the main job: `python benchmarks/portfolio_speed.py`.

Three workloads over three years, eight machine types with all their price plans, a day of eight parts, growth; solved
to a gap of 1 %. Its time is printed as a multiple of `planner.optimize(slo="ttft=1s")` without simulation, measured in
the same run, warm; CPU time is used throughout, because others may share the machine. With --batch the third workload
is batch work with a deadline, which is harder: pools of few machines do it, and the bound sees parts of machines.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import planner
from planner.catalog.catalog import Catalog

MACHINES = (
    "dgx-a100", "dgx-h100", "dgx-h200", "dgx-b200", "coreweave-8x-h100", "coreweave-8x-b200", "lambda-8x-h100",
    "lambda-8x-a100-80",
)  # fmt: skip
LIMIT = 60.0  # multiples of the main job


def fleet(batch: bool) -> dict[str, Any]:
    third: dict[str, Any] = {"workload": "summarisation", "rate": "5/s", "day": "office"}
    if batch:
        work = {"requests": "1 M", "arrives": "18:00", "deadline": "06:00"}
        third = {"prompt_tokens": 3000, "output_tokens": 300, "batch": work}
    return {
        "machines": MACHINES,
        "plans": ["owned", "reserved_1y", "reserved_3y", "on_demand"],
        "workloads": {
            "chat": {"workload": "azure-conv-2023", "rate": "70/s", "day": "consumer"},
            "code": {"workload": "azure-code-2023", "rate": "20/s", "day": "office"},
            "third": third,
        },
        "sharing": "separate", "horizon": "3 years", "growth": 0.01, "periods_a_day": 8, "gap": 0.01,
    }  # fmt: skip


def seconds(work: Any) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def main(arguments: list[str]) -> int:
    catalog = Catalog()
    planner.optimize(slo="ttft=1s", catalog=catalog, verify=False)  # imports
    main_s = min(seconds(lambda: planner.optimize(slo="ttft=1s", catalog=catalog, verify=False))[0] for _ in range(3))
    fleet_s, found = seconds(lambda: planner.procure(fleet("--batch" in arguments), catalog=catalog))
    ratio = fleet_s / main_s
    solver = found.solver
    print(f"main job             {main_s:8.2f} s of CPU time")
    print(f"fleet, {solver.periods} periods    {fleet_s:8.2f} s, {ratio:.0f} times the main job (limit {LIMIT:g})")
    print(
        f"mean cost            {found.cost_usd_per_hour:8.2f} USD/h, at least {solver.bound:.2f}, gap {solver.gap:.2%}"
    )
    print(f"candidate pools      {solver.candidates:8d}, {solver.rounds} rounds, {solver.status}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
