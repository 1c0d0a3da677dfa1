"""DeepSeek-class traffic on H200, B200 and a rack of 72: pools, widths and cost, beside tensor-parallel replicas alone.

    python benchmarks/wide_experts.py [--verify]

Each row takes the cheapest of the rented machines with that accelerator, alone and in groups of two and four. Tensor
parallel alone is the same command with single machines and an overlay that says of every architecture that the engine
does not run attention data-parallel with experts over all ranks.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import PlannerError

ASKED = {"model": "deepseek-v3", "rate": "100/s", "isl": 2000, "osl": 500, "slo": "tbt.p95=50ms"}
ACCELERATORS = ("h200-sxm", "b200-sxm", "gb200-nvl72")
LEAST_MACHINE = 8  # accelerators
GROUPS = (2, 4)  # machines of one replica; not of racks


def machines_with(catalog: Catalog, accelerator: str) -> list[str]:
    """Machines with a price, of eight accelerators or more."""
    entries = (catalog.machine(name) for name in catalog.names(Machine))
    return [
        m.name
        for m in entries
        if m.accelerator == accelerator and m.n_accelerators >= LEAST_MACHINE and catalog.price_of(m.name) is not None
    ]


def without_spread(folder: Path, catalog: Catalog) -> Path:
    """An overlay in which no engine spreads attention and experts."""
    (folder / "runtimes").mkdir()
    entries = "".join(f"  {name}: {{spread: false}}\n" for name in catalog.runtime("vllm-2026").support)
    text = f"source: benchmarks/wide_experts.py\nkind: estimate\nsupport:\n{entries}"
    (folder / "runtimes" / "vllm-2026.yaml").write_text(text, encoding="utf-8")
    return folder


def row(accelerator: str, machines: list[str], verify: bool, overlay: Path | None) -> str:
    """One line of the table."""
    ways = "all layouts" if overlay is None else "tensor parallel alone"
    try:
        plan = planner.optimize(**ASKED, machines=machines, verify=verify, catalog=overlay)
    except PlannerError as error:
        return f"| {accelerator} | {ways} | none: {error.what} | | | |"
    pools = "; ".join(f"{p.count} x {p.machine} {p.layout} {p.role}" for p in plan.pools)
    n = sum((p.count + p.spares) * (p.accelerators_per_machine or 0) for p in plan.pools)
    verdict = "not asked" if plan.certificate is None else str(plan.verified)
    return f"| {accelerator} | {ways} | {pools} | {n} | ${plan.cost_usd_per_hour:,.2f} | {verdict} |"


def main() -> None:
    """Print the table."""
    catalog, verify = Catalog.default(), "--verify" in sys.argv[1:]
    print("| accelerator | layouts | plan | accelerators | $/h | simulated |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        overlay = without_spread(Path(folder), catalog)
        for accelerator in ACCELERATORS:
            machines = machines_with(catalog, accelerator)
            groups = [
                f"{name}@{n}"
                for name in machines
                for n in GROUPS
                if catalog.machine(name).n_accelerators == LEAST_MACHINE
            ]
            print(row(accelerator, [*machines, *groups], verify, None), flush=True)
            print(row(accelerator, machines, verify, overlay), flush=True)


if __name__ == "__main__":
    main()
