"""Users in place of a rate: Little's law, a queue in closed form, and a front end with a queue of its own."""

from __future__ import annotations

import numpy as np
import pytest

import planner
from planner.errors import ScenarioError
from planner.simulation.arrivals import requests_of
from planner.simulation.closed_loop import Clients, behind_front_end
from planner.simulation.engine import simulate_requests
from planner.simulation.outcome import Outcome
from planner.simulation.summary import values_of

from .affine import AffineSteps, lanes_of

STEP = AffineSteps()
NOBODY = np.array([], dtype=np.int64)


def served(clients: Clients, n: int, front_end_s: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Outcome:
    rng = np.random.default_rng(3)
    outputs = np.minimum(rng.geometric(1 / 60, n), 400)
    requests = requests_of(np.zeros(n), np.clip(rng.lognormal(6.0, 0.5, n), 1, 4000), outputs)
    lanes = lanes_of(STEP, "mixed", 0, 0, 2)
    return simulate_requests(lanes, [(0, None, 1.0)], {}, requests, clients=clients, front_end_s=front_end_s)


def test_littles_law_of_users_who_think() -> None:
    """N = X (R + Z): all users either wait for an answer or think."""
    clients = Clients(40, think_s=3.0)
    outcome = served(clients, 8000, (0.01, 0.001, 0.0))
    e2e = values_of(outcome, "e2e")
    sent = outcome.requests.arrival_s
    part = slice(800, 7200)
    rate = (part.stop - part.start) / (sent[part.stop] - sent[part.start])
    assert rate * (e2e[part].mean() + clients.think_s) == pytest.approx(clients.count, rel=0.02)


def test_never_more_in_flight_than_users_and_nobody_idles() -> None:
    outcome = served(Clients(7), 500)
    sent, done = outcome.requests.arrival_s, outcome.finish_s
    in_flight = [int(((sent <= t) & (done > t)).sum()) for t in sent[7:-7:10]]
    assert set(in_flight) == {7}


def test_one_user_sees_an_empty_server() -> None:
    outcome = served(Clients(1), 200)
    prompt, output = outcome.requests.prompt_tokens.astype(float), outcome.requests.output_tokens.astype(float)
    prefill = STEP.scalar(prompt, 0.0, 1, 0, 0.0)
    context = (output - 1) * (prompt + output / 2.0)
    decode = (output - 1) * STEP.scalar(0.0, 0.0, 0, 1, 0.0) + STEP.context_s * context
    np.testing.assert_allclose(values_of(outcome, "e2e"), prefill + decode, rtol=1e-9, atol=1e-9)


def test_a_front_end_is_a_queue_with_one_server() -> None:
    """M/D/1 by Pollaczek and Khinchine: mean wait rho w / (2 (1 - rho)); nothing is lost on the way."""
    rng = np.random.default_rng(1)
    n, work_s, rate = 200_000, 0.004, 200.0
    requests = requests_of(np.cumsum(rng.exponential(1.0 / rate, n)), np.full(n, 100), np.full(n, 2))
    done = behind_front_end(requests, (0.5, 0.003, 1e-5), 1, NOBODY)
    wait = done - requests.arrival_s - work_s
    rho = rate * work_s
    assert wait.min() >= -1e-9
    assert wait.mean() == pytest.approx(rho * work_s / (2 * (1 - rho)), rel=0.04)
    assert (np.diff(done) >= work_s - 1e-9).all()


@pytest.mark.parametrize("n_replicas", [1, 4])
def test_each_replica_has_a_front_end_of_its_own(n_replicas: int) -> None:
    """Where the front end is what holds requests up, so many replicas answer so many times as many."""
    n, work_s = 2000, 0.5
    requests = requests_of(np.zeros(n), np.full(n, 10), np.full(n, 2))
    lanes = lanes_of(STEP, "mixed", 0, 0, n_replicas)
    outcome = simulate_requests(
        lanes, [(0, None, 1.0)], {}, requests, clients=Clients(20 * n_replicas), front_end_s=(0.0, work_s, 0.0)
    )
    assert n / outcome.finish_s.max() == pytest.approx(n_replicas / work_s, rel=0.02)


def test_the_front_end_adds_to_first_token_and_answer_but_not_between_tokens() -> None:
    requests = requests_of(np.arange(50) * 10.0, np.full(50, 100), np.full(50, 20))
    lanes = lanes_of(STEP, "mixed", 0, 0, 1)
    plain, more = (
        simulate_requests(lanes, [(0, None, 1.0)], {}, requests, front_end_s=front)
        for front in ((0.0, 0.0, 0.0), (0.02, 0.003, 1e-5))
    )
    for metric, extra in (("ttft", 0.024), ("e2e", 0.024), ("tbt", 0.0)):
        np.testing.assert_allclose(values_of(more, metric), values_of(plain, metric) + extra, atol=1e-9)


def test_simulate_with_users_agrees_with_the_formulas_at_the_rate_that_they_send() -> None:
    cluster = [{"role": "mixed", "machine": "dgx-h100", "count": 1, "tensor_parallel": 1}]
    found = planner.simulate(cluster, model="llama-3.1-8b", users=64, think_time="1s", n_requests=4000, seeds=1)
    assert found.arrivals.kind == "closed"
    e2e = next(row for row in found.latencies if row.metric == "e2e")
    assert found.arrivals.rate_per_s * (e2e.mean.value + 1.0) == pytest.approx(64, rel=0.05)
    assert abs(e2e.p50.prediction_error) < 0.1


@pytest.mark.parametrize("more", [{"rate": "5/s"}, {"load": 2.0}, {"rates": ["1/s"], "period": 9}])
def test_users_and_a_rate_exclude_each_other(more: dict[str, object]) -> None:
    cluster = [{"role": "mixed", "machine": "dgx-h100", "count": 1}]
    with pytest.raises(ScenarioError):
        planner.simulate(cluster, concurrency=4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("clients", [None, Clients(7)])
def test_requests_that_no_lane_can_hold_take_nothing_of_the_front_end(clients: Clients | None) -> None:
    """The others are served as if nobody had sent those."""
    n = 300
    arrival = np.arange(n) * 0.5
    prompt = np.where(np.arange(n) % 10 == 3, 3e6, 500.0)
    lanes = lanes_of(STEP, "mixed", 0, 0, 2, kv_tokens=1e6)
    front_end_s = (0.0, 0.001, 1e-5)  # half a minute for one of those

    def served_of(part: np.ndarray) -> Outcome:
        requests = requests_of(arrival[part], prompt[part], np.full(int(part.sum()), 20))
        return simulate_requests(lanes, [(0, None, 1.0)], {}, requests, clients=clients, front_end_s=front_end_s)

    held = prompt < 1e6
    mixed, alone = served_of(np.ones(n, dtype=bool)), served_of(held)
    assert mixed.too_large.tolist() == np.flatnonzero(~held).tolist()
    assert mixed.finish_s[held] == pytest.approx(alone.finish_s, rel=1e-9)
