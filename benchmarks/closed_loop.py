"""Closed loops of clients as they were measured, posed to the simulator: one posing for every page that scores them.

N clients start together; each sends its next request when its answer is complete; 10 N requests in all; means over all
of them. What the files of runs do not say was looked up at the tools that made them, once the runs had shown that
their prompts cannot have shared steps of 8,192 tokens and that answers have one length in some and many in others:

- Runs with an engine version are those of NVIDIA's aiconfigurator, whose generator writes server and client
  (ai-dynamo/aiconfigurator, src/aiconfigurator/generator: rule_plugin/benchmark/*.rule, backend_templates/benchmark):
  answers of exactly the length asked for (`--osl-stddev 0`, `ignore_eos`); vLLM and TensorRT-LLM with a token budget
  of batch + prompt + 1,500, where the batch is taken to be N; SGLang's template passes no budget.
- Runs without one have the sizes and concurrencies of InferenceMAX, whose client draws both lengths evenly between 80 %
  of those asked for and all of them (`--random-range-ratio 0.8 --num-prompts 10 N`), and whose vLLM server runs with
  `--max-num-seqs N --max-num-batched-tokens 8192` (InferenceMAX, benchmarks/70b_fp8_h100_docker.sh).

Everything else is the built-in runtime of the engine. With answers of one length, who shares a step goes on sharing
steps, and prompts wait for each other again and again; with unlike ones the clients drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from measurements import Run

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Runtime
from planner.engine.settings import kv_precision, with_settings
from planner.latency.layout import Layout
from planner.pools.configuration import Configuration, Serving, configure
from planner.pools.prediction import Member, Route
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.simulation.arrivals import Requests, requests_of
from planner.simulation.closed_loop import Clients
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.summary import values_of

REQUESTS_A_CLIENT = 10
BEYOND_A_PROMPT = 1500  # of a server that aiconfigurator's generator sets up
LEAST_LENGTH = 0.8  # of InferenceMAX's requests, of the length asked for


@dataclass(frozen=True)
class Posing:
    """What a run was made with.

    Attributes
    ----------
    least_length : float
        Shortest prompt and answer, of those asked for.
    max_batch, batched_tokens : int or None
        Settings of the server; None: its defaults.
    """

    least_length: float
    max_batch: int | None
    batched_tokens: int | None


def posing_of(run: Run) -> Posing:
    """How the tool that made a run poses it."""
    if not run.version:
        return Posing(LEAST_LENGTH, run.concurrency, None)
    budget = run.concurrency + run.input_tokens + BEYOND_A_PROMPT
    return Posing(1.0, run.concurrency, None if run.backend == "sglang" else budget)


@lru_cache
def problem_of(model: str, machine: str) -> Problem:
    """Of a model on a machine; its workload is of no account."""
    return resolve(Scenario(model=model, workload="azure-conv-2023", rate=1.0, machines=(machine,)))


def replica(problem: Problem, machine: str, serving: Serving, tensor_parallel: int) -> Configuration:
    """One replica on a machine."""
    precision = serving.precision or problem.llm.weight_precision
    kv = kv_precision(serving.runtime, serving.precision, problem.llm.kv_precision)
    layout = Layout(tensor_parallel=tensor_parallel, replicas=1, precision=precision, kv_precision=kv)
    return configure(problem.catalog, problem.catalog.machine(machine), serving, layout)


def simulation_of(problem: Problem, configuration: Configuration) -> ClusterSimulation:
    """A server alone."""
    return ClusterSimulation(
        [Member("mixed", configuration, 1, 1.0)], [Route(0, None, 1.0)], problem.need, problem.sizes
    )


def server_of(catalog: Catalog, run: Run, runtime: Runtime | None = None) -> ClusterSimulation:
    """The server of a run, under the engine's built-in runtime where no other is given."""
    problem, posing = problem_of(run.model, run.machine), posing_of(run)
    started = with_settings(
        runtime or catalog.runtime(f"{run.backend}-2026"),
        max_batch=posing.max_batch, batched_tokens=posing.batched_tokens,
    )  # fmt: skip
    serving = replace(problem.serving, runtime=started, precision=run.precision)
    return simulation_of(problem, replica(problem, run.machine, serving, run.tensor_parallel))


def requests_of_run(run: Run, seed: int = 1) -> Requests:
    """The requests of a run, in the order in which clients send them."""
    n = REQUESTS_A_CLIENT * run.concurrency
    prompt, output = np.random.default_rng(seed).uniform(posing_of(run).least_length, 1.0, (2, n))
    return requests_of(np.zeros(n), run.input_tokens * prompt, run.output_tokens * output)


def simulated(catalog: Catalog, run: Run, runtime: Runtime | None = None) -> tuple[float, float]:
    """Mean time to the first token and mean time between tokens of a run [s]."""
    outcome = server_of(catalog, run, runtime).run(requests_of_run(run), clients=Clients(run.concurrency))
    return float(values_of(outcome, "ttft").mean()), float(np.nanmean(values_of(outcome, "tbt")))
