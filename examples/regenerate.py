"""Run the examples and write what comes out: their expected.json, and the plan that README.md shows.

    python examples/regenerate.py            write them anew
    python examples/regenerate.py --check    only say what would change; exit code 1 if anything would

`planner` must be on the path, as it is where an example is run by hand.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
README = EXAMPLES.parent / "README.md"
SHOWN_COMMAND = "planner optimize --slo ttft=1s"
PLAN = ["--format", "json"]  # what an example is given to print a plan
# Examples that print rows instead, and what they are given.
ROWS: dict[str, list[str]] = {"records_for_a_sheet": [], "splitwise_paper": ["--quick", "--format", "csv"]}


def names() -> list[str]:
    """The examples, by folder."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/run.sh"))


def run(name: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run one example and return the few fields of its result that its readers rely on."""
    arguments = ROWS.get(name)
    text = output_of(
        ["bash", str(EXAMPLES / name / "run.sh"), *(PLAN if arguments is None else arguments)], environment
    )
    if arguments is not None:
        return stable_rows(text)
    result = json.loads(text)
    if "purchases" in result:
        return stable_procurement(result)
    if "vary" in result:
        return stable_sweep(result)
    if "break_even" in result:
        return stable_costs(result)
    return stable_simulation(result) if "arrivals" in result else stable_plan(result)


def output_of(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; its notes on stderr are shown if it fails."""
    done = subprocess.run(
        command,
        env=None if environment is None else dict(environment),
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def stable_procurement(result: dict[str, Any]) -> dict[str, Any]:
    """What is bought and rented, what it costs, and what designs do for a dollar where only throughput counts."""
    rates = {r["design"]: round(r["requests_per_usd"]) for w in result["workloads"] for r in w["design_rates"]}
    return {
        "requests_per_usd": rates,
        "purchases": [{k: line[k] for k in ("machine", "plan", "count")} for line in result["purchases"]],
        "status": result["solver"]["status"],
        "meets_objectives": result["meets_objectives"],
        "cost_usd_per_hour": round(result["cost_usd_per_hour"], 2),
    }


def stable_plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Design, pools and cost of a plan: what somebody would buy by it."""
    return {
        "design": plan["design"],
        "status": plan["solver"]["status"],
        "meets_objectives": plan["meets_objectives"],
        "pools": [{k: pool[k] for k in ("role", "machine", "count", "spares", "layout")} for pool in plan["pools"]],
        "cost_usd_per_hour": round(plan["cost_usd_per_hour"], 2),
    }


def stable_simulation(report: dict[str, Any]) -> dict[str, Any]:
    """What was simulated, and which objectives it met."""
    return {
        "design": report["design"],
        "cluster": [{k: pool[k] for k in ("role", "machine", "count", "layout")} for pool in report["pools"]],
        "arrivals": report["arrivals"]["kind"],
        "failures": [failure["machine"] for failure in report["failures"]],
        "stable": report["stable"],
        "met": {objective["objective"]: objective["met"] for objective in report["objectives"]},
    }


def stable_sweep(sweep: dict[str, Any]) -> dict[str, Any]:
    """What each scenario of a sweep buys."""
    rows = [
        row["values"] | {k: row[k] for k in ("status", "plan_design", "pools", "cost_usd_per_hour")}
        for row in sweep["rows"]
    ]
    return {"rows": [row | {"cost_usd_per_hour": round(row["cost_usd_per_hour"], 2)} for row in rows]}


def stable_costs(report: dict[str, Any]) -> dict[str, Any]:
    """What each price plan costs, to 10 cents and 10,000 USD, and from which share of the hours owning costs less."""
    return {
        "plans": [
            {
                "plan": p["plan"],
                "usd_per_hour": round(p["usd_per_hour"], 1),
                "thousand_usd": round(p["total_usd"] / 1e3, -1),
            }
            for p in report["plans"]
        ],
        "own_from": {
            f"{row['rented_machine']} {row['plan']}": row["use_fraction"] and round(row["use_fraction"], 2)
            for row in report["break_even"]
            if row["machine"] == row["rented_machine"]
        },
    }


def stable_rows(text: str) -> dict[str, Any]:
    """The rows of a CSV, numbers to a cent."""

    def cell(value: str) -> str | float:
        try:
            return round(float(value), 2)
        except ValueError:
            return value

    return {"rows": [{k: cell(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]}


def expected_of(name: str) -> dict[str, Any] | None:
    """What is on record for an example, or None if nothing is."""
    path = EXAMPLES / name / "expected.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None  # type: ignore[no-any-return]


def shown_plan(readme: str) -> tuple[int, int]:
    """Where README.md shows the plan: start and end of the text between the fences."""
    block = re.search(r"^```text\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    if block is None:
        raise SystemExit("README.md has no ```text block for the plan")
    return block.start(1), block.end(1)


def readme_with_plan(environment: Mapping[str, str] | None = None) -> tuple[str, str]:
    """README.md as it is, and as it would be with the plan that the command prints now."""
    text = README.read_text(encoding="utf-8")
    start, end = shown_plan(text)
    wide = dict(os.environ if environment is None else environment) | {"COLUMNS": "100", "NO_COLOR": "1"}
    return text, text[:start] + output_of(["bash", "-c", SHOWN_COMMAND], wide) + text[end:]


def main(arguments: list[str]) -> int:
    """Write, or with --check only compare."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    changed = []
    for name in names():
        found = run(name)
        if found != expected_of(name):
            changed.append(name)
            if not arguments:
                text = json.dumps(found, indent=2) + "\n"
                (EXAMPLES / name / "expected.json").write_text(text, encoding="utf-8")
    old, new = readme_with_plan()
    if old != new:
        changed.append("README.md")
        if not arguments:
            README.write_text(new, encoding="utf-8")
    print(
        *(f"{'differs' if arguments else 'wrote'}: {name}" for name in changed) if changed else ["all as on record"],
        sep="\n",
    )
    return 1 if arguments and changed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
