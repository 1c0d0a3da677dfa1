"""The configuration of a load generator as a load: sizes and rate of an inference-perf file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.catalog.loading import read_layer
from planner.errors import ScenarioError
from planner.workload.sizes import RequestSizes
from planner.workload.stated import distribution_of_spec, sizes_from

SUFFIXES = (".yaml", ".yml")
_EVEN_CV2 = 1e-3  # what constant arrivals are taken as


@dataclass(frozen=True, eq=False)
class StatedLoad:
    """Sizes, rate [requests/s] and variability of arrivals that a configuration states, None where it does not."""

    sizes: RequestSizes
    rate_per_s: float | None
    arrival_cv2: float | None
    notes: tuple[str, ...]


def is_spec_file(workload: str) -> bool:
    """Whether a workload is the configuration of a load generator, by its name."""
    return Path(workload).suffix.casefold() in SUFFIXES


def read_spec(path: Path) -> StatedLoad:
    """Read an inference-perf configuration: `data.input_distribution`, `data.output_distribution`, `load.stages`.

    Raises
    ------
    ScenarioError
        Not YAML, no distributions, or figures that cannot be.
    """
    layer = read_layer(path, error=ScenarioError)
    data, load = (_mapping(layer.data.get(name)) for name in ("data", "load"))
    found = {side: data.get(f"{side}_distribution") for side in ("input", "output")}
    missing = [side for side, spec in found.items() if not isinstance(spec, Mapping)]
    if missing:
        raise ScenarioError(
            f"no {missing[0]}_distribution under data", where=f"{path}:{layer.line_of(('data',)) or 1}",
            rule="a workload in YAML is a configuration of inference-perf with its input and output distributions",
            fix="give a trace, or the sizes with --isl and --osl",
        )  # fmt: skip
    prompt, output = (
        distribution_of_spec(
            _mapping(found[side]), where=f"{path}:{layer.line_of(('data', f'{side}_distribution')) or 1}"
        )
        for side in ("input", "output")
    )
    rates = [
        float(stage["rate"]) for stage in load.get("stages") or ()
        if isinstance(stage, Mapping) and isinstance(stage.get("rate"), int | float) and stage["rate"] > 0
    ]  # fmt: skip
    notes = []
    if len(rates) > 1:
        notes.append(f"{path.name} has {len(rates)} stages: the rate is that of the busiest, {max(rates):g}/s")
    cv2 = {"constant": _EVEN_CV2, "poisson": 1.0}.get(str(load.get("type")))
    return StatedLoad(sizes_from(prompt, output, path.stem), max(rates, default=None), cv2, tuple(notes))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
