"""How fast the simulator is on one core, and how much memory long runs take.

    python benchmarks/simulation_speed.py                        a 40-machine split cluster on coding sizes, and a
                                                                 4-machine mixed one on conversation sizes
    python benchmarks/simulation_speed.py --long 1000000         a 200-machine cluster: requests/s and peak memory
    python benchmarks/simulation_speed.py --long 10000000        ten million requests, 24 hours at 116 requests/s

The time of a fixed loop in plain Python is printed beside, so that the figures carry from one machine to another; CPU
time is used throughout, because others may share the machine.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

from planner.planning.evaluate import members_and_routes
from planner.pools.configuration import configure, make_layout
from planner.pools.prediction import Member, Route
from planner.scenario.cluster import read_cluster
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.simulation.arrivals import draw_requests
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.energy import pool_power
from planner.simulation.specification import SPLITWISE, Policy

# The authors' simulator took 8 to 13 s of one core for 8,359 requests on such a cluster.
AUTHORS_REQUESTS_PER_S = 8359 / 8.0


def loop_s(n: int = 10_000_000) -> float:
    """CPU time of a loop of plain integer arithmetic [s]."""
    start, x = time.process_time(), 0
    for i in range(n):
        x = (x + i) & 1023
    return time.process_time() - start


def split_cluster(problem: Problem, n_prefill: int, n_decode: int) -> ClusterSimulation:
    """DGX H100 machines, one replica each."""
    pools = read_cluster(
        [
            {"role": "prefill", "machine": "dgx-h100", "count": n_prefill},
            {"role": "decode", "machine": "dgx-h100", "count": n_decode},
        ]
    ).pools
    machine = problem.catalog.machine("dgx-h100", where="benchmark")
    configuration = configure(problem.catalog, machine, problem.serving, make_layout(machine, problem.serving, 8))
    rate = problem.need.rate_per_s
    members = [Member(pool.role, configuration, pool.count, rate) for pool in pools]
    power = pool_power(problem.llm, problem.runtime)
    return ClusterSimulation(members, [Route(0, 1, rate)], problem.need, problem.sizes, problem.reference, power)


def speed(n_requests: int) -> None:
    """The 40-machine cluster, policy by policy."""
    problem = resolve(Scenario(model="bloom-176b", workload="azure-code-2023", runtime="splitwise-2023", rate=70.0))
    simulation = split_cluster(problem, 35, 5)
    requests = draw_requests(problem.sizes, 70.0, n_requests, seed=1)
    fixed = loop_s()
    print(f"loop of 10 million additions: {fixed:.2f} s of CPU")
    print(f"35 prefill + 5 decode dgx-h100, bloom-176b, coding sizes, 70 requests/s, {n_requests:,} requests")
    policies = {
        "shortest queue, FCFS batches, KV memory, NIC contention": Policy(),
        "all of it, mixed pool, pauses, memory routing": SPLITWISE,
        "all of it, chunked prefill": Policy(overflow=True, decode_routing="memory", chunk_tokens=2048),
    }
    for name, policy in policies.items():
        start = time.process_time()
        outcome = simulation.run(requests, policy=policy, seed=1)
        took = time.process_time() - start
        per_s = n_requests / took
        simulated = simulation.summarise([outcome])
        print(
            f"  {name}: {per_s:,.0f} requests/s, {per_s * fixed:,.0f} a loop, "
            f"{per_s / AUTHORS_REQUESTS_PER_S:.0f} x the authors' simulator; "
            f"busy {simulated.busy[0]:.0%} + {simulated.busy[1]:.0%}, {outcome.n_overflowed:,} overflowed"
        )


def speed_of_a_plan(n_requests: int) -> None:
    """What certification simulates over and over: four mixed machines of two replicas, conversation sizes."""
    problem = resolve(Scenario(workload="azure-conv-2023", rate=70.0))
    members, routes = members_and_routes(problem, read_cluster([{"role": "mixed", "machine": "dgx-h100", "count": 4}]))
    simulation = ClusterSimulation(members, routes, problem.need, problem.sizes, problem.reference)
    requests = draw_requests(problem.sizes, 70.0, n_requests, seed=1)
    simulation.run(requests.first(1000))  # tabulates the step times
    fixed, start = loop_s(), time.process_time()
    simulation.run(requests, seed=1)
    per_s = n_requests / (time.process_time() - start)
    print(
        f"4 mixed dgx-h100 ({members[0].configuration.layout.label}), llama-3.1-70b, conversation sizes, 70 a second\n"
        f"  {per_s:,.0f} requests/s, {per_s * fixed:,.0f} a loop"
    )


def long_run(n_requests: int) -> None:
    """A 200-machine cluster over as many requests; what it takes in time and memory."""
    rate = 116.0
    problem = resolve(Scenario(model="llama-3.1-70b", workload="azure-conv-2023", rate=rate))
    simulation = split_cluster(problem, 80, 120)
    before = _peak_bytes()
    start = time.process_time()
    requests = draw_requests(problem.sizes, rate, n_requests, seed=1)
    said = time.monotonic()
    begun = said

    def tell(done: int, now_s: float) -> None:
        nonlocal said
        now = time.monotonic()
        if done and now - said > 10.0:
            said = now
            left = (now - begun) / done * (n_requests - done)
            print(f"  {done:,} requests, {now_s / 3600:.1f} h simulated, {left:,.0f} s left", file=sys.stderr)

    outcome = simulation.run(requests, policy=SPLITWISE, progress=tell)
    run_s, run_bytes = time.process_time() - start, _peak_bytes()
    simulated = simulation.summarise([outcome])
    took = time.process_time() - start
    ttft, tbt = simulated.percentiles["ttft", 99.0], simulated.percentiles["tbt", 99.0]
    mib = [f"{x / 2**20:.0f} MiB" for x in (before, run_bytes, _peak_bytes())]
    print(
        f"{n_requests:,} requests over {outcome.end_s / 3600:.1f} h on 200 machines"
        f"{', interrupted' * outcome.interrupted}"
    )
    print(f"  {n_requests / run_s:,.0f} requests/s; {took:.0f} s of CPU with percentiles; {outcome.n_finished:,} done")
    print(f"  peak memory {mib[0]} before, {mib[1]} after the run, {mib[2]} with percentiles")
    print(f"  ttft p99 {ttft.value:.3f} s, tbt p99 {tbt.value * 1e3:.1f} ms")


def _peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--long", type=int, metavar="REQUESTS")
    options = parser.parse_args()
    if options.long:
        long_run(options.long)
    else:
        speed(options.requests)
        speed_of_a_plan(options.requests)


if __name__ == "__main__":
    main()
