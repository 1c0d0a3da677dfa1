"""What a catalog file may say: one frozen pydantic model for each kind of file.

A file's folder gives its kind and its stem gives its name. Quantities are strings with units; inside they are
base-unit floats whose field name carries the unit (`memory_bandwidth` in YAML, `memory_bandwidth_bytes_per_s`
in Python). Every file states the `source` and `kind` of its values once, and `provenance` overrides them for
single fields, so that every value has both.
"""

from __future__ import annotations

import datetime
import itertools
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator
from pydantic.fields import FieldInfo

from planner.catalog.batching import Batching as Batching
from planner.catalog.batching import FrontEnd as FrontEnd
from planner.catalog.entry import CatalogModel as CatalogModel
from planner.catalog.entry import Entry as Entry
from planner.catalog.entry import Provenance as Provenance
from planner.catalog.entry import SourceKind as SourceKind
from planner.catalog.hardware import GROUP_MARK as GROUP_MARK
from planner.catalog.hardware import Accelerator as Accelerator
from planner.catalog.hardware import Fabric as Fabric
from planner.catalog.hardware import Machine as Machine
from planner.catalog.hardware import Network as Network
from planner.catalog.hardware import PowerCap as PowerCap
from planner.catalog.hardware import ScaleUp as ScaleUp
from planner.catalog.layers import Attention as Attention
from planner.catalog.layers import CompressedAttention as CompressedAttention
from planner.catalog.layers import Count, Positive
from planner.catalog.layers import DenseMlp as DenseMlp
from planner.catalog.layers import Experts as Experts
from planner.catalog.layers import Indexer as Indexer
from planner.catalog.layers import LatentAttention as LatentAttention
from planner.catalog.layers import LinearAttention as LinearAttention
from planner.catalog.layers import Mamba as Mamba
from planner.catalog.layers import MultiHeadAttention as MultiHeadAttention
from planner.catalog.layers import ShortConvolution as ShortConvolution
from planner.catalog.llm import Llm as Llm
from planner.catalog.precision import PRECISION_BYTES as PRECISION_BYTES
from planner.catalog.precision import STORED_BYTES as STORED_BYTES
from planner.catalog.precision import Precision as Precision
from planner.catalog.prices import Currency as Currency
from planner.catalog.prices import PriceBook as PriceBook
from planner.catalog.prices import Region as Region
from planner.catalog.quantities import (
    BytesOrZero,
    BytesPerS,
    Fraction,
    FractionOrZero,
    Seconds,
)


class ExchangeCosts(CatalogModel):
    """One direction of the exchange of tokens among ranks that hold different experts."""

    alpha_s: Seconds = Field(alias="alpha", description="Fixed cost of one exchange.")
    node_alpha_s: Seconds = Field(
        default=0.0,
        alias="node_alpha",
        description="Time added across machines, times the root of their number less one.",
    )
    link: float = Field(
        gt=0, description="Fraction of scale-up bandwidth, over the bytes that cross it; copies count once."
    )
    network: float | None = Field(
        default=None, gt=0, description="Fraction of a rank's NIC bandwidth; left out: not measured across machines."
    )
    bytes_per_element: float = Field(
        gt=0, description="Size of an element of the hidden vectors that are sent [bytes]."
    )


class ExpertExchange(CatalogModel):
    """How a runtime sends tokens to the ranks of their experts, and back."""

    dispatch: ExchangeCosts
    combine: ExchangeCosts


class LatentCosts(CatalogModel):
    """What a layer's latent attention with its projections reaches."""

    gemm: Fraction = Field(description="Fraction of peak FLOP/s, in its projections.")
    half_tokens: float = Field(ge=0, description="Tokens in a step at which they reach half of that [tokens].")
    launch_s: Seconds = Field(
        alias="launch", description="Launch time of everything in the layer's attention, beside its work."
    )
    prefill: Fraction = Field(description="Fraction of peak FLOP/s, attention itself.")
    decode: Fraction = Field(description="Fraction of memory bandwidth, reading latents.")


class ExpertCosts(CatalogModel):
    """What a layer of routed experts reaches."""

    gemm: Fraction = Field(description="Fraction of peak FLOP/s.")
    half_tokens: float = Field(ge=0, description="Tokens of one expert at which it reaches half of that [tokens].")
    streaming: Fraction = Field(description="Fraction of memory bandwidth, reading weights and activations.")
    launch_s: Seconds = Field(
        alias="launch", description="Launch time of the layer, quantisation included, beside its work."
    )
    spread_s: Seconds = Field(
        default=0.0,
        alias="spread",
        description="Time added where experts are spread over ranks: most calls are another's.",
    )


class Efficiency(CatalogModel):
    """How much of an accelerator's peaks a runtime reaches, and what it costs beside.

    All efficiencies are fractions of the peak in the accelerator's file.
    """

    gemm: dict[Precision, Fraction] = Field(description="Fraction of peak FLOP/s, at many tokens, by precision.")
    gemm_half_tokens: float = Field(ge=0, description="Tokens in a step at which GEMMs reach half of that.")
    gemm_half: dict[Precision, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="The same in single precisions, in place of gemm_half_tokens [tokens]."
    )
    gemm_launch_s: dict[Precision, Seconds] = Field(
        default={},
        alias="gemm_launch",
        description=(
            "Launch time of a product and of quantising its input, by precision; left out: kernel_launch for each."
        ),
    )
    weight_streaming: Fraction = Field(description="Fraction of memory bandwidth, reading weights and activations.")
    prefill_attention: Fraction = Field(description="Fraction of peak FLOP/s.")
    decode_attention: Fraction = Field(description="Fraction of memory bandwidth, reading the KV cache.")
    # Fitted to gated delta rules on H100 by benchmarks/recurrent_kernels.py.
    recurrence: Fraction = Field(
        default=0.45, description="Fraction of peak FLOP/s, in scans of linear layers over prompts."
    )
    recurrence_chunk_s: Seconds = Field(
        default=1.4e-6, alias="recurrence_chunk", description="Time of a scan, for each chunk of its longest prompt."
    )
    state_update: Fraction = Field(
        default=0.9, description="Fraction of memory bandwidth, updating states of linear layers."
    )
    kernel_launch_s: Seconds = Field(alias="kernel_launch", description="Launch time of one kernel, added to its work.")
    gemm_input_bytes: dict[Precision, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="Traffic for each element of a product's input beside the product: quantising it [bytes].",
    )
    fused_quantisation: bool = Field(
        default=False,
        description="Whether kernels before a product quantise its input, so that it takes kernel_launch and no more.",
    )
    elementwise_launch_s: Seconds | None = Field(
        default=None,
        alias="elementwise_launch",
        description="Launch time of a norm, activation function or rotary embedding; left out: kernel_launch.",
    )
    attention_launch_s: Seconds | None = Field(
        default=None,
        alias="attention_launch",
        description="Launch time of attention in a layer; left out: kernel_launch, twice in decode.",
    )
    latent: dict[Precision, LatentCosts] = Field(
        default={},
        description="Efficiency of latent attention with its projections, by the precision of their weights.",
    )
    experts: dict[Precision, ExpertCosts] = Field(
        default={}, description="Efficiency of the routed experts of a layer, by the precision they are stored in."
    )
    expert_moves_per_call: float = Field(
        default=2.5, ge=0, description="Times a hidden vector is moved for each expert of a token beside the products."
    )
    expert_moves_per_token: float = Field(
        default=8.0,
        ge=0,
        description="The same for each token that a rank is given: all of them, unless ranks exchange tokens.",
    )
    low_latency_exchange: ExpertExchange | None = Field(
        default=None, description="Exchange of small steps: a message for each expert of a token."
    )
    high_throughput_exchange: ExpertExchange | None = Field(
        default=None,
        description="Exchange of large steps: a message for each rank, and across machines for each machine.",
    )
    expert_padding: float = Field(
        default=0.0, ge=0, description="Columns that an expert's share of a rank costs beyond its own [elements]."
    )
    layer_overhead_s: Seconds = Field(alias="layer_overhead", description="Host time a layer and decode step.")
    prefill_layer_overhead_s: Seconds = Field(alias="prefill_layer_overhead", description="The same with prompts.")
    prefill_layer_floor_s: Seconds = Field(alias="prefill_layer_floor", description="Least time of such a layer.")
    step_overhead_s: Seconds = Field(alias="step_overhead", description="Scheduler time a step.")
    sequence_overhead_s: Seconds = Field(alias="sequence_overhead", description="A decoding sequence and step.")
    all_reduce_alpha_s: Seconds = Field(alias="all_reduce_alpha", description="Fixed cost of one all-reduce.")
    all_reduce_hop_s: Seconds = Field(alias="all_reduce_hop", description="Time added for each of 2(n-1) hops.")
    link: Fraction = Field(description="Fraction of scale-up bandwidth, in collectives.")
    direct_all_reduce_alpha_s: Seconds | None = Field(
        default=None,
        alias="direct_all_reduce_alpha",
        description="Fixed cost of the all-reduce for small messages, if the runtime has one.",
    )
    direct_link: Fraction | None = Field(
        default=None, description="Fraction of scale-up bandwidth, in that all-reduce."
    )
    one_shot_alpha_s: Seconds | None = Field(
        default=None,
        alias="one_shot_alpha",
        description="Fixed cost of the all-reduce in which each rank reads all messages, if the runtime has one.",
    )
    one_shot_link: Fraction | None = Field(
        default=None, description="Fraction of scale-up bandwidth, in that all-reduce."
    )
    direct_rank_s: Seconds = Field(
        default=0.0, alias="direct_rank", description="Time added to both direct all-reduces for each rank."
    )
    slow_collective_tokens: float | None = Field(
        default=None, ge=0, description="Tokens in a step beyond which its collectives run slowly (none: never)."
    )
    slow_collective_link: Fraction | None = Field(
        default=None, description="Fraction of scale-up bandwidth, beyond it."
    )
    pipeline_bubble: FractionOrZero = Field(description="Share of a step lost to pipeline imbalance.")
    expert_imbalance: float = Field(ge=1, description="Busiest expert-parallel rank over the mean.")
    attention_imbalance: float = Field(
        default=1.1, ge=1, description="Busiest group of attention data parallelism over the mean."
    )
    nic: Fraction = Field(default=0.9, description="Fraction of NIC bandwidth, between the ranks of one replica.")
    nic_alpha_s: Seconds = Field(
        default=14e-6, alias="nic_alpha", description="Fixed cost that a collective has more where it crosses NICs."
    )
    exchange_alpha_s: Seconds = Field(
        default=15e-6, alias="exchange_alpha", description="Fixed cost of one exchange of tokens between experts."
    )
    exchange_exposed: Fraction = Field(
        default=1.0, description="Share of such an exchange, what is not behind the work of another micro-batch."
    )
    power_base: FractionOrZero = Field(description="P/TDP of a busy accelerator at zero utilisation.")
    power_working: float = Field(
        default=0.0, ge=0, description="P/TDP per share of a step in which kernels compute or stream."
    )
    power_compute: FractionOrZero | Annotated[float, Field(ge=0)] = Field(description="P/TDP per compute utilisation.")
    power_memory: FractionOrZero = Field(description="P/TDP per memory utilisation.")
    power_idle: FractionOrZero = Field(description="P/TDP of an idle accelerator.")
    power_error: FractionOrZero = Field(default=0.3, description="Error, stated, of the draw of a busy accelerator.")
    step_time_error: FractionOrZero = Field(description="Error, stated, of step times with these values.")


def _optional_fields(model: type[CatalogModel]) -> dict[str, Any]:
    return {
        name: (_annotation(field) | None, Field(default=None, alias=field.alias, description=field.description))
        for name, field in model.model_fields.items()
    }


def _annotation(field: FieldInfo) -> Any:
    # Pydantic keeps the reader of units and the bounds apart from the bare type; a patch needs both again.
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation  # type: ignore[return-value]


EfficiencyPatch: type[CatalogModel] = create_model(
    "EfficiencyPatch", __base__=CatalogModel, __doc__="Some fields of Efficiency.", **_optional_fields(Efficiency)
)


class KvTransferCosts(CatalogModel):
    """How a runtime moves KV caches between machines."""

    overlapped: bool = Field(description="Whether transfer may run layer by layer behind the prompt computation.")
    synchronisation_s: Seconds = Field(alias="synchronisation", description="Time left exposed, a request, overlapped.")
    setup_s: Seconds = Field(alias="setup", description="Fixed cost of one serialised transfer.")
    reference_bandwidth_bytes_per_s: BytesPerS = Field(
        alias="reference_bandwidth", description="NIC bandwidth at which the synchronisation cost was measured."
    )


class MemoryUse(CatalogModel):
    """What an engine takes of an accelerator's memory beside weights and KV cache."""

    workspace_bytes: BytesOrZero = Field(
        default=0.0,
        alias="workspace",
        description="Driver context, kernels' workspaces and CUDA graphs inside what the engine may use.",
    )
    communicator_bytes: BytesOrZero = Field(
        default=0.0, alias="communicator", description="Buffers of collectives, where a replica has several ranks."
    )
    bytes_per_budget_token: BytesOrZero | None = Field(
        default=None,
        alias="per_budget_token",
        description="Set aside for activations, a token of the step's budget; left out: what the model's widths need.",
    )
    bytes_per_logit: float = Field(
        default=0.0,
        ge=0,
        description="Workspace of the sampler: sequences of a full batch x vocabulary x this [bytes].",
    )
    few_sequences: Positive | None = Field(
        default=None, description="Sequences of a full batch on small accelerators, where that is less than max_batch."
    )
    few_below_bytes: BytesOrZero = Field(
        default=0.0, alias="few_below", description="Memory below which an accelerator counts as small."
    )
    few_on: list[str] = Field(default=[], description="Architectures that count as small whatever their memory.")
    reserve_of: Literal["memory", "free"] = Field(
        default="memory",
        description="Base of memory_reserve: the accelerator's memory, or what all the rest leaves of it.",
    )


LayerKind = Literal[
    "latent", "indexed", "compressed", "gated-delta", "kda", "lightning", "mamba1", "mamba2", "short-convolution",
]  # fmt: skip


class Support(CatalogModel):
    """What an engine is known to run on some accelerators; what no entry covers is not planned."""

    architectures: list[str] = Field(default=[], description="Architectures of the accelerators that it is said of.")
    accelerators: list[str] = Field(default=[], description="Names of accelerators that it is said of, beside.")
    excluded: list[str] = Field(
        default=[], description="Names of accelerators of these architectures that it is not said of."
    )
    precisions: list[Precision] = Field(min_length=1, description="Number formats of weights; weight-only ones too.")
    layers: list[LayerKind] = Field(
        default=[], description="Kinds of layers with kernels of their own, beside attention over keys and values."
    )
    spread: bool = Field(
        default=False, description="Whether attention is run data-parallel with experts spread over all ranks."
    )
    pipeline: bool = Field(default=True, description="Whether a model is cut into pipeline stages.")
    note: str = Field(default="", description="Limit in words, said where something is refused.")
    checked: datetime.date = Field(description="Day on which the source was read.")
    source: str = Field(min_length=3, description="Documentation that says so, with its version.")

    @model_validator(mode="after")
    def _says_of_what(self) -> Support:
        if not self.architectures and not self.accelerators:
            raise ValueError("architectures or accelerators is missing: nothing is said to be supported")
        return self

    def covers(self, accelerator: Accelerator) -> bool:
        """Whether it is said of an accelerator."""
        by_kind = accelerator.architecture in self.architectures and accelerator.name not in self.excluded
        return by_kind or accelerator.name in self.accelerators


class StatedError(CatalogModel):
    """How far step times of one kind were from measurements that they were not fitted to."""

    family: Literal["dense", "experts", "latent-experts"] = Field(
        description=(
            "Family of the model: dense, experts beside attention of full heads, experts beside latent attention."
        )
    )
    layout: Literal["one", "tensor", "spread"] = Field(
        description="Layout: one accelerator; tensor parallel; experts or attention spread over ranks."
    )
    precision: Precision = Field(description="Precision of the weights; of the experts, where the model has them.")
    phase: Literal["prefill", "decode"]
    error: Annotated[float, Field(ge=0)] = Field(
        description="Share that four rows in five are off by at most, and no more than 2.5 times their median."
    )
    n_rows: Positive = Field(description="Measurements that it rests on.")
    accelerator: str | None = Field(
        default=None, description="The one it was measured on; left out: all measured ones."
    )


class Runtime(Entry):
    """A serving software and the efficiencies it reaches."""

    folder: ClassVar[str] = "runtimes"

    released: datetime.date
    prefill_token_budget: Positive = Field(description="Most prompt tokens batched in one step.")
    max_batch: Positive = Field(description="Most sequences decoding together in one replica.")
    memory_reserve: FractionOrZero = Field(description="Share of accelerator memory kept free.")
    redundant_experts: Count = Field(
        default=32,  # LMSYS, Deploying DeepSeek with PD Disaggregation and Large-Scale EP, 5 May 2025: 32 beside 256
        description="Copies of busy experts beside, in replicas with more than 8 expert-parallel ranks.",
    )
    support: dict[str, Support] = Field(
        default={},
        description=(
            "Accelerators by name, what it is known to run; what no entry covers is not planned. None "
            "at all: anything is."
        ),
    )
    batching: Batching = Field(default=Batching(), description="Batching of its servers where nobody says otherwise.")
    memory_use: MemoryUse = Field(
        default=MemoryUse(), description="Memory that the engine takes beside weights and KV cache."
    )
    tokens_per_step: float = Field(
        default=1.0, ge=1, description="Tokens that a sequence gets from a decode step, drafts accepted included."
    )
    draft_tokens: Count = Field(
        default=0, description="Draft tokens verified a sequence and step: multi-token prediction, speculation."
    )
    stated_errors: dict[str, StatedError] = Field(
        default={},
        description="Errors by name; what none of them covers is not measured. None at all: step_time_error counts.",
    )
    unmeasured_error: FractionOrZero = Field(
        default=0.5, description="Error, stated, of step times of kinds that stated_errors has not."
    )
    kv_transfer: KvTransferCosts
    defaults: Efficiency
    architectures: dict[str, EfficiencyPatch] = Field(
        default={}, description="Efficiencies that differ, by architecture."
    )  # type: ignore[valid-type]
    accelerators: dict[str, EfficiencyPatch] = Field(
        default={}, description="Efficiencies that differ, by accelerator."
    )  # type: ignore[valid-type]
    machines: dict[str, EfficiencyPatch] = Field(  # type: ignore[valid-type]
        default={}, description="Efficiencies that differ, by machine, such as the host overheads of its processors."
    )

    @model_validator(mode="after")
    def _yields_what_it_verifies(self) -> Runtime:
        if self.tokens_per_step > 1 + self.draft_tokens:
            raise ValueError(f"tokens_per_step {self.tokens_per_step:g} exceeds 1 + draft_tokens {self.draft_tokens}")
        return self

    def efficiency(self, accelerator: Accelerator, machine: Machine | None = None) -> Efficiency:
        """Return the efficiencies on `accelerator`: its own, else its architecture's, else the defaults.

        What the runtime says of `machine` goes before all of these: host overhead belongs to the machine.
        """
        merged = self.defaults.model_dump()
        patches = [self.architectures.get(accelerator.architecture), self.accelerators.get(accelerator.name)]
        if machine is not None:
            patches.append(self.machines.get(machine.single_name))
        for patch in patches:
            if patch is not None:
                given = patch.model_dump(exclude_none=True)
                for name, value in merged.items():
                    if isinstance(value, dict):
                        given[name] = value | given.get(name, {})
                merged |= given
        return Efficiency.model_validate(merged)

    def is_measured_on(self, accelerator: Accelerator) -> bool:
        """Whether this runtime has values of its own for `accelerator`."""
        return accelerator.name in self.accelerators


class TokenDistribution(CatalogModel):
    """Marginal distribution of a token count: its quantile function at given probabilities."""

    probabilities: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=2)
    tokens: list[Annotated[float, Field(gt=0)]] = Field(min_length=2)

    @model_validator(mode="after")
    def _is_a_quantile_function(self) -> TokenDistribution:
        p, q = self.probabilities, self.tokens
        if len(p) != len(q):
            raise ValueError(f"{len(p)} probabilities for {len(q)} token counts")
        if p[0] != 0 or p[-1] != 1 or any(b <= a for a, b in itertools.pairwise(p)):
            raise ValueError("probabilities must rise strictly from 0 to 1")
        if any(b < a for a, b in itertools.pairwise(q)):
            raise ValueError("tokens must not fall")
        return self


class Workload(Entry):
    """A kind of traffic: joint distribution of prompt and output tokens, and how bursty it arrives."""

    folder: ClassVar[str] = "workloads"

    title: str
    prompt_tokens: TokenDistribution
    output_tokens: TokenDistribution
    correlation: float = Field(ge=-0.999, le=0.999, description="Correlation of normal scores (Gaussian copula).")
    arrival_cv2: float = Field(default=1.0, gt=0, description="Squared coefficient of variation of gaps; 1 Poisson.")
    prefix_cached: FractionOrZero = Field(
        default=0.0, lt=1, description="Share of each prompt's tokens whose KV cache is there already."
    )


ENTRY_TYPES: tuple[type[Entry], ...] = (
    Accelerator, Machine, Fabric, Runtime, PriceBook, Currency, Region, Llm, Workload,
)  # fmt: skip
BY_FOLDER: dict[str, type[Entry]] = {t.folder: t for t in ENTRY_TYPES}
