"""How one copy of a model lies on the accelerators of a machine, of a part of one, or of several."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from planner.catalog.schema import Precision


class Layout(BaseModel):
    """Parallel degrees and precisions of one replica, and how many replicas share a machine.

    A pipeline of `pipeline_parallel` stages keeps that many batches in flight. Each of them passes through all
    layers, so a replica behaves as that many *lanes*: each with the latency of the whole model and its share
    of the KV memory.

    With attention data parallelism a stage has that many groups of `tensor_parallel` ranks, each with the attention
    weights and the KV cache of its own sequences; experts are spread over the ranks of all groups, which exchange
    tokens. The groups step together, so that a lane is still one batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor_parallel: int = Field(ge=1)
    pipeline_parallel: int = Field(default=1, ge=1)
    expert_parallel: int = Field(default=1, ge=1)
    attention_data_parallel: int = Field(default=1, ge=1)
    replicas: int = Field(default=1, ge=1)
    machines: int = Field(default=1, ge=1)
    precision: Precision
    kv_precision: Precision

    @property
    def accelerators_per_replica(self) -> int:
        """Accelerators that hold one copy of the model."""
        return self.ranks * self.pipeline_parallel

    @property
    def ranks(self) -> int:
        """Accelerators of one pipeline stage, over which experts are spread."""
        return self.tensor_parallel * self.attention_data_parallel

    @property
    def lanes_per_machine(self) -> int:
        """Batches that a machine, or the `machines` of one replica, run side by side."""
        return self.replicas * self.pipeline_parallel

    @property
    def label(self) -> str:
        """Short form for people: `2 x TP4`, `1 x TP4 PP2`, `1 x TP8 EP8`."""
        text = f"{self.replicas} x TP{self.tensor_parallel}"
        if self.attention_data_parallel > 1:
            text += f" DP{self.attention_data_parallel}"
        if self.pipeline_parallel > 1:
            text += f" PP{self.pipeline_parallel}"
        if self.expert_parallel > 1:
            text += f" EP{self.expert_parallel}"
        if self.machines > 1:
            text += f" on {self.machines}"
        return text
