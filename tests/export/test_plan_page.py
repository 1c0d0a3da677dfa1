"""The page of a plan: whole, escaped, and complete without any other file."""

from __future__ import annotations

import datetime
import re
from html import unescape
from html.parser import HTMLParser

import pytest

import planner
from planner.export.plan_page import plan_page
from planner.planning.plan import Plan

TODAY = datetime.date(2026, 11, 26)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planner.optimize(slo="ttft=1s", design="Splitwise-HA", spares=1, verify=False)


class Balanced(HTMLParser):
    """Checks that every element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_whole_and_needs_nothing_else(plan: Plan) -> None:
    page = plan_page(plan, TODAY)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not parser.tags & {"script", "link", "img", "iframe"}
    assert "src=" not in page and "url(" not in page
    assert page == plan_page(plan, TODAY)


def test_it_has_the_figures_of_the_plan(plan: Plan) -> None:
    text = unescape(re.sub(r"<[^>]+>", " ", plan_page(plan, TODAY)))
    for pool in plan.pools:
        assert re.search(rf"{pool.role}\s+{pool.machine}\s+{pool.count} \+ {pool.spares} spare", text)
    for wanted in (
        f"${plan.cost_usd_per_hour:,.2f}",
        f"${plan.cost_usd_per_month:,.0f}",
        "TTFT p99",
        "three years old",
    ):
        assert wanted in text
    for alternative in plan.alternatives:
        assert alternative.pools in text
    assert '"slo"' in text


def test_bars_are_in_proportion(plan: Plan) -> None:
    widths = [float(w) for w in re.findall(r"<rect width=\"([\d.]+)%\"", plan_page(plan, TODAY))]
    costs = [plan.cost_usd_per_hour, *(a.cost_usd_per_hour for a in plan.alternatives)]
    assert widths == pytest.approx([100 * c / max(costs) for c in costs], abs=0.06)


def test_text_is_escaped(plan: Plan) -> None:
    attack = "<script>alert(1)</script>"
    hurt = plan.model_copy(update={
        "workload": attack, "notes": [attack], "scenario": plan.scenario | {"workload": attack},
        "prices": [p.model_copy(update={"source": attack, "book": attack}) for p in plan.prices],
    })  # fmt: skip
    page = plan_page(hurt, TODAY)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_without_prices_designs_are_compared_by_power(plan: Plan) -> None:
    free = plan.model_copy(update={
        "cost_usd_per_hour": None, "cost_usd_per_month": None, "cost_usd_per_million_tokens": None, "prices": [],
    })  # fmt: skip
    page = plan_page(free, TODAY)
    assert ">rated power<" in page and "no price known" in page
