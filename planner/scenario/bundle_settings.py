"""Settings of a deployment's servers that differ from what its plan assumed, as fields of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.catalog.catalog import Catalog
from planner.engine.settings import kv_precision, sequence_limit, token_budget, with_settings
from planner.errors import ScenarioError
from planner.scenario.bundle import Server
from planner.scenario.scenario import Scenario

_FLAG_OF = {
    "max_batch": "the most sequences", "batched_tokens": "the most tokens a step", "chunked": "chunked prompts",
    "kv_precision": "the KV precision", "precision": "the precision of weights",
}  # fmt: skip


def settings_asked_for(servers: Sequence[Server], scenario: Scenario, catalog: Catalog) -> dict[str, Any]:
    """Fields of a scenario that servers were edited to; empty where they run as planned.

    Raises
    ------
    ScenarioError
        Servers that differ from each other in what a scenario has one value of, or in memory that it has none of.
    """
    runtime = with_settings(
        catalog.runtime(scenario.runtime, where="runtime"),
        max_batch=scenario.max_batch, batched_tokens=scenario.batched_tokens, chunked=scenario.chunked,
    )  # fmt: skip
    llm = catalog.llm(scenario.model, where="model")
    released = llm.weight_precision
    weights = scenario.precision or released
    cache = scenario.kv_precision or kv_precision(runtime, scenario.precision, llm.kv_precision)
    said: dict[str, dict[Any, str]] = {name: {} for name in _FLAG_OF}
    edited: set[str] = set()
    for server in servers:
        s = server.settings
        accelerator = catalog.accelerator_of(catalog.machine(server.machine, where=server.where))
        planned = {
            "max_batch": (s.max_sequences, sequence_limit(runtime, accelerator)),
            "batched_tokens": (s.max_tokens, token_budget(runtime, accelerator)),
            "chunked": (s.chunked, runtime.batching.prompts == "chunked"),
            "kv_precision": (llm.kv_precision if s.kv_precision == "auto" else s.kv_precision, cache),
            # A checkpoint may have been quantised before: only a word that contradicts counts.
            "precision": (weights if s.quantization == "none" else s.quantization, weights),
        }
        for name, (value, expected) in planned.items():
            said[name].setdefault(value, server.where)
            if value != expected and value not in (0, ""):
                edited.add(name)
        kept = 1.0 - runtime.memory_reserve
        is_vllm = runtime.memory_use.reserve_of == "memory" and runtime.memory_reserve > 0 and s.memory_fraction > 0
        if is_vllm and runtime.name.startswith(("vllm", "splitwise")) and abs(s.memory_fraction - kept) > 5e-4:
            raise ScenarioError(
                "a share of memory that the runtime does not have", where=server.where, value=s.memory_fraction,
                rule=f"{scenario.runtime} leaves {runtime.memory_reserve:g} of it free",
                fix="set memory_reserve of the runtime in a --catalog folder to 1 - that share",
            )  # fmt: skip
    for name in sorted(edited):
        if len(said[name]) > 1:
            unlike = ", ".join(f"{value} in {where}" for value, where in said[name].items())
            raise ScenarioError(
                f"servers differ in {_FLAG_OF[name]}", where="cluster", value=unlike,
                rule="a scenario has one value of it for all pools",
            )  # fmt: skip
    return {name: next(iter(said[name])) for name in sorted(edited)}
