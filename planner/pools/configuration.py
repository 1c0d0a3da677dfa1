"""A machine type with a model laid out on it: the thing that pools are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd

from planner.catalog.catalog import Catalog
from planner.catalog.machine_price import MachinePrice
from planner.catalog.schema import (
    Accelerator,
    CompressedAttention,
    Fabric,
    LatentAttention,
    Llm,
    Machine,
    Precision,
    Runtime,
)
from planner.economics.energy import ElectricitySupply, rated_carbon_kg_per_hour
from planner.engine.settings import front_end_s, kv_precision, sequence_limit, token_budget
from planner.errors import CatalogError, DoesNotFitError, PlannerError, ScenarioError
from planner.latency import StepTimes
from planner.latency.layout import Layout
from planner.latency.memory import MemoryFit, memory_fit, require_fit
from planner.latency.profile import ProfileKey, ProfileLatency
from planner.latency.roofline import RooflineLatency
from planner.latency.scaled import scaled
from planner.latency.scheduled import scheduled
from planner.latency.sequences import Residency, kv_share, sent_bytes_per_token
from planner.latency.shortcuts import Shortcuts, draft_layers, shortened
from planner.latency.stated import largest_error
from planner.latency.support import require_supported
from planner.pools.network import NetworkOverride
from planner.serving.requests import Lane

Profile = Mapping[ProfileKey, ProfileLatency]


@dataclass(frozen=True, eq=False)
class Configuration:
    """One machine type with one layout of the model.

    Attributes
    ----------
    machine, accelerator, fabric : catalog entries
    layout : Layout
    lane : Lane
        What queues see; the machine has `layout.lanes_per_machine` of them.
    price : MachinePrice or None
        None where no price book lists the machine.
    kv_bytes_per_token : float
        KV cache of a token, over all layers [bytes].
    network_bytes_per_s : float
        What the machine's NICs achieve together, each way, with every machine sending at once [bytes/s].
    step_time_error : float
        Stated relative error of the step times, the larger of both phases.
    step_time_basis : str
        What it rests on, for people.
    rated_carbon_kg_per_hour : float
        What the electricity of one machine at its rated power emits [kg/h]; NaN where no region is known.
    full_draw_w : mapping of str to float
        Mean draw of one machine in each role while it is full [W] (`planner/pools/draw.py`); empty where no
        traffic is known.
    """

    machine: Machine
    accelerator: Accelerator
    fabric: Fabric
    layout: Layout
    lane: Lane
    price: MachinePrice | None
    kv_bytes_per_token: float
    network_bytes_per_s: float
    step_time_error: float
    step_time_basis: str = ""
    rated_carbon_kg_per_hour: float = float("nan")
    full_draw_w: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`dgx-h100 1 x TP8`."""
        return f"{self.machine.name} {self.layout.label}"

    def holds(self, role: str, longest_prompt_tokens: float, longest_request_tokens: float) -> bool:
        """Whether the KV memory of a lane is large enough for the longest request in this role.

        Of a prefill lane, for the longest prompt and the one token of an answer that ends there. That it computes none
        while one so long is sent away is for simulation to judge.
        """
        needed = longest_prompt_tokens + 1.0 if role == "prefill" else longest_request_tokens
        return self.lane.kv_tokens / self.layout.attention_data_parallel >= needed

    @property
    def nic_groups(self) -> int:
        """Groups of NICs that the machine's accelerators fall into, each used by as many whole replicas.

        A replica has its accelerators' share of the NICs to itself where that is a whole number of them; otherwise it
        shares NICs with others, and may use all of these while the others send nothing.
        """
        return gcd(
            self.machine.network.n_nics, max(self.machine.n_accelerators // self.layout.accelerators_per_replica, 1)
        )

    @property
    def replica_network_bytes_per_s(self) -> float:
        """What the NICs that one replica may use carry, each way [bytes/s]."""
        return self.network_bytes_per_s / self.nic_groups

    def can_send_to(self, other: Configuration) -> bool:
        """Whether KV caches can cross from this machine to the other: one site, one kind of network."""
        return not self.apart_from(other)

    def apart_from(self, other: Configuration) -> str:
        """Why KV caches cannot cross from this machine to the other; empty where they can."""
        ours, theirs = self.machine, other.machine
        if ours.site != theirs.site:
            return f"{ours.name} stands at {ours.site}, {theirs.name} at {theirs.site}"
        if self.fabric.family != other.fabric.family:
            return f"{ours.name} is on {self.fabric.family}, {theirs.name} on {other.fabric.family}"
        return ""


@dataclass(frozen=True)
class Rejection:
    """A machine, or one layout on it, that cannot serve, and why."""

    machine: str
    layout: str | None
    error: PlannerError


@dataclass(frozen=True, eq=False)
class Serving:
    """The model, software and network, the same for every machine.

    Attributes
    ----------
    llm, runtime : catalog entries
    precision, kv_precision : str or None
        None: as the model's file says.
    profile : mapping or None
        Measured step times to use in place of the roofline.
    shortcuts : Shortcuts
        Work that requests are spared.
    prefix_shares : mapping of (str, Layout) to float
        Machine and layout -> share of prompt tokens whose KV cache is there, where memory decides that; of others it is
        that of the shortcuts.
    residency : Residency
        Tokens of the requests that are in memory together, which decide how much of windows and states counts.
    network : NetworkOverride or None
        None: each machine has its own.
    electricity : ElectricitySupply or None
        None: nothing is known of what it emits.
    step_time_factors : mapping of str to float
        Accelerator -> what its step times are multiplied by, to see what an error of theirs does.
    price_factors : mapping of str to float
        Machine -> what its price is multiplied by, to see what another price does.
    derate : float
        Speed of the servers over the model's.
    longest_request_tokens : float
        What a replica should have KV memory for: where none has, stages and groups of machines are tried [tokens].
    lanes : dict
        Lanes made so far: machines of like silicon, whoever sells them, share one, and with it all that queues work
        out about it.
    """

    llm: Llm
    runtime: Runtime
    precision: Precision | None = None
    kv_precision: Precision | None = None
    profile: Profile | None = None
    shortcuts: Shortcuts = Shortcuts()  # noqa: RUF009 - frozen
    residency: Residency = Residency()  # noqa: RUF009 - frozen
    network: NetworkOverride | None = None
    electricity: ElectricitySupply | None = None
    step_time_factors: Mapping[str, float] = field(default_factory=dict)
    price_factors: Mapping[str, float] = field(default_factory=dict)
    derate: float = 1.0
    longest_request_tokens: float = 1.0
    prefix_shares: Mapping[tuple[str, Layout], float] = field(default_factory=dict)
    lanes: dict[object, Lane] = field(default_factory=dict, init=False, repr=False)

    def shortcuts_on(self, machine: Machine, layout: Layout) -> Shortcuts:
        """Work that requests are spared on a machine in a layout."""
        share = self.prefix_shares.get((machine.name, layout))
        return self.shortcuts if share is None else replace(self.shortcuts, prefix_cached=share)

    @property
    def caches_prefixes(self) -> bool:
        """Whether prefixes of prompts are taken as cached anywhere."""
        return self.shortcuts.prefix_cached > 0 or any(share > 0 for share in self.prefix_shares.values())


def configure(
    catalog: Catalog, machine: Machine, serving: Serving, layout: Layout, books: Sequence[str] = ()
) -> Configuration:
    """Lay the model out on a machine.

    Raises
    ------
    DoesNotFitError
        Weights and activations leave no room for a single token, with both byte counts.
    CatalogError
        The accelerator cannot compute in the precision, or has no link for the parallel degree.
    ScenarioError
        The layout needs more accelerators than the machine has.
    """
    llm, runtime = serving.llm, serving.runtime
    accelerator, fabric = catalog.accelerator_of(machine), catalog.fabric_of(machine)
    if serving.network is not None:
        machine, fabric = serving.network.applied(machine, fabric)
    if layout.accelerators_per_replica * layout.replicas > machine.n_accelerators:
        raise ScenarioError(
            f"{layout.label} needs {layout.accelerators_per_replica * layout.replicas} accelerators",
            where=machine.name,
            rule=f"the machine has {machine.n_accelerators}",
        )
    cached = serving.shortcuts_on(machine, layout).prefix_cached
    lane = serving.lanes.get(key := (_silicon(machine, serving), layout, cached))
    if lane is None:
        lane = serving.lanes[key] = _lane(machine, accelerator, serving, layout)
    stated = largest_error(llm, accelerator, runtime, layout)
    line_rate = machine.network.n_nics * machine.network.nic_bandwidth_bytes_per_s
    return Configuration(
        machine=machine,
        accelerator=accelerator,
        fabric=fabric,
        layout=layout,
        lane=lane,
        price=_price(catalog, machine, serving, books),
        kv_bytes_per_token=sent_bytes_per_token(llm, layout, serving.residency),
        network_bytes_per_s=line_rate * fabric.efficiency / fabric.oversubscription,
        step_time_error=stated.fraction,
        step_time_basis=stated.basis,
        rated_carbon_kg_per_hour=float("nan")
        if serving.electricity is None
        else rated_carbon_kg_per_hour(machine, serving.electricity.at(machine.site)),
    )


# What a lane cannot know of the machine that it runs on.
_NOT_SILICON = {
    "name", "source", "kind", "provenance", "notes", "network", "site", "rated_power_w", "chassis_power_w",
    "rack_units", "power_scope",
}  # fmt: skip


def _silicon(machine: Machine, serving: Serving) -> tuple[object, ...]:
    """What step times and memory of a machine depend on, the same for machines that differ by seller alone."""
    is_named = serving.profile is not None or machine.single_name in serving.runtime.machines
    named = machine.catalog_name if is_named else None
    between = machine.network.model_dump_json() if machine.group > 1 else None  # a replica's ranks talk over the NICs
    return machine.model_dump_json(exclude=_NOT_SILICON), between, named


def _kv_tokens(fit: MemoryFit, layout: Layout, serving: Serving) -> float:
    """Tokens that the KV memory of a lane holds, all its ranks together."""
    return fit.resident_tokens / layout.pipeline_parallel / kv_share(serving.llm, layout, serving.residency)


def _lane(machine: Machine, accelerator: Accelerator, serving: Serving, layout: Layout) -> Lane:
    require_supported(serving.llm, accelerator, serving.runtime, layout)
    fit = require_fit(serving.llm, accelerator, serving.runtime, layout, draft_layers(serving.llm, serving.shortcuts))
    step, shortcuts = _step_times(machine, accelerator, serving, layout), serving.shortcuts_on(machine, layout)
    return Lane(
        step=scaled(step, serving.step_time_factors.get(accelerator.name, 1.0) / serving.derate),
        kv_tokens=_kv_tokens(fit, layout, serving),
        max_batch=sequence_limit(serving.runtime, accelerator) * layout.attention_data_parallel,
        token_budget=shortcuts.prompt_token_budget(token_budget(serving.runtime, accelerator))
        * layout.attention_data_parallel,
        chunked=serving.runtime.batching.prompts == "chunked",
        front_end_s=front_end_s(serving.runtime),
        apart=serving.runtime.batching.steps == "apart",
        paged=serving.runtime.batching.kv_memory == "paged",
    )


def _price(catalog: Catalog, machine: Machine, serving: Serving, books: Sequence[str]) -> MachinePrice | None:
    price, factor = catalog.price_of(machine.catalog_name, books), serving.price_factors.get(machine.name, 1.0)
    if price is None or factor == 1.0:
        return price
    return price.model_copy(update={"usd_per_hour": price.usd_per_hour * factor})


def layouts(machine: Machine, accelerator: Accelerator, serving: Serving) -> list[Layout]:
    """Layouts worth considering: every tensor degree that is a power of two, as many replicas as there is room.

    Pipeline stages are added where the link between accelerators is slow or the longest request does not fit otherwise;
    a mixture of experts may lie expert-parallel, and with latent attention, which tensor ranks would each copy, in
    groups of one rank that each have sequences of their own. A replica of a group of machines spans all of them.
    Layouts that do not fit are left out.
    """
    llm = serving.llm
    link = machine.scale_up or accelerator.scale_up
    slow_link = link is None or link.topology in ("pcie", "bridge_pairs", "none")
    n = machine.n_accelerators
    smallest = n if machine.group > 1 else 1

    drafting = draft_layers(llm, serving.shortcuts)

    def fits(layout: Layout) -> bool:
        return memory_fit(llm, accelerator, serving.runtime, layout, drafting).resident_tokens >= 1

    def tensor(pipelines: bool) -> list[Layout]:
        return [
            layout
            for tp in _degrees(n)
            if llm.divides_heads(tp)
            for pp in _stages(machine, tp)
            if (pp > 1) == pipelines and tp * pp >= smallest
            for ep in ((1, tp) if llm.experts and tp > 1 else (1,))
            if fits(layout := make_layout(machine, serving, tp, pp, ep))
        ]

    found = tensor(pipelines=False)
    if slow_link or machine.group > 1 or not any(holds_longest(accelerator, serving, layout) for layout in found):
        found += tensor(pipelines=True)
    widths = [dp for dp in dict.fromkeys([*_degrees(n), n]) if dp >= max(smallest, FEWEST_GROUPS)]
    if llm.experts and isinstance(llm.attention, LatentAttention | CompressedAttention) and not slow_link:
        spread = [make_layout(machine, serving, 1, 1, dp, dp) for dp in widths if dp <= llm.experts.n_experts]
        found += [layout for layout in spread if fits(layout)]
    return found


def holds_longest(accelerator: Accelerator, serving: Serving, layout: Layout) -> bool:
    """Whether the KV memory of a replica is large enough for the longest request."""
    drafting = draft_layers(serving.llm, serving.shortcuts)
    fit = memory_fit(serving.llm, accelerator, serving.runtime, layout, drafting)
    return _kv_tokens(fit, layout, serving) / layout.attention_data_parallel >= serving.longest_request_tokens


def is_enough(machine: Machine, accelerator: Accelerator, serving: Serving) -> bool:
    """Whether some layout on a machine holds the model and its longest request."""
    return any(holds_longest(accelerator, serving, layout) for layout in layouts(machine, accelerator, serving))


def _stages(machine: Machine, tensor_parallel: int) -> list[int]:
    """Pipeline degrees beside a tensor degree: powers of two, and as many stages as a group has machines."""
    room = machine.n_accelerators // tensor_parallel
    stages = _degrees(room)
    if machine.group > 1 and tensor_parallel * machine.group == machine.n_accelerators:
        stages.append(machine.group)
    return list(dict.fromkeys(stages))


def make_layout(machine: Machine, serving: Serving, tp: int, pp: int = 1, ep: int = 1, dp: int = 1) -> Layout:
    """Layout of given degrees that fills the machine with replicas."""
    weights = serving.precision or serving.llm.weight_precision
    return Layout(
        tensor_parallel=tp,
        pipeline_parallel=pp,
        expert_parallel=ep,
        attention_data_parallel=dp,
        replicas=max(1, machine.n_accelerators // (tp * pp * dp)),
        machines=machine.group,
        precision=weights,
        kv_precision=serving.kv_precision or kv_precision(serving.runtime, serving.precision, serving.llm.kv_precision),
    )


def check_degrees(llm: Llm, layout: Layout) -> None:
    """Refuse parallel degrees that a model cannot be split by.

    Raises
    ------
    ScenarioError
        `where` is the degree: tensor_parallel or expert_parallel.
    """
    tp, ep, heads = layout.tensor_parallel, layout.expert_parallel, llm.attention.n_heads
    if not llm.divides_heads(tp):
        raise ScenarioError(
            f"{heads} attention heads of {llm.name} cannot be split {tp} ways",
            where="tensor_parallel",
            value=tp,
            rule="the tensor degree divides the number of attention heads",
        )
    if ep > 1 and llm.experts is None:
        raise ScenarioError(f"{llm.name} has no experts", where="expert_parallel", value=ep, fix="leave it at 1")
    if layout.attention_data_parallel > 1 and ep != layout.ranks:
        raise ScenarioError(
            "with attention data parallelism experts are spread over all ranks",
            where="expert_parallel",
            value=ep,
            rule=f"tensor degree x attention data degree, {layout.ranks}",
        )
    if layout.ranks % ep:
        raise ScenarioError(
            "experts are spread over the ranks of the tensor degree",
            where="expert_parallel",
            value=ep,
            rule=f"the expert degree divides the tensor degree, {tp}",
        )
    if llm.experts is not None and ep > llm.experts.n_experts:
        raise ScenarioError(
            f"{llm.name} has {llm.experts.n_experts} experts", where="expert_parallel", value=ep,
            rule="a rank has one expert or more",
        )  # fmt: skip


def configurations_of(
    catalog: Catalog, machine: Machine, serving: Serving, books: Sequence[str] = ()
) -> tuple[list[Configuration], list[Rejection]]:
    """Every layout of the model on a machine, and why there is none if there is none."""
    accelerator = catalog.accelerator_of(machine)
    found: list[Configuration] = []
    rejected: list[Rejection] = []
    try:
        require_supported(serving.llm, accelerator, serving.runtime, make_layout(machine, serving, 1))
    except CatalogError as error:
        return [], [Rejection(machine.name, None, error)]
    for layout in layouts(machine, accelerator, serving):
        try:
            found.append(configure(catalog, machine, serving, layout, books))
        except CatalogError as error:
            rejected.append(Rejection(machine.name, layout.label, error))
    if not found and not rejected:
        largest = max(_degrees(machine.n_accelerators))
        try:
            configure(catalog, machine, serving, make_layout(machine, serving, largest), books)
        except (DoesNotFitError, CatalogError) as error:
            rejected.append(Rejection(machine.name, None, error))
    return found, rejected


FEWEST_GROUPS = 8  # of attention data parallelism; fewer ranks gain little by it


def _degrees(n: int) -> list[int]:
    return [2**i for i in range(n.bit_length()) if 2**i <= n]


def _step_times(machine: Machine, accelerator: Accelerator, serving: Serving, layout: Layout) -> StepTimes:
    shortcuts = serving.shortcuts_on(machine, layout)
    if serving.profile is None:
        drafts = serving.shortcuts.draft_tokens
        roofline = RooflineLatency(serving.llm, machine, accelerator, serving.runtime, layout, drafts)
        return shortened(scheduled(roofline, serving.runtime.batching), shortcuts, serving.llm)
    models = _model_aliases(serving.llm.name)
    hardware = _hardware_aliases(machine, accelerator)
    for key, latency in serving.profile.items():
        same = key.model.casefold().replace("-", "") in models and key.hardware.casefold() in hardware
        if same and key.tensor_parallel == layout.tensor_parallel and layout.pipeline_parallel == 1:
            return shortened(latency, shortcuts, serving.llm, rows=shortcuts.rows)
    known = sorted({f"{k.model} on {k.hardware} TP{k.tensor_parallel}" for k in serving.profile})
    raise CatalogError(
        f"the step-time profile has no rows for {serving.llm.name} on {machine.name} at TP{layout.tensor_parallel}",
        value=f"looked for model {sorted(models)}, hardware {sorted(hardware)}",
        fix=f"the profile holds: {', '.join(known)}",
    )


def _model_aliases(name: str) -> set[str]:
    return {name.casefold().replace("-", "")}


def _hardware_aliases(machine: Machine, accelerator: Accelerator) -> set[str]:
    """Names a profile may give the hardware: the machine's, the accelerator's, or `h100-80gb`, `-pcap` if capped."""
    chip = accelerator.name.split("-")[0]
    short = f"{chip}-{accelerator.sold_as_gb}gb"
    if machine.power_cap:
        return {machine.catalog_name, f"{accelerator.name}-pcap", f"{short}-pcap"}
    return {machine.catalog_name, accelerator.name, short}
