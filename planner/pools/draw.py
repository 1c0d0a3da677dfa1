"""Draw of a machine whose lanes are full: what the objective `energy` counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from planner.catalog.schema import Llm, Runtime
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.power import machine_power_w, step_power_w
from planner.latency.roofline import RooflineLatency
from planner.latency.shortcuts import as_measured
from planner.pools.configuration import Configuration
from planner.serving.requests import Traffic


def roofline_of(configuration: Configuration, llm: Llm, runtime: Runtime) -> RooflineLatency:
    """The roofline of a configuration; where step times come from a profile, which says nothing of use, its own."""
    step = as_measured(configuration.lane.step)
    if isinstance(step, RooflineLatency):
        return step
    return RooflineLatency(llm, configuration.machine, configuration.accelerator, runtime, configuration.layout)


@dataclass(frozen=True, eq=False)
class FullDraw(Mapping[str, float]):
    """`full_draw_w` of a configuration, worked out when somebody asks."""

    configuration: Configuration
    traffic: Traffic
    llm: Llm
    runtime: Runtime

    @cached_property
    def _by_role(self) -> Mapping[str, float]:
        return full_draw_w(self.configuration, self.traffic, self.llm, self.runtime)

    def __getitem__(self, role: str) -> float:
        return self._by_role[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_role)

    def __len__(self) -> int:
        return len(self._by_role)


def with_full_draw(configuration: Configuration, traffic: Traffic, llm: Llm, runtime: Runtime) -> Configuration:
    """The same configuration with `full_draw_w` known when asked for."""
    return replace(configuration, full_draw_w=FullDraw(configuration, traffic, llm, runtime))


def full_draw_w(configuration: Configuration, traffic: Traffic, llm: Llm, runtime: Runtime) -> Mapping[str, float]:
    """Mean draw of one machine in each role while every replica of it is busy [W].

    Notes
    -----
    A prefill pool computes mean prompts; a decode pool the largest batch that its memory and the engine hold; a mixed
    pool both, in the proportion of the time that a request takes of each.
    """
    c, sizes = configuration, traffic.sizes
    step, efficiency = roofline_of(c, llm, runtime), runtime.efficiency(c.accelerator, c.machine)
    cap = c.machine.power_cap.accelerator_fraction if c.machine.power_cap else 1.0
    context = max(sizes.decode_context_tokens, 1.0)
    held = c.lane.kv_tokens / context
    batch = max(min(held, float(c.lane.max_batch)) if math.isfinite(held) else float(c.lane.max_batch), 1.0)
    prompts, decodes = prefill_batch(sizes.mean_prompt_tokens), decode_batch(batch, context)
    prefill_w, decode_w = (step_power_w(step, b, c.accelerator, efficiency, cap) for b in (prompts, decodes))
    prefill_s = float(step.step_time_s(prompts))
    decode_s = traffic.mean_decode_steps * float(step.step_time_s(decodes)) / batch
    mixed_w = (prefill_s * prefill_w + decode_s * decode_w) / (prefill_s + decode_s)
    used = c.layout.replicas * c.layout.accelerators_per_replica / c.machine.n_accelerators
    return {
        role: min(machine_power_w(c.machine, c.accelerator, efficiency, watts, used), c.machine.rated_power_w)
        for role, watts in (("prefill", prefill_w), ("decode", decode_w), ("mixed", mixed_w))
    }
