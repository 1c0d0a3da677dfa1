"""Every question that can be asked, with the fields that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

from planner.errors import InputError
from planner.portfolio.fleet import Fleet
from planner.scenario.cluster import Cluster
from planner.scenario.scenario import Scenario
from planner.serve.asked_files import questions_of_files
from planner.serve.option_fields import Fields, flag, number, object_of, options_of, text, texts
from planner.serve.questions import Parts, Places, Question, written

# Questions that are tools of an assistant: each costs it the words of a scenario's schema.
OF_ASSISTANTS = ("optimize", "evaluate", "cost", "why", "catalog_list", "catalog_show")

_COST = {
    "horizon": text("Time of the totals, such as `3 years` or `18 months`"),
    "use": text("Share of all hours that machines are on, such as `60 %`"),
    "cost_of_capital": text("Rate a year for present values, such as `8 %`"),
    "start": text("First day as a date, such as 2027-01-31"),
}
_SIMULATE = {
    "seeds": text("Number of runs, or the seed of each: 3, or 7,8,9"),
    "requests": number("Requests of each run"),
    "load": text("Multiple of the rate"),
    "replay": flag("Whether the trace that is the workload is played with its own timestamps"),
    "repeat": number("Times that a replay is played over"),
    "rates": text("Rates that follow each other in place of one, such as 10/s,40/s,20/s"),
    "period": text("Time that each of `rates` lasts, such as 1h"),
    "policy": text("Scheduling: jsq or splitwise"),
    "routing": text("Routing: pending-tokens, least-loaded or round-robin"),
    "chunk_tokens": number("Tokens of a step of chunked prefill, decoding sequences counted"),
    "fail": texts("Machines that stop, such as decode:0@120s-300s"),
}
_ALTERNATIVES = {
    "within": text("Share above the best that a plan may cost, such as 5 %"),
    "owned": texts("Machines that are there already, as NAME=N"),
    "most": number("Mixes to list at most"),
}
_FRONTIER = {
    "x": text("Figure that is varied: power, cost, machines, rate, network, or an objective such as ttft or ttft.p50"),
    "y": text("Figure that is least: cost, power or machines"),
    "from": text("Value where x begins, with its unit: 30kW, 10/s, 200ms"),
    "to": text("Value where x ends"),
    "tolerance": text("Share to which loads and limits are placed"),
}
_SENSITIVITY = {
    "error": texts("Errors of inputs, such as load=20%, price=10% or step-time=10%; 0 leaves one out"),
    "draws": number("Draws of all inputs at once; 0 for none"),
    "flips": flag("Whether to look for what would change the decision", default=True),
}
_ESTIMATE = {
    "model": text("Model of the catalog"),
    "machine": text("Machine of the catalog"),
    "phase": text("Phase: prefill or decode"),
    "batch": number("Prompts or sequences in the step"),
    "tokens": number("Tokens of each prompt, or of context of each sequence"),
    "tensor_parallel": number("Accelerators of a stage"),
    "pipeline_parallel": number("Stages"),
    "expert_parallel": number("Ranks that experts are spread over"),
    "attention_data_parallel": number("Groups of ranks with sequences of their own"),
    "precision": text("Precision of weights, such as bf16 or fp8"),
    "kv_precision": text("Precision of the KV cache"),
    "runtime": text("Runtime of the catalog"),
    "fit": flag("Whether to say for every machine whether it can serve the model, how, and why not"),
}
_ROBUSTNESS = {
    "mix": texts("Workloads that come in the place of the one planned for"),
    "growth": texts("Shares by which the load grows, such as 25%"),
    "burst": texts("Coefficients of variation of the gaps between arrivals"),
    "rack": number("Machines of a pool that are lost together"),
    "only": texts("Kinds of mishap: mix, growth, burst, machine or rack"),
}
_SWEEP: Fields = {"vary": {"type": "object", "description": "Fields of a scenario, each with the list of its values"}}
_FLEET = {"fleet_text": text("Text of a fleet file in YAML, in the place of fields")}
_SHOW = {"name": text("Name of the entry"), "kind": text("Kind, where several have the name")}
_REGIME = {
    "x": text("Axis, such as ttft=200ms..5s:20 or price-ratio"),
    "y": text("Other axis, likewise"),
    "points": number("Points of an axis that does not say"),
    "price_ratio_of": text("Pair of machines, NAME/NAME: the first one's price becomes so many times the second's"),
}


@cache
def questions() -> dict[str, Question]:
    """All questions by name."""
    scenario = Scenario.model_json_schema(mode="validation")
    fleet = Fleet.model_json_schema(mode="validation")
    cluster = Cluster.model_json_schema(mode="validation")
    definitions = cluster.get("$defs", {}) | scenario.get("$defs", {})
    pools = {"pools": {**cluster["properties"]["pools"], "description": "Pools of the cluster"}}
    plan = {"plan_result": {"type": "object", "description": "Plan as `optimize` answers it, in the place of pools"}}

    def schema(own: Fields, required: tuple[str, ...] = ()) -> Fields:
        return object_of(own | scenario["properties"], required, definitions)

    found = [
        Question(
            "optimize", "Find the best cluster",
            "Find the machines, counts and roles that serve a workload within latency objectives at the least cost or"
            " power, proven and simulated. Takes the fields of a scenario; all may be left out.",
            schema({}), "optimize --quiet", lambda fields, places: ([], []), "argument",
        ),
        Question(
            "evaluate", "Predict what a cluster does",
            "Predict latencies, utilisation, cost and headroom of a given cluster under a workload.",
            schema(pools, ("pools",)), "evaluate --quiet", _of_cluster({}), "option",
        ),
        Question(
            "cost", "Cost a cluster",
            "Cost a cluster or plan owned, reserved, on demand and spot over a horizon, and when owning pays.",
            schema(pools | plan | _COST), "cost --quiet", _of_cluster(_COST), "option",
        ),
        Question(
            "why", "Why a machine or design was not chosen",
            "Say why a machine or a design is not in the best plan for a scenario, and what it would take.",
            schema({"subject": text("Machine or design of the catalog, or `all`")}, ("subject",)),
            "why --quiet", lambda fields, places: ([], [str(fields.pop("subject"))]), "argument",
        ),
        Question(
            "catalog_list", "List the catalog",
            "List the names of all entries of the hardware and model catalog, or one kind with its main figures.",
            object_of({"kind": text("Kind of entries, such as machines, models or prices")}),
            "catalog list", lambda fields, places: ([], _given(fields.pop("kind", None))), None,
        ),
        Question(
            "catalog_show", "Show an entry of the catalog",
            "Show every field of one entry of the catalog with its unit and source, and the prices of a machine.",
            object_of(_SHOW, ("name",)),
            "catalog show",
            lambda fields, places: (options_of({"kind": text("")}, fields), _given(fields.pop("name"))), None,
        ),
        Question(
            "simulate", "Simulate a cluster",
            "Simulate a given cluster request by request.",
            schema(pools | plan | _SIMULATE), "simulate --quiet", _of_cluster(_SIMULATE), "option",
        ),
        Question(
            "robustness", "How a cluster takes mishaps",
            "Say how a cluster takes another mix, growth, bursts and losses.",
            schema(pools | plan | _ROBUSTNESS), "robustness --quiet", _of_cluster(_ROBUSTNESS), "option",
        ),
        Question(
            "alternatives", "Find plans nearly as good",
            "Find the plans within a share of the best, and the one that needs fewest machines beyond those owned.",
            schema(_ALTERNATIVES), "alternatives --quiet", _of_options(_ALTERNATIVES), "argument",
        ),
        Question(
            "frontier", "Find trade-offs",
            "Find all trade-offs between two figures, such as cost and power, or cost and load.",
            schema(_FRONTIER), "frontier --quiet", _of_options(_FRONTIER), "argument",
        ),
        Question(
            "sensitivity", "How sure a plan is",
            "Say how a plan changes with errors of its inputs, and what would change the decision.",
            schema(_SENSITIVITY), "sensitivity --quiet --workers 1", _of_options(_SENSITIVITY), "argument",
        ),
        Question(
            "regime_map", "Map which design wins",
            "Find which design wins, and by how much, wherever two things may lie that are not sure.",
            schema(_REGIME), "map regime --quiet --workers 1", _of_options(_REGIME), "argument",
        ),
        Question(
            "sweep", "Find the best cluster of a grid",
            "Find the best plan of every combination of some fields of a scenario.",
            schema(_SWEEP, ("vary",)),
            "sweep --quiet --workers 1", _of_sweep, None,
        ),
        Question(
            "procure", "Find what to own, reserve and rent",
            "Find what to own, reserve and rent for several workloads over time. Takes the fields of a fleet file, or"
            " its text.",
            object_of(fleet["properties"] | _FLEET, (), fleet.get("$defs", {})),
            "procure --quiet", _of_fleet, None,
        ),
        Question(
            "estimate", "Time one step",
            "Time one step of a model on a machine, operator by operator.",
            object_of(_ESTIMATE), "estimate --quiet", _of_options(_ESTIMATE), None,
        ),
        *questions_of_files(),
    ]  # fmt: skip
    return {question.name: question for question in found}


def _of_options(own: Mapping[str, Fields]) -> Callable[[Fields, Places], Parts]:
    return lambda fields, places: (options_of(own, fields), [])


def _of_cluster(own: Mapping[str, Fields]) -> Callable[[Fields, Places], Parts]:
    return lambda fields, places: (options_of(own, fields), [_file_of(fields, places)])


def _file_of(fields: Fields, places: Places) -> str:
    """File with the pools or the plan that a question is about."""
    pools, plan = fields.pop("pools", None), fields.pop("plan_result", None)
    if (pools is None) is (plan is None):
        raise InputError("a cluster is given once", where="pools", rule="either `pools` or `plan_result`")
    return written(places.folder / "cluster.json", {"pools": pools} if plan is None else plan)


def _of_sweep(fields: Fields, places: Places) -> Parts:
    vary, base = fields.pop("vary"), dict(fields)
    fields.clear()
    return [], [written(places.folder / "sweep.json", {"base": base, "vary": vary})]


def _of_fleet(fields: Fields, places: Places) -> Parts:
    given = fields.pop("fleet_text", None)
    if given is None:
        own = dict(fields)
        fields.clear()
        return [], [written(places.folder / "fleet.json", own)]
    if fields:
        raise InputError("a fleet is given once", where="fleet_text", rule="either its text or its fields")
    (places.folder / "fleet.yaml").write_text(str(given), encoding="utf-8")
    return [], ["fleet.yaml"]


def _given(value: object) -> list[str]:
    return [] if value is None else [str(value)]


Lane = Literal["lookup", "question"]


def lane_of(question: Question) -> Lane:
    """Look-ups in the catalog go beside questions that take long."""
    return "lookup" if question.name.startswith("catalog_") else "question"
