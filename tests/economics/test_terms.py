"""Reservations in whole terms, against every number of terms tried out."""

from __future__ import annotations

import math

import pytest

from planner.economics.terms import term_cover

H = 730.0


@pytest.mark.parametrize(
    ("horizon", "term", "reserved", "rented", "start", "usd"),
    [
        (18, 12, 26, None, 0, 455_520),  # two whole terms
        (48, 36, 18, None, 0, 946_080),
        (13, 12, 26, 32, 0, 251_120),  # one term, then a month on demand
        (12, 12, 26, 38, 45 * 168 / 730, 515_040),  # it comes after 45 weeks and is paid for a whole year
        (36, 12, 30, 20, 0, 36 * H * 30),  # terms that end within the horizon are reserved
    ],
)
def test_by_hand(horizon: float, term: float, reserved: float, rented: float | None, start: float, usd: float) -> None:
    assert term_cover(horizon, term, reserved, rented, start_month=start).usd == pytest.approx(usd)


@pytest.mark.parametrize("horizon", [5, 12, 13, 17.5, 24, 30, 47])
@pytest.mark.parametrize("use", [0.2, 0.6, 1.0])
def test_the_last_term_is_the_cheaper_of_two(horizon: float, use: float) -> None:
    for reserved, rented in ((20, 32), (26, 32), (31, 32)):
        found = term_cover(horizon, 12, reserved, rented, hours_used_fraction=use)
        whole = math.floor(horizon / 12 + 1e-9)
        tried = [
            n * 12 * H * reserved + max(horizon - n * 12, 0) * H * use * rented
            for n in {max(whole, 1), math.ceil(horizon / 12 - 1e-9)}
        ]
        assert found.usd == pytest.approx(min(tried))
