"""What the fit finds: on made measurements what they were made with, on real ones the stated accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planner.calibration import Measurements, calibrate, read_measurements
from planner.calibration.problem import FitDefaults, FitProblem
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, Runtime
from planner.errors import ScenarioError, TraceError, UnknownNameError

Made = Callable[..., Measurements]
Data = Callable[[str], Path]


def changed(efficiency: Efficiency) -> Efficiency:
    """Efficiencies away from the base: what a fit has to find."""
    return efficiency.model_copy(
        update={
            "gemm": {p: 0.8 * e for p, e in efficiency.gemm.items()},
            "weight_streaming": 0.75 * efficiency.weight_streaming,
            "decode_attention": 0.7 * efficiency.decode_attention,
            "sequence_overhead_s": 30e-6,
            "link": 0.7 * efficiency.link,
            "direct_link": 0.4 * (efficiency.direct_link or 1.0),  # else no message is large enough for the ring
        }
    )


def base_efficiency(catalog: Catalog, machine: str = "dgx-h100", runtime: str = "vllm-2026") -> Efficiency:
    return catalog.runtime(runtime).efficiency(catalog.accelerator_of(machine))


def test_finds_what_measurements_were_made_with(catalog: Catalog, made_steps: Made) -> None:
    truth = changed(base_efficiency(catalog))
    found = calibrate(catalog, made_steps(truth), catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    values = {p.path: p for p in found.parameters}
    # Within two standard deviations as reported, and within 10 % in any case.
    for path, expected in (
        ("gemm.bf16", truth.gemm["bf16"]),
        ("weight_streaming", truth.weight_streaming),
        ("decode_attention", truth.decode_attention),
        ("sequence_overhead", truth.sequence_overhead_s),
        ("link", truth.link),
    ):
        fitted = values[path]
        assert fitted.status == "fitted", path
        assert fitted.value == pytest.approx(expected, rel=0.10), path
        assert abs(np.log(fitted.value / expected)) < 2 * (fitted.error or 0.0), path
    for phase in ("prefill", "decode"):
        assert found.error_of(phase).after.mean < 0.01 < found.error_of(phase).before.mean


def test_what_the_data_do_not_move_is_kept_and_said(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(changed(base_efficiency(catalog)), degrees=(1,))
    found = calibrate(catalog, steps, catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    link = next(p for p in found.parameters if p.path == "link")
    assert link.status == "not identified", "one rank has no link to fit"
    assert link.value == link.prior == found.efficiency.link
    assert found.held_out_by == "every 5th row"


def test_outliers_hardly_move_the_fit(catalog: Catalog, made_steps: Made) -> None:
    truth = changed(base_efficiency(catalog))
    clean = made_steps(truth, noise=0.02)
    bad = [dataclasses.replace(s, latency_s=4 * s.latency_s) if n % 12 == 5 else s for n, s in enumerate(clean.steps)]
    fits = [
        calibrate(catalog, Measurements(steps=steps), catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
        for steps in (clean.steps, tuple(bad))
    ]
    streaming = [f.efficiency.weight_streaming for f in fits]
    assert streaming[1] == pytest.approx(streaming[0], rel=0.10)
    assert {round(w.error, 1) for w in fits[1].worst[:2]} <= {-0.8, -0.7}, "the outliers are what fits worst"


def test_stated_error_is_that_of_what_was_held_out(catalog: Catalog, made_steps: Made) -> None:
    truth = changed(base_efficiency(catalog))
    steps = made_steps(truth, models=("llama-3.1-8b", "llama-3.1-70b"), degrees=(4,), noise=0.08)
    found = calibrate(catalog, steps, catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    assert found.held_out_by == "one model of 2"
    largest = max(e.held_out.mean for e in found.errors)
    assert largest <= found.step_time_error < largest + 0.0101
    assert largest > max(e.after.mean for e in found.errors), "noise cannot be predicted"
    assert found.efficiency.step_time_error == found.step_time_error


def test_the_same_input_gives_the_same_fit(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(changed(base_efficiency(catalog)), noise=0.05)
    fits = [calibrate(catalog, steps, catalog.runtime("vllm-2026")) for _ in range(2)]
    assert fits[0].parameters == fits[1].parameters and fits[0].errors == fits[1].errors


def test_a_kept_parameter_stays(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(changed(base_efficiency(catalog)))
    found = calibrate(catalog, steps, catalog.runtime("vllm-2026"), keep=["link"])
    link = next(p for p in found.parameters if p.path == "link")
    assert link.status == "held" and found.efficiency.link == link.prior
    with pytest.raises(UnknownNameError) as caught:
        calibrate(catalog, steps, catalog.runtime("vllm-2026"), keep=["linc"])
    assert caught.value.suggestions == ["link"]


def test_kernel_sums_leave_host_time_alone(catalog: Catalog, made_steps: Made) -> None:
    base = base_efficiency(catalog)
    hostless = base.model_copy(
        update={
            "layer_overhead_s": 0.0, "prefill_layer_overhead_s": 0.0, "prefill_layer_floor_s": 0.0,
            "step_overhead_s": 0.0, "sequence_overhead_s": 0.0, "weight_streaming": 0.7,
        }
    )  # fmt: skip
    found = calibrate(catalog, made_steps(hostless), catalog.runtime("vllm-2026"), device_only=True)
    assert found.efficiency.step_overhead_s == base.step_overhead_s
    assert found.efficiency.weight_streaming == pytest.approx(0.7, rel=0.03)


# -- wrong input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "seconds"), (1e3, "microseconds")])
def test_another_unit_is_recognised(catalog: Catalog, factor: float, unit: str, made_steps: Made) -> None:
    steps = made_steps(base_efficiency(catalog), noise=0.2)
    wrong = tuple(dataclasses.replace(s, latency_s=factor * s.latency_s) for s in steps.steps)
    with pytest.raises(TraceError, match=f"latency_ms are read as milliseconds but look like {unit}") as caught:
        calibrate(catalog, Measurements(steps=wrong), catalog.runtime("vllm-2026"))
    assert "off by a factor of about" in str(caught.value.value)
    assert f"multiply the column by {1 / factor:,g}" in str(caught.value.fix)


def test_faster_than_the_peak_names_bound_and_row(catalog: Catalog, made_steps: Made) -> None:
    steps = list(made_steps(base_efficiency(catalog)).steps)
    row = next(i for i, s in enumerate(steps) if s.phase == "decode" and s.batch == 1)
    # 8.0e9 weights (without the embedding) of 2 bytes at 3352 GB/s: no faster than 4.5 ms on one GPU.
    steps[row] = dataclasses.replace(steps[row], latency_s=4.0e-3)
    with pytest.raises(TraceError, match="faster than the hardware's peak") as caught:
        calibrate(catalog, Measurements(steps=tuple(steps)), catalog.runtime("vllm-2026"))
    assert caught.value.where == steps[row].setup.source
    assert caught.value.value == "llama-3.1-8b bf16 TP1 decode 1 x 512: 4 ms"
    assert "h100-sxm at its peak" in str(caught.value.rule) and "at least 4.5" in str(caught.value.rule)


def test_rows_faster_than_the_peak_are_set_aside_where_asked(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(base_efficiency(catalog), noise=0.02).steps
    row = next(i for i, s in enumerate(steps) if s.phase == "decode" and s.batch == 1)
    wrong = list(steps)
    wrong[row] = dataclasses.replace(steps[row], latency_s=4.0e-3)
    runtime = catalog.runtime("vllm-2026")
    found = calibrate(catalog, Measurements(steps=tuple(wrong)), runtime, set_aside=True)
    without = calibrate(catalog, Measurements(steps=steps[:row] + steps[row + 1 :]), runtime)
    assert found.n_rows == without.n_rows and found.efficiency == without.efficiency
    assert any("1 of " in text and "set aside" in text and steps[row].setup.source in text for text in found.notes)
    honest = calibrate(catalog, Measurements(steps=steps), runtime, set_aside=True)
    assert not any("set aside" in text for text in honest.notes)


def test_too_few_points(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(base_efficiency(catalog)).steps[:3]
    repeated = Measurements(steps=steps * 5)  # repeats are one point
    with pytest.raises(ScenarioError, match="too few measurements") as caught:
        calibrate(catalog, repeated, catalog.runtime("vllm-2026"))
    assert str(caught.value.value).startswith("3 different rows")


def renamed(measurements: Measurements, **change: object) -> Measurements:
    steps = [dataclasses.replace(s, setup=dataclasses.replace(s.setup, **change)) for s in measurements.steps]  # type: ignore[arg-type]
    return Measurements(steps=tuple(steps))


def test_hardware_is_never_guessed(catalog: Catalog, made_steps: Made) -> None:
    steps, runtime = made_steps(base_efficiency(catalog)), catalog.runtime("vllm-2026")
    with pytest.raises(ScenarioError, match="does not say what hardware") as caught:
        calibrate(catalog, renamed(steps, hardware=None), runtime)
    assert "--machine" in str(caught.value.fix)
    with pytest.raises(UnknownNameError, match="unknown machine 'h101-sxm'"):
        calibrate(catalog, renamed(steps, hardware="h101-sxm"), runtime)
    with pytest.raises(ScenarioError, match="no row is of dgx-a100"):
        calibrate(catalog, steps, runtime, catalog.machine("dgx-a100"))
    mixed = steps + renamed(steps, hardware="dgx-a100")
    with pytest.raises(ScenarioError, match="mixed hardware"):
        calibrate(catalog, mixed, runtime)
    chosen = calibrate(catalog, mixed, runtime, catalog.machine("dgx-h100"))
    assert chosen.n_rows == len(steps) and "30 rows of other hardware left out" in chosen.notes[-1]


@pytest.mark.parametrize("name", ["NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3", "h100_sxm", "h100-sxm", "dgx-h100"])
def test_names_of_one_gpu(catalog: Catalog, name: str, made_steps: Made) -> None:
    steps = made_steps(base_efficiency(catalog))
    found = calibrate(catalog, renamed(steps, hardware=name), catalog.runtime("vllm-2026"))
    assert (found.accelerator, found.machine) == ("h100-sxm", "dgx-h100")


def test_what_files_do_not_say_must_be_said(catalog: Catalog, made_steps: Made) -> None:
    steps, runtime = made_steps(base_efficiency(catalog), degrees=(1,)), catalog.runtime("vllm-2026")
    with pytest.raises(ScenarioError, match="does not name the model"):
        calibrate(catalog, renamed(steps, model=None), runtime)
    with pytest.raises(ScenarioError, match="over how many accelerators"):
        calibrate(catalog, renamed(steps, tensor_parallel=None), runtime)
    with pytest.raises(UnknownNameError) as caught:
        calibrate(catalog, renamed(steps, model="lama-3.1-8b"), runtime)
    assert "llama-3.1-8b" in caught.value.suggestions
    silent = renamed(steps, model="/models/ours", tensor_parallel=None)
    found = calibrate(catalog, silent, runtime, defaults=FitDefaults(model="llama-3.1-8b", tensor_parallel=1))
    assert found.n_rows == len(steps)
    with pytest.raises(ScenarioError, match="measured on 16 accelerators"):
        calibrate(catalog, renamed(steps, tensor_parallel=16), runtime)


# -- the profile and the tables beside the project ------------------------------------------------------------------


def rough(catalog: Catalog, machine: str) -> Runtime:
    """The 2023 runtime with every fitted value put back to a round one, so that the fit has to find them."""
    runtime = catalog.runtime("splitwise-2023")
    efficiency = runtime.efficiency(catalog.accelerator_of(machine))
    unfitted = efficiency.model_copy(
        update={
            "gemm": {"bf16": 0.5, "fp16": 0.5}, "weight_streaming": 0.8, "prefill_attention": 0.5,
            "decode_attention": 0.8, "layer_overhead_s": 100e-6, "prefill_layer_overhead_s": 100e-6,
            "prefill_layer_floor_s": 300e-6, "sequence_overhead_s": 100e-6, "all_reduce_hop_s": 2e-6, "link": 0.6,
            "slow_collective_link": 0.3,
        }
    )  # fmt: skip
    return runtime.model_copy(update={"defaults": unfitted, "architectures": {}, "accelerators": {}})


@pytest.mark.parametrize(("machine", "prefill", "decode"), [("dgx-h100", 0.06, 0.03), ("dgx-a100", 0.10, 0.05)])
def test_splitwise_profile(catalog: Catalog, machine: str, prefill: float, decode: float, data_file: Data) -> None:
    measurements = read_measurements(data_file("splitwise_profile.csv"))
    found = calibrate(catalog, measurements, rough(catalog, machine), catalog.machine(machine))
    assert found.error_of("prefill").after.mean <= prefill
    assert found.error_of("decode").after.mean <= decode
    assert found.error_of("decode").before.mean > 0.2, "the base knows nothing of the answer"


@pytest.mark.parametrize(("machine", "prefill", "decode"), [("dgx-h100", 0.09, 0.05), ("dgx-a100", 0.13, 0.12)])
def test_llama_predicts_bloom(catalog: Catalog, machine: str, prefill: float, decode: float, data_file: Data) -> None:
    every = read_measurements(data_file("splitwise_profile.csv")).steps
    llama = Measurements(steps=tuple(s for s in every if s.setup.model == "llama2-70b"))
    bloom = Measurements(steps=tuple(s for s in every if s.setup.model == "bloom-176b"))
    base = rough(catalog, machine)
    found = calibrate(catalog, llama, base, catalog.machine(machine))
    unseen = FitProblem(catalog, bloom, base, catalog.machine(machine), FitDefaults())
    error = np.abs(unseen.predict_s(found.efficiency) / unseen.measured_s - 1.0)
    phases = np.array([row.phase for row in unseen.rows])
    assert error[phases == "prefill"].mean() <= prefill
    assert error[phases == "decode"].mean() <= decode


@pytest.mark.parametrize(
    ("machine", "software"),
    [
        ("dgx-h100", "vllm 0.24.0"),
        ("dgx-b200", "vllm 0.24.0"),
        ("8x-l40s", "vllm 0.24.0"),
        ("dgx-a100", "vllm 0.14.0"),
    ],
)
def test_sums_of_kernels(catalog: Catalog, machine: str, software: str, data_file: Data) -> None:
    where = [("source", f"kernel-profile sum ({software})")]
    measurements = read_measurements(data_file("step_times_llama31_8b.csv"), where=where)
    found = calibrate(catalog, measurements, catalog.runtime("vllm-2026"), catalog.machine(machine), device_only=True)
    assert found.error_of("prefill").after.mean <= 0.08
    assert found.error_of("decode").after.mean <= 0.12
    assert found.error_of("prefill").after.mean <= found.error_of("prefill").before.mean


def test_serving_runs(catalog: Catalog, data_file: Data) -> None:
    measurements = read_measurements(data_file("serving_h100_closed_loop.csv"), where=[("backend", "vllm")])
    found = calibrate(catalog, measurements, catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    tpot = found.error_of("tpot")
    assert tpot.after.median <= 0.05 and tpot.after.mean <= 0.10
    assert tpot.held_out.mean <= 0.20


def test_small_batches_state_no_error_of_a_plan(catalog: Catalog, made_steps: Made) -> None:
    """Decode rows of batches up to 4 leave the error of decode as it was; prompts of the same files state theirs."""
    steps = made_steps(changed(base_efficiency(catalog)), degrees=(1,), noise=0.05)
    few = dataclasses.replace(steps, steps=tuple(s for s in steps.steps if s.phase == "prefill" or s.batch <= 4))
    found = calibrate(catalog, few, catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    assert {e.phase for e in found.stated_errors.values()} <= {"prefill"}
    assert any("say nothing of a plan's" in note or "state no error" in note for note in found.notes)
    every = calibrate(catalog, steps, catalog.runtime("vllm-2026"), catalog.machine("dgx-h100"))
    assert {e.phase for e in every.stated_errors.values()} == {"prefill", "decode"}
    assert {(e.family, e.layout, e.accelerator) for e in every.stated_errors.values()} == {("dense", "one", "h100-sxm")}


def test_rows_that_are_all_slower_by_one_factor_are_noticed(catalog: Catalog, made_steps: Made) -> None:
    steps = made_steps(base_efficiency(catalog))
    slower = dataclasses.replace(
        steps, steps=tuple(dataclasses.replace(s, latency_s=1.4 * s.latency_s) for s in steps.steps)
    )
    machine = catalog.machine("dgx-h100")
    found = calibrate(catalog, slower, catalog.runtime("vllm-2026"), machine)
    assert any("all rows are 1.40 times slower" in note for note in found.notes)
    assert not any("all rows are" in n for n in calibrate(catalog, steps, catalog.runtime("vllm-2026"), machine).notes)
