"""What a catalog file may say of hardware: accelerators, machines and fabrics."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from planner.catalog.batching import Batching as Batching
from planner.catalog.batching import FrontEnd as FrontEnd
from planner.catalog.entry import CatalogModel as CatalogModel
from planner.catalog.entry import Entry as Entry
from planner.catalog.entry import Provenance as Provenance
from planner.catalog.entry import SourceKind as SourceKind
from planner.catalog.layers import Attention as Attention
from planner.catalog.layers import CompressedAttention as CompressedAttention
from planner.catalog.layers import DenseMlp as DenseMlp
from planner.catalog.layers import Experts as Experts
from planner.catalog.layers import Indexer as Indexer
from planner.catalog.layers import LatentAttention as LatentAttention
from planner.catalog.layers import LinearAttention as LinearAttention
from planner.catalog.layers import Mamba as Mamba
from planner.catalog.layers import MultiHeadAttention as MultiHeadAttention
from planner.catalog.layers import Positive
from planner.catalog.layers import ShortConvolution as ShortConvolution
from planner.catalog.llm import Llm as Llm
from planner.catalog.precision import PRECISION_BYTES as PRECISION_BYTES
from planner.catalog.precision import STORED_BYTES as STORED_BYTES
from planner.catalog.precision import Precision as Precision
from planner.catalog.prices import Currency as Currency
from planner.catalog.prices import PriceBook as PriceBook
from planner.catalog.prices import Region as Region
from planner.catalog.quantities import (
    Bytes,
    BytesPerS,
    FlopPerS,
    Fraction,
    Seconds,
    Watts,
)


class ScaleUp(CatalogModel):
    """The link between the accelerators of one machine."""

    topology: Literal["switched", "mesh", "bridge_pairs", "torus", "pcie", "none"] = Field(
        description=(
            "Kind of links: switched: all-to-all at full rate; bridge_pairs: NVLink pairs, PCIe "
            "beyond; pcie: host bridge."
        )
    )
    bandwidth_bytes_per_s: BytesPerS = Field(alias="bandwidth", description="Bandwidth each way, per accelerator.")
    pcie_bandwidth_bytes_per_s: BytesPerS | None = Field(
        default=None, alias="pcie_bandwidth", description="Bandwidth each way that ranks beyond a bridge pair use."
    )


class Accelerator(Entry):
    """One GPU, TPU or other accelerator chip."""

    folder: ClassVar[str] = "accelerators"

    vendor: str
    architecture: str = Field(description="Family that shares efficiencies, such as ampere, hopper, cdna3.")
    peak: dict[Precision, FlopPerS] = Field(description="Dense rate by precision, without sparsity.")
    memory_bytes: Bytes = Field(alias="memory", description="Memory as the driver reports it, not the name on the box.")
    memory_bandwidth_bytes_per_s: BytesPerS = Field(alias="memory_bandwidth")
    tdp_w: Watts = Field(alias="tdp")
    scale_up: ScaleUp | None = Field(default=None, description="The usual link; a machine may say otherwise.")

    @property
    def sold_as_gb(self) -> int:
        """The size in the card's name, as files of measurements use it (`h100-80gb`): 81,559 MiB are sold as 80 GB.

        A usual size within 1.5 % of the driver's figure in 2^30 bytes, else the nearest one in 10^9 bytes (GDDR and
        B300 give up more of theirs to error correction).
        """
        sizes = (11, 12, 16, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 144, 180, 186, 192, 256, 288)
        for figure, tolerance in ((self.memory_bytes / 2**30, 0.015), (self.memory_bytes / 1e9, 0.04)):
            near = min(sizes, key=lambda size: abs(figure / size - 1.0))
            if abs(figure / near - 1.0) < tolerance:
                return near
        return round(self.memory_bytes / 1e9)


class Network(CatalogModel):
    """The scale-out network of one machine, which carries the KV cache between pools."""

    fabric: str = Field(description="Name of a file in fabrics/.")
    n_nics: Positive
    nic_bandwidth_bytes_per_s: BytesPerS = Field(alias="nic_bandwidth", description="Bandwidth each way, per NIC.")


class PowerCap(CatalogModel):
    """A machine whose accelerators run under a power cap, with what that does to its step times."""

    accelerator_fraction: Fraction = Field(description="Cap as a share of accelerator TDP.")
    prefill_time_factor: float = Field(ge=1, description="Prefill step time over the uncapped one.")
    decode_time_factor: float = Field(ge=1, description="Decode step time over the uncapped one.")


class Machine(Entry):
    """The unit that can be bought or rented."""

    folder: ClassVar[str] = "machines"

    accelerator: str = Field(description="Name of a file in accelerators/.")
    n_accelerators: Positive
    group: Positive = Field(
        default=1, description="Machines that this is a group of, which one replica may span; `NAME@4` is one of 4."
    )
    scale_up: ScaleUp | None = Field(
        default=None, description="Scale-up links of the machine; left out: the accelerator's own."
    )
    network: Network
    site: str = Field(
        default="own",
        description="Site where it stands: own, or a provider. Pools exchange KV caches within one site only.",
    )
    rated_power_w: Watts = Field(alias="rated_power")
    chassis_power_w: Watts = Field(alias="chassis_power", description="Power drawn beside the accelerators.")
    rack_units: Positive | None = None
    power_scope: Literal["machine", "facility"] = Field(
        default="machine",
        description=(
            "Scope of its power figures; facility: they contain the facility's share already, so PUE does not apply."
        ),
    )
    power_cap: PowerCap | None = None

    @property
    def single_name(self) -> str:
        """Name of the machine that a group is made of; its own otherwise. Without the place of `standing_in`."""
        return self.catalog_name.partition(GROUP_MARK)[0]

    @property
    def catalog_name(self) -> str:
        """The name without the place of `standing_in`."""
        return self.name.partition(PLACE_MARK)[0]

    @property
    def place(self) -> str:
        """The place of `standing_in`; empty of a machine that may stand anywhere."""
        return self.name.partition(PLACE_MARK)[2]

    def standing_in(self, place: str) -> Machine:
        """Return the machine in one of several places: a type of its own that sends no KV caches elsewhere."""
        return self.model_copy(
            update={"name": f"{self.name}{PLACE_MARK}{place}", "site": f"{self.site}{PLACE_MARK}{place}"}
        )

    def in_groups_of(self, n: int) -> Machine:
        """Return a group of `n` of this machine, bought and counted as one."""
        network = self.network.model_copy(update={"n_nics": self.network.n_nics * n})
        return self.model_copy(
            update={
                "name": f"{self.name}{GROUP_MARK}{n}",
                "group": n,
                "n_accelerators": self.n_accelerators * n,
                "network": network,
                "rated_power_w": self.rated_power_w * n,
                "chassis_power_w": self.chassis_power_w * n,
                "rack_units": None if self.rack_units is None else self.rack_units * n,
            }
        )


GROUP_MARK = "@"
PLACE_MARK = "/"  # dgx-h100/dublin: names of the catalog are those of files, and have none


class Fabric(Entry):
    """A scale-out network technology."""

    folder: ClassVar[str] = "fabrics"

    family: Literal["infiniband", "ethernet", "efa", "ici", "nvlink", "pcie"] = Field(
        description="Machines exchange KV caches within one family only."
    )
    line_rate_bytes_per_s: BytesPerS | None = Field(
        default=None,
        alias="line_rate",
        description=(
            "Line rate each way, of one port, for `--network`; left out: the technology has many, a machine's NIC says."
        ),
    )
    efficiency: Fraction = Field(description="Achievable share of the line rate.")
    oversubscription: float = Field(
        default=1.0,
        ge=1,
        description="Bandwidth of all ports over what the switches above them carry; 1 is non-blocking.",
    )
    latency_s: Seconds = Field(alias="latency")
