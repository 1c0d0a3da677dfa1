"""What is supposed in place of what inputs say: errors of the model, another mix, machines that are there already."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Factor = Annotated[float, Field(gt=0, le=1e6)]


class Supposition(BaseModel):
    """Inputs that differ from what catalog, traces and runtime say; studies set it, and no option does.

    Factors are 1 where they are not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    load: Factor = Field(default=1.0, description="Factor of the rate, or of users and requests under way.")
    prompt_tokens: Factor = Field(default=1.0, description="Factor of every prompt.")
    output_tokens: Factor = Field(default=1.0, description="Factor of every output.")
    arrival_cv2: Factor = Field(default=1.0, description="Factor of the squared CV of gaps between arrivals.")
    step_times: dict[str, Factor] = Field(default={}, description="Factors of step times, by accelerator.")
    prices: dict[str, Factor] = Field(default={}, description="Factors of prices, by machine.")
    pue: Factor = Field(default=1.0, description="Factor of the PUE, which stops at 1.")
    electricity: Factor = Field(default=1.0, description="Factor of the price of electricity.")
    carbon: dict[str, Factor] = Field(default={}, description="Factors of what electricity emits, by region.")
    mix: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default={}, description="Shares of the requests that are of other workloads, by workload or trace."
    )
    kv_transfer: Literal["overlapped", "serialised"] | None = Field(
        default=None, description="Way in which KV caches are sent; null as the runtime does."
    )
    owned: dict[str, Annotated[int, Field(ge=0)]] = Field(default={}, description="Machines there already, by type.")
    max_bought: int | None = Field(default=None, ge=0, description="Most machines beyond those owned, all types.")

    @model_validator(mode="after")
    def _leaves_some(self) -> Supposition:
        if sum(self.mix.values()) >= 1:
            raise ValueError("shares of other workloads leave nothing of the workload itself")
        return self

    @property
    def sizes_differ(self) -> bool:
        """Whether prompts or outputs are longer or shorter."""
        return (self.prompt_tokens, self.output_tokens) != (1.0, 1.0)

    def dump(self) -> dict[str, Any]:
        """JSON-ready form of what differs."""
        return self.model_dump(mode="json", exclude_defaults=True)


NOTHING_SUPPOSED = Supposition()
