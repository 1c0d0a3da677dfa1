"""The inputs of a plan that may be off, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.errors import ScenarioError, UnknownNameError
from planner.scenario.changes import Change, load_of, supposing
from planner.scenario.resolve import Problem, configurations
from planner.studies.sensitivity_report import IN_THE_RENT, NoEffect

# Where nobody stated an error: what a buyer would doubt first. Shares of the value.
DEFAULT_ERRORS = {"price": 0.10, "load": 0.20, "prompt": 0.10, "output": 0.10, "arrival-cv2": 0.50}
# Where they matter; what a buyer may doubt as well, and no measurements. PUE and electricity as in the workbook.
ENERGY_ERRORS = {"pue": 0.20, "electricity": 0.20, "grid-carbon": 0.20}
TITLES = {
    "price": "price of", "step-time": "step times of", "load": "load", "prompt": "prompt tokens",
    "output": "output tokens", "arrival-cv2": "CV^2 of arrivals", "pue": "PUE", "electricity": "price of electricity",
    "grid-carbon": "grid carbon of",
}  # fmt: skip


@dataclass(frozen=True)
class UncertainInput:
    """An input with its error.

    Attributes
    ----------
    name : str
        `load`, `price.dgx-h100`, `step-time.h100-sxm-80gb`, ...
    error : float
        Share of the value, above 0 and below 1.
    source : str
    least : float
        Multiple of the value below which it cannot be; 0 but for a PUE, which is 1 or more.
    """

    name: str
    error: float
    source: str
    least: float = 0.0

    @property
    def low_factor(self) -> float:
        """The lowest multiple of the value that is looked at."""
        return max(1.0 - self.error, self.least)

    @property
    def note(self) -> str | None:
        """How its range differs from its error."""
        if self.low_factor == 1.0 - self.error:
            return None
        return f"lowered to 1, not {(1.0 - self.error) / self.least:.3g}: a facility draws no less than its machines"

    @property
    def title(self) -> str:
        """The input in words."""
        kind, _, of = self.name.partition(".")
        return f"{TITLES[kind]} {of}".strip()


def change_of(inputs: Sequence[UncertainInput], factors: Sequence[float]) -> Change:
    """A scenario with inputs at multiples of their values."""
    at = {i.name: float(f) for i, f in zip(inputs, factors, strict=True)}

    def of(kind: str) -> dict[str, float]:
        return {name.partition(".")[2]: f for name, f in at.items() if name.startswith(f"{kind}.")}

    supposed = {
        "prompt_tokens": at.get("prompt", 1.0), "output_tokens": at.get("output", 1.0),
        "arrival_cv2": at.get("arrival-cv2", 1.0), "step_times": of("step-time"), "prices": of("price"),
        "pue": at.get("pue", 1.0), "electricity": at.get("electricity", 1.0), "carbon": of("grid-carbon"),
    }  # fmt: skip
    return load_of(at.get("load", 1.0)).then(supposing(**supposed))


def uncertain_inputs(problem: Problem, errors: Mapping[str, float]) -> list[UncertainInput]:
    """The inputs of a problem with their errors, those given and those by default."""
    stated: dict[str, float] = {}
    for c in configurations(problem)[0]:
        name = f"step-time.{c.accelerator.name}"
        stated[name] = max(stated.get(name, 0.0), c.step_time_error)
    priced = [f"price.{m.name}" for m in problem.machines if problem.scenario.objective == "cost"]
    energy = energy_inputs(problem)
    known = [*DEFAULT_ERRORS, *ENERGY_ERRORS, "step-time", *stated, *priced, *energy]
    for name, error in errors.items():
        if name not in known:
            raise UnknownNameError.of("input", name, known, where="error")
        if not (isinstance(error, (int, float)) and 0 <= error < 1):
            raise ScenarioError(
                f"not an error of {name}", where="error", value=error,
                rule="a share from 0 (leave it out) to below 100 %: the input is lowered and raised by it",
            )  # fmt: skip

    def of(name: str, default: float, source: str) -> UncertainInput:
        kind = name.partition(".")[0]
        given = errors.get(name, errors.get(kind))
        least = 1.0 / problem.scenario.pue if name == "pue" else 0.0
        return UncertainInput(name, default if given is None else given, source if given is None else "given", least)

    runtime = f"stated by {problem.runtime.name}"
    found = [of(name, error, runtime) for name, error in sorted(stated.items()) if problem.scenario.profile is None
             or name in errors or "step-time" in errors]  # fmt: skip
    found += [of(name, DEFAULT_ERRORS["price"], "default") for name in priced]
    found += [of(name, error, "default") for name, error in DEFAULT_ERRORS.items() if name != "price"]
    found += [
        of(name, ENERGY_ERRORS[name.partition(".")[0]], "default") for name, reason in energy.items() if reason is None
    ]
    return [i for i in found if i.error > 0]


def energy_inputs(problem: Problem) -> dict[str, str | None]:
    """PUE, the price of electricity and the carbon of each region that machines may stand in: why each has no effect.

    Returns
    -------
    dict of str to (str or None)
        None where it has one: on carbon, or on a cost with electricity billed beside the prices.
    """
    supply, objective = problem.serving.electricity, problem.scenario.objective
    regions = sorted({supply.at(m.site).region for m in problem.machines}) if supply is not None else []
    none = f"the objective {objective} does not count it"
    why: dict[str, str | None] = dict.fromkeys(["pue", "electricity", *(f"grid-carbon.{r}" for r in regions)], none)
    if objective == "carbon":
        why |= dict.fromkeys(["pue", *(f"grid-carbon.{r}" for r in regions)])
    elif objective == "cost":
        billed = is_electricity_billed(problem)
        why |= dict.fromkeys(["pue", "electricity"], None if billed else IN_THE_RENT)
    elif objective in ("power", "energy"):
        why["pue"] = "power counted is that of the machines, without the facility's"
    if why["pue"] is None and all(m.power_scope == "facility" for m in problem.machines):
        why["pue"] = "the figures of these machines contain the facility's share"
    return why


def is_electricity_billed(problem: Problem) -> bool:
    """Whether the scenario states a price of electricity, billed beside the machines: it is then part of their cost."""
    return problem.scenario.objective == "cost" and problem.scenario.electricity_usd_per_kwh is not None


def without_effect(problem: Problem, errors: Mapping[str, float]) -> list[NoEffect]:
    """The inputs of electricity that change nothing here, and why; of those nobody would expect to, the ones given."""
    shown = {"cost": ("pue", "electricity"), "power": ("pue",), "carbon": ("pue",)}.get(problem.scenario.objective, ())
    found = []
    for name, reason in energy_inputs(problem).items():
        given = errors.get(name, errors.get(name.partition(".")[0]))
        if reason is not None and given != 0 and (given is not None or name in shown):
            found.append(NoEffect(input=name, title=UncertainInput(name, 0.0, "").title, reason=reason))
    return found
