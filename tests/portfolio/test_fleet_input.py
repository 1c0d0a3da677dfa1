"""What a fleet file may say, and how every mistake in it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputError, ScenarioError
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_file import load_fleet

from .fleets import CHAT, DOCS, fleet

GOOD = """\
model: llama-3.1-70b
workloads:
  chat:
    workload: azure-conv-2023
    rate: 70/s
    slo: [ttft=1s, tbt.p99=100ms]
    day: office
    size_buckets: [1024, 4096]
  docs:
    prompt_tokens: 3000
    output_tokens: 300
    batch:
      requests: 50 M
      arrives: 18:00
      deadline: 06:00
sharing: [[chat], [docs]]
horizon: 3 years
growth: 2 %
max_power: 400 kW
scenarios:
  base: {probability: 70 %}
  high: {probability: 0.3, rate: 1.5, rates: {docs: 2}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_with_its_units(tmp_path: Path) -> None:
    found = load_fleet(written(tmp_path, GOOD))
    assert found.workloads["chat"].rate_per_s == 70.0
    assert found.workloads["chat"].size_buckets == (1024, 4096)
    assert found.workloads["docs"].batch is not None
    assert found.workloads["docs"].batch.requests == 50e6
    assert (found.horizon_months, found.growth_per_month, found.max_power_w) == (36.0, 0.02, 400e3)
    assert found.has_objectives("chat") and not found.has_objectives("docs")
    assert len(found.shape_of("chat")) == 24


def test_what_is_dumped_is_read_back(tmp_path: Path) -> None:
    found = load_fleet(written(tmp_path, GOOD))
    assert load_fleet(found.dump()) == found


def test_overrides_win(tmp_path: Path) -> None:
    found = load_fleet(written(tmp_path, GOOD), horizon="1 year", max_power_w=1e3, gap=0.01)
    assert (found.horizon_months, found.max_power_w, found.gap) == (12.0, 1e3, 0.01)


BAD_LINES = [
    # what is replaced, by what, line of the fault, words of the message
    ("rate: 70/s", "rat: 70/s", 5, "unknown field.*\n.*\n?.*did you mean: rate"),
    ("rate: 70/s", "rate: 70", 5, "needs its unit"),
    ("rate: 70/s", "rate: 70/s\n    batch: {requests: 1 M, deadline: 06:00}", 3, "either a rate .* or batch"),
    ("    workload: azure-conv-2023\n", "", 3, "either a workload .* or prompt_tokens"),
    ("deadline: 06:00", "dedline: 06:00", 15, "unknown field"),
    ("deadline: 06:00", "deadline: six", 15, "must be a time of day"),
    ("deadline: 06:00", "deadline: 25:00", 15, "must be a time of day"),
    ("deadline: 06:00", "within: 12", 15, "needs its unit"),
    ("deadline: 06:00", "within: 12h\n      deadline: 06:00", 12, "either a deadline .* or within"),
    ("deadline: 06:00", "deadline: 2030-01-01 06:00", 12, "dates to all of arrives and deadline"),
    ("requests: 50 M", "requests: 0", 13, "greater than 0"),
    ("arrives: 18:00", "arrives: [08:00, 12:00, 18:00]", 14, "one time, or two"),
    ("day: office", "day: ofice", 7, "did you mean office"),
    ("day: office", f"day: {[1] * 25}", 7, "a day has 24 hours, this one has 25"),
    ("day: office", "day: [{hours: 8, rate: 1}, {hours: 17, rate: 0.5}]", 7, "a day has 24 hours, this one has 25"),
    ("day: office", "day: [{hours: 24, rate: 0}]", 7, "must be above 0"),
    ("size_buckets: [1024, 4096]", "size_buckets: [4096, 1024]", 8, "must rise"),
    ("sharing: [[chat], [docs]]", "sharing: [[chat, dogs]]", 16, "dogs.*did you mean docs"),
    ("sharing: [[chat], [docs]]", "sharing: [[chat], [chat]]", 16, "twice"),
    ("horizon: 3 years", "horizons: 3 years", 17, "did you mean: horizon"),
    ("horizon: 3 years", "horizon: 3", 17, "needs its unit"),
    ("growth: 2 %", "growth: 300 %", 18, "between -0.5 and 1"),
    ("probability: 0.3", "probability: 0.4", 20, "probabilities of the scenarios sum to 1.1"),
    ("rates: {docs: 2}", "rates: {dogs: 2}", 20, "dogs.*did you mean docs"),
    ("max_power: 400 kW", "max_power: 400 GB", 19, "expected a power"),
    ("max_power: 400 kW", "max_power: 400 kW\nmax_power_w: 400 kW", 20, "given twice"),
    ("max_power: 400 kW", "max_machines: {dgx-h100: 2}\nowned: {dgx-h100: 4}", 19, "4 are owned already"),
    ("max_power: 400 kW", "plans: [on_demnd]", 19, "did you mean: on_demand"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD_LINES, ids=[b[1][:40] for b in BAD_LINES])
def test_mistakes_are_told_with_their_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        load_fleet(written(tmp_path, GOOD.replace(old, new, 1)))
    where = str(caught.value.where)
    assert where.startswith(str(tmp_path / "fleet.yaml:"))
    # Faults that concern several fields are told at the first of them.
    told = int(where.rpartition(":")[2])
    assert told == line or (told == 1 and line >= 16), str(caught.value)


@pytest.mark.parametrize("nothing", [{}, [], None])
def test_no_workloads(nothing: object) -> None:
    with pytest.raises(ScenarioError, match="there are no workloads"):
        load_fleet({"workloads": nothing})


def test_a_deadline_in_the_past_or_before_its_arrivals() -> None:
    def dated(arrives: str, deadline: str) -> dict[str, Any]:
        batch = {"requests": 1e6, "arrives": arrives, "deadline": deadline}
        return {"workloads": {"docs": {**DOCS, "batch": batch}}}

    with pytest.raises(ScenarioError, match="not after the arrivals"):
        load_fleet(dated("2099-03-02 18:00", "2099-03-02 06:00"))
    with pytest.raises(ScenarioError, match="is in the past"):
        load_fleet(dated("2020-03-01 18:00", "2020-03-02 06:00"))
    load_fleet(dated("2099-03-01 18:00", "2099-03-02 06:00"))
    with pytest.raises(ScenarioError, match="one job of a certain day"):
        load_fleet(dated("2099-03-01 18:00", "2099-03-02 06:00"), horizon_months=36)


def test_objectives_of_batch_work_are_refused_and_none_means_none() -> None:
    with pytest.raises(ScenarioError, match="deadline in place of latency objectives"):
        load_fleet({"workloads": {"docs": {**DOCS, "slo": "ttft=1s"}}})
    for nothing in ("none", [], "None"):
        assert not load_fleet({"workloads": {"chat": {**CHAT, "slo": nothing}}}).has_objectives("chat")
    with pytest.raises(InputError, match="tftt"):
        load_fleet({"workloads": {"chat": {**CHAT, "slo": "tftt=1s"}}})


def test_a_trace_is_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("prompt,output\n100,10\n", encoding="utf-8")
    text = "workloads: {chat: {workload: mine.csv, rate: 1/s}}\n"
    assert load_fleet(written(tmp_path, text)).workloads["chat"].workload == str(tmp_path / "mine.csv")


def test_what_is_no_fleet() -> None:
    with pytest.raises(ScenarioError, match="not a fleet"):
        load_fleet(3)  # type: ignore[arg-type]
    assert isinstance(load_fleet(load_fleet(fleet())), Fleet)


@pytest.mark.parametrize(
    ("old", "new"), [("model: llama-3.1-70b", 'model: " "'), ("model: llama-3.1-70b", 'model: "\\t"')]
)
def test_a_workload_that_could_not_be_planned_is_told_when_the_fleet_is_read(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ScenarioError, match="model of chat") as caught:
        load_fleet(path)
    assert str(caught.value.where).startswith(str(path))
