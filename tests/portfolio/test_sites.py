"""Sites: where machines stand, what may be served there, and what that costs; by hand and by brute force."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError, InputError
from planner.portfolio.result import Procurement

H = 730.0
SMALL: dict[str, Any] = {"workload": "azure-conv-2023", "slo": ["ttft=1s"]}
PRICES = {
    "eu": "on_demand: {dgx-h100: 40 USD/h}\nowned: {dgx-h100: {purchase: '250,000 USD', life: 4 years}}\n",
    "us": "on_demand: {dgx-h100: 34 USD/h}\nowned: {dgx-h100: {purchase: '380,000 USD', life: 4 years}}\n",
}
SITES: dict[str, Any] = {"dublin": {"prices": ["eu"]}, "ohio": {"prices": ["us"]}}


def asked(folder: Path, **fields: Any) -> dict[str, Any]:
    (folder / "prices").mkdir(exist_ok=True)
    for name, prices in PRICES.items():
        head = f"source: an offer\nkind: quote\nprovider: {name}\ndate: 2026-11-01\n"
        (folder / "prices" / f"{name}.yaml").write_text(head + prices)
    return {
        "workloads": {"chat": SMALL | {"rate": "2/s"}}, "machines": ["dgx-h100"], "catalog": [str(folder)],
        "sites": SITES, "plans": ["owned", "on_demand"], "electricity": "0 USD/kWh", **fields,
    }  # fmt: skip


def bought(folder: Path, **fields: Any) -> Procurement:
    found = planner.procure(asked(folder, **fields))
    assert found.meets_objectives and found.solver.status == "optimal"
    assert found.cost_usd == pytest.approx(sum(line.cost_usd for line in found.purchases) + found.egress_usd)
    assert sum(m.cost_usd for m in found.months) == pytest.approx(found.cost_usd)
    assert sum(site.cost_usd for site in found.sites) == pytest.approx(found.cost_usd)
    return found


def counts(found: Procurement) -> dict[tuple[str, str], int]:
    held: dict[tuple[str, str], int] = {}
    for line in found.purchases:
        held[line.site, line.plan] = held.get((line.site, line.plan), 0) + line.count
    return held


def test_two_dates_two_sites_and_residency_against_brute_force(tmp_path: Path) -> None:
    """Patients' requests stay in Dublin, others go where it is cheapest; both grow; purchases on two days."""
    workloads = {
        "patients": SMALL | {"rate": "12/s", "sites": ["dublin"]},
        "others": SMALL | {"rate": "16/s", "growth": 0.05},
    }
    found = bought(
        tmp_path, workloads=workloads, growth=0.03, horizon="2 years", orders=["1 year"], stage="4 months",
        price_change=[-0.3, 0.1],
    )  # fmt: skip
    # What one and more machines carry, by the planner's own throughput.
    most = {0: 0.0} | {
        n: planner.optimize(
            machines=["dgx-h100"], objective="throughput", max_total_machines=n, slo=["ttft=1s"], verify=False,
            design="baseline",
        ).rate_per_s
        for n in range(1, 5)
    }  # fmt: skip
    demands = [
        (12 * 1.03 ** (4 * stage + 3), 16 * 1.05 ** (4 * stage + 3)) for stage in range(6)
    ]  # of the last month of each stage
    splits: list[list[tuple[int, int]]] = []  # machines in Dublin and in Ohio that carry all of a stage
    for patients, others in demands:
        need = min(n for n, rate in most.items() if rate >= patients)
        splits.append([(need + k, m) for k in most for m in most if most[k] + most[m] >= others * (1 - 1e-9)])
    annuity = {"dublin": 250e3, "ohio": 380e3}
    crf = 0.08 / (1 - 1.08**-4) / 8760
    fixed = {
        (site, order): price * crf * (1.0 if order == 0 else 0.7) * (24 - 12 * order) * H
        for site, price in annuity.items()
        for order in (0, 1)
    }
    rent = {("dublin", 0): 40.0, ("ohio", 0): 34.0, ("dublin", 1): 28.0, ("ohio", 1): 23.8}
    best = math.inf
    for held in itertools.product(range(5), repeat=4):
        own = dict(zip(fixed, held, strict=True))
        cost = sum(n * fixed[at] for at, n in own.items())
        for stage, options in enumerate(splits):
            year = stage // 3
            there = {s: own[s, 0] + (own[s, 1] if year else 0) for s in annuity}
            cost += min(
                4 * H * sum(max(n - there[s], 0) * rent[s, year] for s, n in zip(annuity, split, strict=True))
                for split in options
            )
        best = min(best, cost)
    assert found.cost_usd == pytest.approx(best, rel=1e-6)
    for pool in found.pools:
        assert pool.group != "patients" or pool.machine == "dgx-h100/dublin"


def test_electricity_is_that_of_the_site(tmp_path: Path) -> None:
    sites = {
        "dublin": SITES["dublin"] | {"electricity": "0.20 USD/kWh", "pue": 1.2},
        "ohio": SITES["ohio"] | {"electricity": "0.06 USD/kWh", "pue": 1.5},
    }
    fields: dict[str, Any] = {"plans": ["owned"], "horizon": "4 years"}
    usage = {}
    for name in sites:
        found = bought(tmp_path, sites=sites, workloads={"chat": SMALL | {"rate": "2/s", "sites": [name]}}, **fields)
        (line,) = found.purchases
        usage[name] = line.usage_usd_per_hour
    assert usage["dublin"] / usage["ohio"] == pytest.approx(0.20 * 1.2 / (0.06 * 1.5))
    # Cheap power does not make up for the dearer machine.
    assert counts(bought(tmp_path, sites=sites, **fields)) == {("dublin", "owned"): 1}


def test_power_stock_and_space_by_site(tmp_path: Path) -> None:
    more = {"workloads": {"chat": SMALL | {"rate": "60/s"}}, "plans": ["on_demand"]}
    free = counts(bought(tmp_path, **more))
    assert set(free) == {("ohio", "on_demand")} and free["ohio", "on_demand"] >= 3
    for limit in ({"max_power": "21 kW"}, {"max_machines": {"dgx-h100": 2}}, {"max_rented": {"h100-sxm": 16}},
                  {"max_total_machines": 2}, {"max_rack_units": 16}):  # fmt: skip
        found = bought(tmp_path, sites=SITES | {"ohio": SITES["ohio"] | limit}, **more)
        held = counts(found)
        assert held["ohio", "on_demand"] == 2 and held["dublin", "on_demand"] >= 1
        assert any(text.startswith("sites.ohio.") for text in found.binding)
        (ohio,) = (site for site in found.sites if site.site == "ohio")
        assert (ohio.machines, ohio.power_w) == (2, pytest.approx(20.4e3))
    resident = {"chat": SMALL | {"rate": "60/s", "sites": ["ohio"]}}
    with pytest.raises(InfeasibleError, match=r"sites.ohio.max_total_machines: 1 is too little") as caught:
        bought(tmp_path, sites=SITES | {"ohio": SITES["ohio"] | {"max_total_machines": 1}}, workloads=resident)
    assert "is enough" in str(caught.value.value)


def test_egress_is_bytes_by_price_and_in_every_total(tmp_path: Path) -> None:
    sites = {"ohio": SITES["ohio"] | {"egress_usd_per_gb": 0.09}, "dublin": SITES["dublin"]}
    workloads = {"chat": SMALL | {"rate": "2/s", "egress_bytes": "5 MB"}}
    found = bought(tmp_path, sites=sites, workloads=workloads, plans=["on_demand"], users=1000)
    requests = 2 * 3600 * 8760
    assert counts(found) == {("ohio", "on_demand"): 1}
    assert found.egress_usd == pytest.approx(requests * 0.005 * 0.09)
    assert found.cost_usd == pytest.approx(34 * 8760 + found.egress_usd)
    # Dublin would have saved it: no better plan is claimed than the bound that leaves it out.
    assert found.solver.bound == pytest.approx(34.0) and found.solver.gap > 0
    assert found.months[0].egress_usd == pytest.approx(found.egress_usd / 12)
    assert found.cost_usd_per_user_per_month == pytest.approx(found.cost_usd / 12 / 1000)
    (ohio, _) = found.sites
    assert ohio.requests == {"chat": pytest.approx(requests)}


def test_designs_and_split_pools_stay_within_a_site(tmp_path: Path) -> None:
    found = bought(tmp_path, design="Splitwise-dgx-h100+dgx-h100", workloads={"chat": SMALL | {"rate": "20/s"}})
    assert {pool.role for pool in found.pools} == {"prefill", "decode"}
    assert len({pool.machine for pool in found.pools}) == 1


def test_owned_machines_stand_at_their_site(tmp_path: Path) -> None:
    sites = {"dublin": SITES["dublin"], "ohio": SITES["ohio"] | {"owned": {"h100-sxm": 17}}}
    found = bought(tmp_path, sites=sites)
    assert counts(found) == {("ohio", "kept"): 2}
    assert any("17 h100-sxm are taken as 2 dgx-h100; 1 fill none" in note for note in found.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workloads": {"chat": SMALL | {"rate": "2/s", "sites": ["dubln"]}}}, "no site; did you mean dublin"),
        ({"sites": {"eu/west": {}}}, "no name of a site"),
        ({"owned": {"dgx-h100": 1}}, "give `owned` to their sites"),
        ({"sites": {"dublin": {"regon": "france"}}}, "unknown field"),
        ({"sites": {"dublin": {"region": "atlantis"}}}, "unknown region"),
        ({"sites": {"dublin": {"max_machines": {"dgx-h10": 1}}}}, "dgx-h100"),
        ({"workloads": {"chat": SMALL | {"rate": "2/s", "sites": []}}}, "served nowhere"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        planner.procure(asked(tmp_path, **fields))
    assert message in f"{caught.value.what} {caught.value.suggestions} {caught.value.value}"


def test_budgets_of_years_bound_what_is_paid_in_them(tmp_path: Path) -> None:
    """A machine for 380,000 pays off over three years; with less in the first year it is rented until the second."""
    fields: dict[str, Any] = {"horizon": "3 years", "orders": ["1 year"], "sites": {"ohio": SITES["ohio"]}}
    free = bought(tmp_path, **fields)
    assert free.months[0].purchases_usd == pytest.approx(380e3)
    tight = bought(tmp_path, budget_by_year=["300,000 USD", "380,000 USD", "1,000 USD"], **fields)
    years = [sum(m.cash_usd for m in tight.months[12 * y : 12 * y + 12]) for y in range(3)]
    assert years == pytest.approx([34 * 8760, 380e3, 0.0]) and tight.cost_usd > free.cost_usd
    with pytest.raises(InfeasibleError) as caught:
        bought(tmp_path, budget_by_year=["100,000 USD", "1 M USD"], **fields)
    assert "budget of year 1: $100,000 is too little; $297,840 is enough" in str(caught.value.value)


def test_prices_that_change_by_another_rate_each_year(tmp_path: Path) -> None:
    found = bought(tmp_path, plans=["on_demand"], horizon="4 years", price_change=["-10 %", "20 %", "-50 %"])
    assert found.cost_usd == pytest.approx(34 * 8760 * (1 + 0.9 + 0.9 * 1.2 + 0.9 * 1.2 * 0.5))


def test_pure_plans_stand_beside_the_mix(tmp_path: Path) -> None:
    day = [{"hours": 22, "rate": 0.1}, {"hours": 2, "rate": 1.0}]
    fields: dict[str, Any] = {"workloads": {"chat": SMALL | {"rate": "40/s", "day": day}}, "horizon": "3 years"}
    mix = bought(tmp_path, pure=True, plans=["owned", "on_demand", "reserved_1y"], **fields)
    pure = {p.plans: p for p in mix.pure}
    for name, plan in (("owned", "owned"), ("rented", "on_demand")):
        alone = bought(tmp_path, plans=[plan], **fields)
        assert pure[name].cost_usd == pytest.approx(alone.cost_usd) and pure[name].reason == ""
        assert mix.cost_usd < alone.cost_usd
    assert pure["reserved"].cost_usd is None and "no price book offers dgx-h100" in pure["reserved"].reason
    assert mix.fleet["plans"] == ["owned", "on_demand", "reserved_1y"]
