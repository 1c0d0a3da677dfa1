"""What files call models and hardware, as entries of the catalog."""

from __future__ import annotations

import re

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Accelerator, Llm, Machine
from planner.errors import ScenarioError, UnknownNameError

# Names that drivers and Kubernetes labels give GPUs, letters and digits only, to the catalog's.
DEVICE_NAMES: dict[str, str] = {
    "nvidiah10080gbhbm3": "h100-sxm",
    "nvidiah100pcie": "h100-pcie",
    "nvidiah100nvl": "h100-nvl",
    "nvidiah200": "h200-sxm",
    "nvidiah20": "h20",
    "nvidiab200": "b200-sxm",
    "nvidiab300": "b300-sxm",
    "nvidiaa100sxm480gb": "a100-sxm-80gb",
    "nvidiaa100sxm440gb": "a100-sxm-40gb",
    "nvidiaa10080gbpcie": "a100-pcie-80gb",
    "nvidiaa100pcie80gb": "a100-pcie-80gb",
    "nvidiaa100pcie40gb": "a100-pcie-40gb",
    "nvidiaa10": "a10",
    "nvidiaa10g": "a10g",
    "nvidiaa30": "a30",
    "nvidiaa40": "a40",
    "nvidial4": "l4",
    "nvidial40": "l40",
    "nvidial40s": "l40s",
    "teslat4": "t4",
    "teslav100sxm232gb": "v100-sxm-32gb",
    "teslav100pcie32gb": "v100-pcie-32gb",
    "nvidiartxa6000": "rtx-a6000",
    "nvidiartx6000adageneration": "rtx-6000-ada",
    "nvidiageforcertx3090": "rtx-3090",
    "nvidiageforcertx4090": "rtx-4090",
    "nvidiageforcertx2080ti": "rtx-2080-ti",
    "nvidiartxpro6000blackwellserveredition": "rtx-pro-6000-blackwell-server",
    "amdinstinctmi300x": "mi300x",
    "amdinstinctmi325x": "mi325x",
    "amdinstinctmi355x": "mi355x",
}
# What fine-tunes and quantisations append to a model's name without changing its shape.
_SUFFIX = re.compile(
    r"(?:[-_.](?:instruct|chat|hf|it|base|thinking|2507|fp8|fp8-dynamic|fp16|bf16|w8a8|w4a16|awq|gptq|int4|int8|nvfp4"
    r"|quantized|dynamic|turbo|v\d(?:\.\d)?))+$",
    re.IGNORECASE,
)


def folded(name: str) -> str:
    """Letters and digits of a name, lower case."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def model_named(catalog: Catalog, name: str, where: str) -> Llm:
    """The model of the catalog that a file means: `meta-llama/Llama-3.1-8B-Instruct` is `llama-3.1-8b`.

    Raises
    ------
    UnknownNameError
        None of them.
    """
    known = {folded(n): n for n in catalog.names(Llm)}
    last = name.rstrip("/").rpartition("/")[2]
    for candidate in (name, last, _SUFFIX.sub("", last), re.sub(r"^meta-", "", _SUFFIX.sub("", last), flags=re.I)):
        if folded(candidate) in known:
            return catalog.llm(known[folded(candidate)])
    raise UnknownNameError.of("model", last, known.values(), where=where)


def accelerator_named(catalog: Catalog, name: str) -> str | None:
    """The accelerator that a file or a driver means, or None: `NVIDIA H100 80GB HBM3`, `h100_sxm`, `h100-80gb`."""
    known = {folded(n): n for n in catalog.names(Accelerator)}
    found = known.get(folded(name)) or DEVICE_NAMES.get(folded(name))
    return found if found in known.values() else None


def is_machine(catalog: Catalog, name: str, machine: Machine) -> bool:
    """Whether a file that names its hardware `name` means `machine` or the accelerators in it.

    Files that give the chip and its memory only (`h100-80gb`) mean every accelerator of that chip and memory.
    """
    accelerator = catalog.accelerator_of(machine)
    if machine.power_cap is not None:
        return folded(name) == folded(machine.name)
    chip = accelerator.name.split("-")[0]
    names = {machine.name, accelerator.name, f"{chip}-{accelerator.sold_as_gb}gb"}
    if folded(name) in {folded(n) for n in names}:
        return True
    if accelerator_named(catalog, name) == accelerator.name:
        return True
    # A100 SXM names without memory (`a100_sxm`) are of both sizes.
    without_memory = re.sub(r"-\d+gb$", "", accelerator.name)
    return folded(name) == folded(without_memory)


def machine_for(catalog: Catalog, name: str, n_accelerators: int, where: str) -> Machine:
    """The machine that a file names: one of the catalog, or any that holds the accelerator on its own link.

    Step times depend on the accelerator and the link between accelerators alone, so machines that add nothing to
    their accelerator's own link are interchangeable here; the first by name is taken, before those of providers.

    Raises
    ------
    UnknownNameError
        Neither a machine nor an accelerator of the catalog.
    ScenarioError
        No machine of the catalog holds that many of the accelerator.
    """
    by_folded = {folded(n): n for n in catalog.names(Machine)}
    if folded(name) in by_folded:
        return catalog.machine(by_folded[folded(name)])
    accelerator = accelerator_named(catalog, name)
    if accelerator is None:
        known = [*catalog.names(Machine), *catalog.names(Accelerator)]
        error = UnknownNameError.of("machine", name, known, where=where)
        error.fix = "say what it is with --machine"
        raise error
    machines = [catalog.machine(n) for n in catalog.names(Machine)]
    for machine in sorted(machines, key=lambda m: (m.site != "own", m.name)):
        plain = machine.scale_up is None and machine.power_cap is None
        if machine.accelerator == accelerator and plain and machine.n_accelerators >= n_accelerators:
            return machine
    raise ScenarioError(
        f"no machine of the catalog holds {n_accelerators} x {accelerator}",
        where=where,
        fix="add one in an overlay and name it with --machine",
    )
