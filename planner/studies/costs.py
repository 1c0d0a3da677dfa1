"""What a plan costs under each price plan, over a horizon, for each token, and when owning it pays."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from planner import units
from planner.catalog.catalog import Catalog
from planner.catalog.prices import PLAN_NAMES, TERM_MONTHS, PlanName
from planner.catalog.schema import Machine
from planner.economics.break_even import break_even_use, payback_months, spot_usd_per_useful_hour
from planner.economics.energy import ElectricitySupply, electricity_supply
from planner.economics.finance import (
    HOURS_PER_MONTH,
    HOURS_PER_YEAR,
    monthly_present_value_factor,
    present_value_factor,
)
from planner.economics.options import Assumptions, PurchaseOption, owned_running_per_hour, purchase_options
from planner.economics.terms import term_cover
from planner.economics.tokens import token_cost
from planner.errors import ScenarioError, UnknownNameError
from planner.planning.plan import Plan
from planner.scenario.scenario import Scenario
from planner.studies.cost_report import (
    CostAssumptions,
    CostReport,
    MissingPlan,
    OwningBreakEven,
    PoolCost,
    PricePlanCost,
)


def read_assumptions(
    horizon: str | float,
    use: str | float,
    cost_of_capital: str | float,
    spot_recovery: str | float,
    payments: str = "arrears",
) -> CostAssumptions:
    """Read what a caller wrote: months, a share, a yearly rate and seconds, or text with units.

    Raises
    ------
    InputError
        What cannot be read or is out of range; `where` is the argument.
    """
    if payments not in ("arrears", "advance"):
        raise UnknownNameError.of("way to pay", payments, ("arrears", "advance"), where="payments")
    assumptions = CostAssumptions(
        payments=payments,  # type: ignore[arg-type]
        horizon_months=units.parse_argument(horizon, units.DURATION, where="horizon"),
        hours_used_fraction=units.parse_argument(use, units.FRACTION, where="use"),
        cost_of_capital_per_year=units.parse_argument(cost_of_capital, units.FRACTION, where="cost_of_capital"),
        spot_recovery_h=units.parse_argument(spot_recovery, units.TIME, where="spot_recovery") / 3600.0,
    )
    _check(assumptions)
    return assumptions


def read_date(start: datetime.date | str | None) -> datetime.date | None:
    """Read the first day, `2027-01-31`."""
    if not isinstance(start, str):
        return start
    try:
        return datetime.date.fromisoformat(start)
    except ValueError:
        raise ScenarioError("not a date", where="start", value=start, fix="write it like 2027-01-31") from None


def cost_report(
    plan: Plan,
    catalog: Catalog,
    scenario: Scenario,
    assumptions: CostAssumptions,
    *,
    start: datetime.date | None = None,
) -> CostReport:
    """Cost a plan under every price plan that the books offer for all its machines.

    Parameters
    ----------
    plan : Plan
    catalog : Catalog
    scenario : Scenario
        Its price books, region, electricity and PUE.
    assumptions : CostAssumptions
    start : date, optional
        First day, from which delivery is counted.

    Raises
    ------
    ScenarioError
        No price book lists any machine of the plan, or a spot machine is taken away before it has recovered.
    """
    plan = in_single_machines(plan, catalog)
    supply = electricity_supply(catalog, scenario.region, scenario.electricity_usd_per_kwh, scenario.pue)
    offers = [_offers(plan, i, catalog, scenario, supply, assumptions, start) for i in range(len(plan.pools))]
    if not any(offers):
        names = ", ".join(sorted({p.machine for p in plan.pools}))
        raise ScenarioError(
            f"no price book lists {names} under any price plan",
            where="prices",
            fix="write prices/NAME.yaml in a --catalog folder, or name a book with --prices",
        )
    complete = [name for name in PLAN_NAMES if all(name in of_pool for of_pool in offers)]
    pools = {
        name: [_pool_cost(plan, i, o, name, catalog, assumptions) for i, o in enumerate(offers) if name in o]
        for name in PLAN_NAMES
    }
    n_accelerators = sum(catalog.machine(p.machine).n_accelerators * (p.count + p.spares) for p in plan.pools)
    found = [
        _price_plan(plan, name, [o[name] for o in offers], pools[name], assumptions, n_accelerators)
        for name in complete
    ]
    missing = {
        name: sorted({pool.machine for pool, o in zip(plan.pools, offers, strict=True) if name not in o})
        for name in PLAN_NAMES
        if name not in complete and (name != "reserved_2y" or any(name in o for o in offers))  # few offer it
    }
    return CostReport(
        planner_version=plan.planner_version,
        catalog_digest=plan.catalog_digest,
        design=plan.design,
        model=plan.model,
        workload=plan.workload,
        rate_per_s=plan.rate_per_s,
        machines=plan.machines,
        n_accelerators=n_accelerators,
        meets_objectives=plan.meets_objectives,
        assumptions=assumptions,
        plans=sorted(found, key=lambda p: (p.usd_per_hour, p.plan)),
        pools=[pool for name in PLAN_NAMES for pool in pools[name]],
        missing=[MissingPlan(plan=name, machines=machines) for name, machines in missing.items()],
        break_even=list(_break_evens(plan, offers, catalog, scenario, assumptions)),
        energy=plan.energy,
        prompt_tokens_per_hour=plan.prompt_tokens_per_hour or 0.0,
        output_tokens_per_hour=plan.output_tokens_per_hour or 0.0,
        notes=[
            *(
                []
                if plan.meets_objectives
                else ["the plan does not meet its objectives; its costs are of what it buys"]
            ),
            *(
                line
                for machine in sorted({p.machine for p in plan.pools})
                for name in PLAN_NAMES
                for line in catalog.unused_quotes(machine, name, scenario.prices)
            ),
        ],
        scenario=plan.scenario,
    )


def in_single_machines(plan: Plan, catalog: Catalog) -> Plan:
    """The plan with the machines of groups (`NAME@4`) counted one by one, which is how they are bought and rented."""
    pools = []
    for pool in plan.pools:
        machine = catalog.machine(pool.machine)
        counts = {"count": pool.count * machine.group, "spares": pool.spares * machine.group}
        pools.append(pool.model_copy(update={"machine": machine.single_name, **counts}))
    return plan.model_copy(update={"pools": pools, "machines": sum(p.count + p.spares for p in pools)})


def _check(assumptions: CostAssumptions) -> None:
    if not 0 < assumptions.horizon_months <= 600:
        raise ScenarioError(
            "the horizon lies between a day and 50 years",
            where="horizon",
            value=f"{assumptions.horizon_months:g} months",
        )
    if not 0 < assumptions.hours_used_fraction <= 1:
        raise ScenarioError(
            "machines are switched on for some of the hours and at most all of them",
            where="use",
            value=f"{assumptions.hours_used_fraction:g}",
            rule="above 0 and at most 1",
        )
    if not assumptions.spot_recovery_h >= 0:
        raise ScenarioError("a time must not be negative", where="spot_recovery", value=assumptions.spot_recovery_h)


def _offers(
    plan: Plan,
    i: int,
    catalog: Catalog,
    scenario: Scenario,
    supply: ElectricitySupply,
    assumptions: CostAssumptions,
    start: datetime.date | None,
) -> dict[PlanName, PurchaseOption]:
    """Options for the machines of pool `i`, spot at what an hour of work costs."""
    pool = plan.pools[i]
    machine = catalog.machine(pool.machine)
    here = supply.at(machine.site)
    options = purchase_options(
        catalog,
        machine,
        books=scenario.prices,
        assumptions=Assumptions(here.usd_per_kwh, here.pue, assumptions.cost_of_capital_per_year),
        start=start,
        power_w=pool.expected_power_w / (pool.count + pool.spares),
    )
    return {option.plan: _with_interruptions(option, assumptions) for option in options}


def _with_interruptions(option: PurchaseOption, assumptions: CostAssumptions) -> PurchaseOption:
    if not option.interruption_per_hour:
        return option
    price = spot_usd_per_useful_hour(
        option.usage_usd_per_hour, option.interruption_per_hour, assumptions.spot_recovery_h
    )
    return replace(option, usage_usd_per_hour=price)


def _pool_cost(
    plan: Plan,
    i: int,
    offers: Mapping[PlanName, PurchaseOption],
    name: PlanName,
    catalog: Catalog,
    assumptions: CostAssumptions,
) -> PoolCost:
    """One pool under one price plan, over the whole horizon."""
    pool, option = plan.pools[i], offers[name]
    source = option.source
    assert source is not None  # it comes from a price book
    count = pool.count + pool.spares
    months, use, rate = (
        assumptions.horizon_months, assumptions.hours_used_fraction, assumptions.cost_of_capital_per_year,
    )  # fmt: skip
    upfront = reserved = rented = 0.0

    def monthly(usd_per_hour: float, months: float, after: float = 0.0) -> float:
        """Value today of a payment every month, the first months from now."""
        factor = monthly_present_value_factor(rate, months, assumptions.payments)
        return usd_per_hour * HOURS_PER_MONTH * factor * math.exp(-after / 12.0 * math.log1p(rate))

    if (term := TERM_MONTHS.get(name)) is not None:
        on_demand = offers.get("on_demand")
        cover = term_cover(
            months, term, option.fixed_usd_per_hour, on_demand.usage_usd_per_hour if on_demand else None,
            hours_used_fraction=use, start_month=min(option.available_from_month, months),
        )  # fmt: skip
        reserved, rented, total = cover.reserved_months, cover.on_demand_months, cover.usd
        rent = use * on_demand.usage_usd_per_hour if on_demand and rented else 0.0
        before = cover.start_month if rent else 0.0
        present = (
            monthly(rent, before)
            + monthly(option.fixed_usd_per_hour, reserved, cover.start_month)
            + monthly(rent, rented - before, cover.start_month + reserved)
        )
    else:
        # A purchase is repaid at the ends of years, as its annuity was computed; all else is paid by the month.
        running = option.fixed_usd_per_hour - option.capital_usd_per_hour + use * option.usage_usd_per_hour
        total = (option.capital_usd_per_hour + running) * months * HOURS_PER_MONTH
        present = monthly(running, months)
        if option.capital_usd_per_hour:
            present += option.capital_usd_per_hour * HOURS_PER_YEAR * present_value_factor(rate, months / 12.0)
        if name == "owned":
            book = catalog.price_book(source.book)
            upfront = count * book.owned[pool.machine].purchase * source.usd_per_unit
    return PoolCost(
        plan=option.plan,
        role=pool.role,
        machine=pool.machine,
        count=count,
        fixed_usd_per_hour=count * option.fixed_usd_per_hour,
        usage_usd_per_hour=count * option.usage_usd_per_hour,
        usd_per_hour=count * total / (months * HOURS_PER_MONTH),
        upfront_usd=upfront,
        reserved_months=reserved,
        on_demand_months=rented,
        total_usd=count * total,
        present_value_usd=count * present,
        **asdict(source),
    )


def _price_plan(
    plan: Plan,
    name: PlanName,
    options: Sequence[PurchaseOption],
    pools: Sequence[PoolCost],
    assumptions: CostAssumptions,
    n_accelerators: int,
) -> PricePlanCost:
    months, use = assumptions.horizon_months, assumptions.hours_used_fraction
    total = math.fsum(p.total_usd for p in pools)
    mean = total / (months * HOURS_PER_MONTH)
    electricity = use * math.fsum(p.usage_usd_per_hour for p in pools) if name == "owned" else 0.0

    prompt, output = plan.prompt_tokens_per_hour or 0.0, plan.output_tokens_per_hour or 0.0
    fractions = [p.prompt_time_fraction for p in plan.pools]
    tokens = token_cost([p.usd_per_hour for p in pools], [f or 0.0 for f in fractions], use * prompt, use * output)
    return PricePlanCost(
        plan=name,
        usd_per_hour=mean,
        usd_per_month=mean * HOURS_PER_MONTH,
        usd_per_accelerator_hour=mean / n_accelerators,
        electricity_usd_per_hour=electricity,
        upfront_usd=math.fsum(p.upfront_usd for p in pools),
        committed_months=max((p.reserved_months for p in pools), default=0.0),
        total_usd=total,
        present_value_usd=math.fsum(p.present_value_usd for p in pools),
        usd_per_million_tokens=mean / (use * (prompt + output)) * 1e6,
        usd_per_million_prompt_tokens=None if None in fractions else tokens.usd_per_million_prompt_tokens,
        usd_per_million_output_tokens=None if None in fractions else tokens.usd_per_million_output_tokens,
        prompt_cost_fraction=None if None in fractions else tokens.prompt_share,
        notes=list(dict.fromkeys(_warnings(plan, options, pools, assumptions))),
    )


def _warnings(
    plan: Plan, options: Sequence[PurchaseOption], pools: Sequence[PoolCost], assumptions: CostAssumptions
) -> Iterator[str]:
    needed: dict[str, int] = {}
    for pool in plan.pools:
        needed[pool.machine] = needed.get(pool.machine, 0) + pool.count + pool.spares
    for option in options:
        count, name = needed[option.machine], option.machine
        if count < option.minimum_order:
            yield f"{name}: sold from {option.minimum_order} machines on, the plan has {count}"
        if option.max_count is not None and count > option.max_count:
            yield f"{name}: at most {option.max_count} to be had, the plan has {count}"
        if option.available_from_month > 0:
            yield f"{name}: comes {option.available_from_month:.1f} months after the start"
        if option.interruption_per_hour is None:
            yield f"{name}: how often spot machines are taken away is not known, so nothing is counted for it"
        elif option.interruption_per_hour > 0:
            lost = option.interruption_per_hour * assumptions.spot_recovery_h
            rate = f"{option.interruption_per_hour:.2g}"
            yield f"{name}: taken away {rate} times an hour; {100 * lost:.2g} % of its time lost"
    term = TERM_MONTHS.get(options[0].plan)
    for option, cost in zip(options, pools, strict=True) if term else ():
        terms = round(cost.reserved_months / term) if term else 0
        if cost.on_demand_months > 0:
            yield (
                f"{option.machine}: {terms} x {term:g} months reserved, and {cost.on_demand_months:.3g} months "
                "on demand"
            )
        elif cost.reserved_months > assumptions.horizon_months - option.available_from_month + 1e-9:
            yield (
                f"{option.machine}: paid for whole terms, {terms} x {term:g} months, more than the horizon of "
                f"{assumptions.horizon_months:g}"
            )


def _break_evens(
    plan: Plan,
    offers: Sequence[dict[PlanName, PurchaseOption]],
    catalog: Catalog,
    scenario: Scenario,
    assumptions: CostAssumptions,
) -> Iterator[OwningBreakEven]:
    """Each machine that can be bought against every rent of it and its like, the cheapest rent last."""
    seen: set[str] = set()
    for pool, options in zip(plan.pools, offers, strict=True):
        owned = options.get("owned")
        if owned is None or owned.source is None or pool.machine in seen:
            continue
        seen.add(pool.machine)
        machine = catalog.machine(pool.machine)
        terms = catalog.price_book(owned.source.book).owned[machine.name]
        rents = [
            _with_interruptions(option, assumptions)
            for like in _alike(machine, catalog)
            for option in purchase_options(catalog, like, books=scenario.prices)
            if option.plan != "owned"
        ]
        running = owned_running_per_hour(terms, machine) * owned.source.usd_per_unit
        running += assumptions.hours_used_fraction * owned.usage_usd_per_hour
        purchase = terms.purchase * owned.source.usd_per_unit
        for rent in sorted(rents, key=lambda r: (-_price(r), r.machine, r.plan)):
            assert rent.source is not None
            saving = rent.usd_per_hour_at(assumptions.hours_used_fraction) - running
            yield OwningBreakEven(
                machine=machine.name,
                rented_machine=rent.machine,
                plan=rent.plan,
                rent_usd_per_hour=_price(rent),
                owned_fixed_usd_per_hour=owned.fixed_usd_per_hour,
                owned_usage_usd_per_hour=owned.usage_usd_per_hour,
                purchase_usd=purchase,
                use_fraction=break_even_use(
                    owned.fixed_usd_per_hour,
                    owned.usage_usd_per_hour,
                    rent.usage_usd_per_hour,
                    rent.fixed_usd_per_hour,
                ),
                payback_months=payback_months(purchase, saving),
                discounted_payback_months=payback_months(purchase, saving, assumptions.cost_of_capital_per_year),
                life_months=terms.life_months,
                book=rent.source.book,
                date=rent.source.date,
                currency=rent.source.currency,
                exchange_date=rent.source.exchange_date,
            )


def _price(option: PurchaseOption) -> float:
    return option.fixed_usd_per_hour + option.usage_usd_per_hour


def _alike(machine: Machine, catalog: Catalog) -> list[Machine]:
    """Machines with as many of the same accelerator under the same cap: the rent of one is the rent of the other."""
    others = [catalog.machine(name) for name in catalog.names(Machine)]
    return [
        other
        for other in others
        if (other.accelerator, other.n_accelerators, other.power_cap)
        == (machine.accelerator, machine.n_accelerators, machine.power_cap)
    ]
