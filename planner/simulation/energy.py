"""Power of simulated pools, from how busy they were and with what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from planner.catalog.schema import Llm, Runtime
from planner.latency.batch import Batch, decode_batch, prefill_batch
from planner.latency.power import machine_power_w, step_power_w
from planner.latency.roofline import RooflineLatency
from planner.pools.configuration import Configuration
from planner.pools.draw import roofline_of
from planner.pools.prediction import Member
from planner.simulation.outcome import Outcome

PoolPower = Callable[[Member, Sequence[Outcome], int], float]


def pool_power(llm: Llm, runtime: Runtime) -> PoolPower:
    """A function that says how much power a simulated pool drew on average, all its machines together [W].

    Notes
    -----
    The power of a step follows from its utilisation of compute and of memory bandwidth (`planner.latency.power`),
    taken at the pool's mean steps: the mean prompt, and the mean batch at its mean context. Lanes without work draw
    idle power. Where step times come from a measured profile, which says nothing of utilisation, that of the roofline
    is taken.
    """

    def mean_w(member: Member, outcomes: Sequence[Outcome], i: int) -> float:
        configuration = member.configuration
        machine, efficiency = configuration.machine, runtime.efficiency(configuration.accelerator)

        def total(name: str) -> float:
            return sum(float(getattr(o, name)[i]) for o in outcomes)

        time = sum(float(o.pool_lanes[i]) * max(o.horizon_s, 1e-12) for o in outcomes)
        busy, prompts, batch = total("pool_busy_s"), total("pool_prompt_s"), total("pool_batch_s")
        if busy <= 0.0:
            return member.count * machine_power_w(machine, configuration.accelerator, efficiency, 0.0, 0.0)
        step = roofline_of(configuration, llm, runtime)
        drawn = 0.0
        if prompts > 0.0:
            mean = sum(float(o.requests.prompt_tokens[: o.n_arrived].sum()) for o in outcomes)
            mean /= max(sum(o.n_arrived for o in outcomes), 1)
            drawn += prompts * _step_power_w(step, prefill_batch(max(mean, 1.0)), configuration, runtime)
        if busy > prompts and batch > 0.0:
            sequences = decode_batch(max(batch / busy, 1.0), total("pool_context_token_s") / batch)
            drawn += (busy - prompts) * _step_power_w(step, sequences, configuration, runtime)
        layout = configuration.layout
        used = layout.replicas * layout.accelerators_per_replica / machine.n_accelerators
        one = machine_power_w(machine, configuration.accelerator, efficiency, drawn / busy, busy / time * used)
        return member.count * min(one, machine.rated_power_w)

    return mean_w


def _step_power_w(step: RooflineLatency, batch: Batch, configuration: Configuration, runtime: Runtime) -> float:
    """Power of one accelerator in a step [W]."""
    cap = configuration.machine.power_cap.accelerator_fraction if configuration.machine.power_cap else 1.0
    efficiency = runtime.efficiency(configuration.accelerator)
    return step_power_w(step, batch, configuration.accelerator, efficiency, cap)
