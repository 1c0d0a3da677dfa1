"""What `planner deploy` makes: a bundle of files that run a plan."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.planning.certificate import Result
from planner.studies.head import Study

Target = Literal["vllm", "sglang", "trtllm", "dynamo", "llm-d", "kserve"]
TARGETS: tuple[Target, ...] = ("vllm", "sglang", "trtllm", "dynamo", "llm-d", "kserve")
DEPLOYMENT_SCHEMA_VERSION = "1.0"


class DeployedPool(Result):
    """The servers of one pool."""

    name: str = Field(description="Name in the manifests.")
    role: Literal["prefill", "decode", "mixed"]
    machine: str
    machines: int = Field(description="Machines that carry the load.")
    replicas: int = Field(description="Copies of the model.")
    nodes_per_replica: int = Field(description="Nodes that a replica spans.")
    command: list[str] = Field(description="Words that start one server.")
    options: dict[str, Any] = Field(description="File of options of a server; empty where the command says all.")


class Deployment(Study):
    """Files that run a plan on a target."""

    schema_version: str = DEPLOYMENT_SCHEMA_VERSION
    target: Target
    version: str = Field(description="Version of the target that the files are for.")
    source: str = Field(description="Source of its flags, and the date.")
    pools: list[DeployedPool]
    files: dict[str, str] = Field(description="Path in the bundle -> text.")
    notes: list[str] = Field(description="Notes on what the target cannot be told, or must be done by hand.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a pool: rows for a spreadsheet."""
        return [
            {"target": self.target, "version": self.version}
            | pool.model_dump(exclude={"command", "options"})
            | {"command": " ".join(pool.command)}
            for pool in self.pools
        ]
