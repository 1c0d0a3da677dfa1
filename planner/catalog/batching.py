"""How a serving engine batches, and what it takes beside the steps themselves: settings that ship with a runtime."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from planner.catalog.entry import CatalogModel
from planner.catalog.layers import Positive
from planner.catalog.precision import Precision
from planner.catalog.quantities import BytesOrZero, Seconds


class FrontEnd(CatalogModel):
    """Time of HTTP, tokeniser, queues between processes and detokeniser, beside the steps of the model.

    One process serves the requests of a replica one after the other: they queue for its work, not for the latency.
    """

    latency_s: Seconds = Field(default=0.0, alias="latency", description="Time that holds up no other request.")
    request_s: Seconds = Field(default=0.0, alias="request", description="Work a request, whatever its size.")
    prompt_token_s: Seconds = Field(default=0.0, alias="prompt_token", description="Work a prompt token.")


class Batching(CatalogModel):
    """The batching rules of a runtime, as its server sets them where nobody says otherwise."""

    prompts: Literal["whole", "chunked"] = Field(
        default="whole",
        description="Way of computing prompts: whole, or in chunks that fill the token budget of each step.",
    )
    steps: Literal["mixed", "apart"] = Field(
        default="mixed",
        description="Steps with prompts: mixed, sequences decode along; or apart, they wait until no prompt can start.",
    )
    kv_memory: Literal["reserved", "paged"] = Field(
        default="reserved",
        description="KV memory of a request: reserved for the whole answer before it starts; or paged, taken as it "
        "grows, with pre-emption and recomputing where it runs out.",
    )
    few_budget: Positive | None = Field(
        default=None,
        description="Prompt tokens of a step on accelerators that count as small, where less than the budget.",
    )
    large_budget: Positive | None = Field(
        default=None, description="Prompt tokens of a step on accelerators that count as large, where more."
    )
    large_from_bytes: BytesOrZero = Field(
        default=0.0, alias="large_from", description="Memory from which an accelerator counts as large."
    )
    decode_step_s: Seconds = Field(
        default=0.0, alias="decode_step", description="Scheduling time of a step without prompts."
    )
    prompt_step_s: Seconds = Field(
        default=0.0,
        alias="prompt_step",
        description="Scheduling and launching time of a step with prompts, which no single CUDA graph holds.",
    )
    whole_prompt_step_s: Seconds | None = Field(
        default=None, alias="whole_prompt_step", description="The same where prompts are whole, if other."
    )
    quantised_kv: Precision | None = Field(
        default=None,
        description="KV cache precision where weights have 8 bits or fewer; left out: as the model was released.",
    )
    front_end: FrontEnd = Field(default=FrontEnd(), description="Time beside the steps.")
