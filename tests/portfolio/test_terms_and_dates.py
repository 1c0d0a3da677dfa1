"""Whole terms of reservations, several dates of purchase, demand that grows: hand figures and brute force."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import InputError
from planner.portfolio.result import Procurement

H = 730.0
# One machine carries it: the price alone decides.
SMALL = {"chat": {"workload": "azure-conv-2023", "rate": "2/s", "slo": ["ttft=1s"]}}


def bought(folder: Path, prices: str, **fields: Any) -> Procurement:
    (folder / "prices").mkdir(exist_ok=True)
    head = "source: an offer\nkind: quote\nprovider: acme\ndate: 2026-11-01\n"
    (folder / "prices" / "offer.yaml").write_text(head + prices)
    asked = {"workloads": SMALL, "machines": ["dgx-h100"], "catalog": [str(folder)], "prices": ["offer"], **fields}
    return planner.procure(asked)


@pytest.mark.parametrize(
    ("prices", "horizon", "plans", "usd"),
    [
        ("reserved_1y: {dgx-h100: 26 USD/h}\n", "18 months", ["reserved_1y"], 455_520),
        ("reserved_3y: {dgx-h100: 18 USD/h}\n", "4 years", ["reserved_3y"], 946_080),
        # A year reserved and a month on demand.
        ("reserved_1y: {dgx-h100: 26 USD/h}\non_demand: {dgx-h100: 32 USD/h}\n", "13 months",
         ["reserved_1y", "on_demand"], 251_120),
        # It comes after 45 weeks and is paid for a year: all on demand costs less.
        ("reserved_1y: {dgx-h100: 26 USD/h}\non_demand: {dgx-h100: 38 USD/h}\n"
         "terms: {reserved_1y: {dgx-h100: {lead_time: 45 weeks}}}\n", "1 year", ["reserved_1y", "on_demand"], 332_880),
    ],
)  # fmt: skip
def test_reservations_are_paid_in_whole_terms(
    tmp_path: Path, prices: str, horizon: str, plans: list[str], usd: float
) -> None:
    found = bought(tmp_path, prices, horizon=horizon, plans=plans)
    assert found.cost_usd == pytest.approx(usd)
    assert found.cost_usd == pytest.approx(sum(line.cost_usd for line in found.purchases))


def test_tokens_are_those_expected_and_months_follow_growth(tmp_path: Path) -> None:
    growth, rate = 0.03, 2.0
    found = bought(tmp_path, "on_demand: {dgx-h100: 38 USD/h}\n", growth=growth, horizon="2 years", plans=["on_demand"])
    sizes = planner.optimize(rate="2/s", machines=["dgx-h100"], verify=False)
    requests = rate * 3600 * H * math.fsum((1 + growth) ** k for k in range(24))
    tokens = requests * (sizes.mean_prompt_tokens + sizes.mean_output_tokens)
    assert found.cost_usd_per_million_tokens == pytest.approx(found.cost_usd / tokens * 1e6, rel=1e-6)
    assert found.padding_fraction == pytest.approx(0.0, abs=1e-9)  # stages of a month
    by_year = bought(
        tmp_path, "on_demand: {dgx-h100: 38 USD/h}\n", growth=growth, horizon="2 years", plans=["on_demand"],
        stage="1 year",
    )  # fmt: skip
    planned = 12 * ((1 + growth) ** 11 + (1 + growth) ** 23)
    assert by_year.padding_fraction == pytest.approx(planned / math.fsum((1 + growth) ** k for k in range(24)) - 1)


def test_a_second_order_against_brute_force(tmp_path: Path) -> None:
    """Demand doubles in steps; machines may be bought on two days, at a price that falls, or rented by the month."""
    prices = (
        "on_demand: {dgx-h100: 38 USD/h}\nowned: {dgx-h100: {purchase: '270,000 USD', life: 4 years}}\n"
        "reserved_1y: {dgx-h100: 21 USD/h}\n"
    )
    fields: dict[str, Any] = {
        "workloads": {"chat": SMALL["chat"] | {"rate": "30/s"}}, "growth": 0.04, "horizon": "2 years",
        "plans": ["owned", "reserved_1y", "on_demand"], "orders": ["1 year"], "price_change": -0.2, "stage": "2 months",
    }  # fmt: skip
    found = bought(tmp_path, prices, **fields)
    needed = [sum(p.machines_on.values()) for p in found.periods]  # one period a stage of two months
    assert len(needed) == 12 and needed == sorted(needed)
    at = {(line.plan, line.when): line for line in found.purchases}
    owned = next(o for o in planner_options(tmp_path) if o.plan == "owned")
    electricity = at["owned", ""].usage_usd_per_hour  # at the draw of the plan
    running, capital = owned.fixed_usd_per_hour - owned.capital_usd_per_hour, owned.capital_usd_per_hour
    hours = 2 * H
    ways = [  # stages in which it is there, fixed cost, cost an hour on
        (range(12), (running + capital) * 24 * H, electricity),
        (range(6, 12), (running + 0.8 * capital) * 12 * H, electricity),
        (range(6), 21 * 12 * H, 0.0),
        (range(12), 21 * 24 * H, 0.0),
        (range(6, 12), 0.8 * 21 * 12 * H, 0.0),
    ]
    most = max(needed)
    best = math.inf
    for counts in itertools.product(range(most + 1), repeat=len(ways)):
        if sum(counts) > most:
            continue
        cost = sum(n * fixed for n, (_, fixed, _) in zip(counts, ways, strict=True))
        for s, need in enumerate(needed):
            free = Counter({way: n for way, n in enumerate(counts) if s in ways[way][0]})
            for way in sorted(free, key=lambda w: ways[w][2]):
                on = min(free[way], need)
                need, cost = need - on, cost + on * hours * ways[way][2]
            cost += need * hours * 38 * (1.0 if s < 6 else 0.8)
        best = min(best, cost)
    assert found.cost_usd == pytest.approx(best, rel=1e-6)


def planner_options(folder: Path) -> list[Any]:
    from planner.catalog.catalog import Catalog
    from planner.economics.options import purchase_options

    return purchase_options(Catalog([folder]), "dgx-h100", books=["offer"])


def test_stock_holds_over_several_dates(tmp_path: Path) -> None:
    prices = (
        "owned: {dgx-h100: {purchase: '100,000 USD', life: 4 years}}\non_demand: {dgx-h100: 38 USD/h}\n"
        "terms: {owned: {dgx-h100: {max_count: 1}}}\n"
    )
    found = bought(
        tmp_path, prices, workloads={"chat": SMALL["chat"] | {"rate": "60/s"}}, plans=["owned", "on_demand"],
        orders=["6 months"],
    )  # fmt: skip
    assert sum(line.count for line in found.purchases if line.plan == "owned") == 1
    assert any(line.plan == "on_demand" for line in found.purchases)


def test_stages_have_dates(tmp_path: Path) -> None:
    found = bought(
        tmp_path, "on_demand: {dgx-h100: 38 USD/h}\nowned: {dgx-h100: {purchase: '200,000 USD', life: 4 years}}\n"
        "terms: {owned: {dgx-h100: {lead_time: 12 weeks}}}\n",
        plans=["owned", "on_demand"], start="2027-01-01", horizon="3 years",
    )  # fmt: skip
    stages = [p.stage for p in found.periods]
    assert stages == ["2027-01-01 to 2027-03-25", "2027-03-26 to 2029-12-30"]


def test_orders_beyond_the_horizon_are_no_orders(tmp_path: Path) -> None:
    found = bought(tmp_path, "on_demand: {dgx-h100: 38 USD/h}\n", orders=["5 years"], plans=["on_demand"])
    assert found.cost_usd == pytest.approx(38 * 8760)
    with pytest.raises(InputError, match="orders"):
        bought(tmp_path, "on_demand: {dgx-h100: 38 USD/h}\n", orders=["soon"])


def test_months_add_up_and_purchases_are_repaid(tmp_path: Path) -> None:
    """All months cost what the fleet costs; over its life a purchase is worth its price less its resale."""
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    prices = (
        "owned: {dgx-h100: {purchase: '270,000 USD', life: 3 years, residual: 10 %, maintenance: 4 %}}\n"
        "on_demand: {dgx-h100: 38 USD/h}\nreserved_1y: {dgx-h100: 26 USD/h}\n"
    )
    found = bought(tmp_path, prices, plans=["owned"], horizon="3 years", overhead_usd_per_month=1000.0,
                   api_usd_per_million_tokens=2.0)  # fmt: skip
    assert sum(m.cost_usd for m in found.months) == pytest.approx(found.cost_usd)
    (line,) = found.purchases
    assert found.upfront_usd == pytest.approx(270e3 * line.count)
    assert found.remaining_value_usd == pytest.approx(27e3 * line.count)
    monthly = 1.08 ** (1 / 12) - 1
    running = found.months[0].running_usd
    worth = 270e3 * line.count - financial.pv(monthly, 36, running) - 27e3 * line.count / 1.08**3
    assert found.present_value_usd == pytest.approx(worth)
    assert found.overhead_usd == 36e3
    tokens = found.cost_usd / found.cost_usd_per_million_tokens
    assert found.api_usd == pytest.approx(2 * tokens)
    assert found.usd_per_million_tokens_with_overhead == pytest.approx((found.cost_usd + 36e3) / tokens)
    short = bought(tmp_path, prices, plans=["owned"], horizon="1 year")
    # After a year the annuity is still to come twice: what is left is its value then.
    annuity = -financial.pmt(0.08, 3, 270e3, -27e3)
    assert short.remaining_value_usd == pytest.approx(-financial.pv(0.08, 2, annuity, 27e3))
    rented = bought(tmp_path, prices, plans=["reserved_1y"], horizon="18 months")
    assert len(rented.months) == 24 and sum(m.cash_usd for m in rented.months) == pytest.approx(rented.cost_usd)


def test_months_add_up_with_growth_orders_and_rent(tmp_path: Path) -> None:
    prices = "on_demand: {dgx-h100: 38 USD/h}\nowned: {dgx-h100: {purchase: '270,000 USD', life: 15 months}}\n"
    found = bought(
        tmp_path, prices, workloads={"chat": SMALL["chat"] | {"rate": "30/s"}}, growth=0.04, horizon="2 years",
        plans=["owned", "on_demand"], orders=["1 year"], stage="3 months",
    )  # fmt: skip
    assert sum(m.cost_usd for m in found.months) == pytest.approx(found.cost_usd)
    owned = sum(line.count for line in found.purchases if line.plan == "owned" and not line.when)
    assert found.months[0].purchases_usd == pytest.approx(270e3 * owned)
    assert found.months[15].purchases_usd == pytest.approx(270e3 * owned)  # bought anew when its life ends
