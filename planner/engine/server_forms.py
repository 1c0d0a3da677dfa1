"""How each serving engine is told its settings: dated tables of flags, read in both directions.

A table says with which words a field of `ServerSettings` is set. What writes a command and what reads one go through
the same rows, so that a deployment says what was planned and can be read back.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Engine = Literal["vllm", "sglang", "trtllm"]
Role = Literal["mixed", "prefill", "decode"]


@dataclass(frozen=True)
class ServerSettings:
    """What one server of a pool is started with.

    Attributes
    ----------
    model : str
        As the engine downloads it.
    role : str
        `mixed`, `prefill` or `decode`.
    tensor_parallel, pipeline_parallel, data_parallel, expert_parallel : int
        Degrees; `data_parallel` is of attention, in groups that share the experts.
    max_sequences, max_tokens : int
        Most sequences, and most tokens a step, of one group.
    chunked, prefix_cache : bool
        Whether prompts are computed in chunks, and whether prefixes are kept.
    memory_fraction : float
        What the engine calls so: of all memory (vLLM), of all memory for weights and KV cache (SGLang), or of what is
        free beside the weights for KV cache (TensorRT-LLM).
    kv_precision : str
        Of the KV cache; `auto` as the model was released.
    quantization : str
        That the engine brings the weights to; `none`: as the checkpoint has them.
    max_length : int
        Longest request [tokens].
    """

    model: str
    role: Role
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    expert_parallel: int
    max_sequences: int
    max_tokens: int
    chunked: bool
    prefix_cache: bool
    memory_fraction: float
    kv_precision: str
    quantization: str
    max_length: int

    @property
    def ranks(self) -> int:
        """Accelerators of one pipeline stage."""
        return self.tensor_parallel * self.data_parallel


@dataclass(frozen=True)
class Flag:
    """One row of a table: a field, and what says it.

    Attributes
    ----------
    field : str
        Of `ServerSettings`.
    name : str
        The flag, or the path in the engine's YAML options with dots.
    kind : str
        `value`: the flag takes it; `on`: there or not; `switch`: `name` or `off`.
    off : str
        Of a switch, the flag that says no.
    of : str
        What the number counts: `group`, or `all` groups of attention together.
    words : mapping
        Value of the field -> what the engine calls it; left out, the same.
    is_default : object
        Value at which nothing is said.
    """

    field: str
    name: str
    kind: Literal["value", "on", "switch"] = "value"
    off: str = ""
    of: Literal["group", "all"] = "group"
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default: object = None


@dataclass(frozen=True)
class Form:
    """An engine's table.

    Attributes
    ----------
    engine, version : str
    date : date
        When the table was looked up.
    source : str
    image : str
        Container that has this version.
    launch : tuple of str
        Words that start the server.
    model_flag : str
        Flag of the model; empty where it is the first word.
    flags : tuple of Flag
    options_flag : str
        Flag of the file of options, where `flags` are paths in it; empty where they are words of the command.
    roles : mapping of str to tuple of str
        Words that make a server one of a phase.
    router : str
        Project that sends requests to servers of both phases.
    """

    engine: Engine
    version: str
    date: datetime.date
    source: str
    image: str
    launch: tuple[str, ...]
    model_flag: str
    flags: tuple[Flag, ...]
    roles: Mapping[str, tuple[str, ...]]
    options_flag: str = ""
    router: str = ""


_LOOKED_UP = datetime.date(2026, 12, 1)
_FP8_KV = {"auto": "auto", "fp8": "fp8"}
_NIXL = '{"kv_connector":"NixlConnector","kv_role":"%s"}'

FORMS: Mapping[Engine, Form] = {
    "vllm": Form(
        engine="vllm",
        version="0.24.0",
        date=_LOOKED_UP,
        source="docs.vllm.ai Engine Arguments; NixlConnector usage guide; vllm/engine/arg_utils.py",
        image="vllm/vllm-openai:v0.24.0",
        launch=("vllm", "serve"),
        model_flag="",
        flags=(
            Flag("tensor_parallel", "--tensor-parallel-size", default=1),
            Flag("pipeline_parallel", "--pipeline-parallel-size", default=1),
            Flag("data_parallel", "--data-parallel-size", default=1),
            Flag("expert_parallel", "--enable-expert-parallel", kind="on"),
            Flag("max_sequences", "--max-num-seqs"),
            Flag("max_tokens", "--max-num-batched-tokens"),
            Flag("chunked", "--enable-chunked-prefill", kind="switch", off="--no-enable-chunked-prefill"),
            Flag("prefix_cache", "--enable-prefix-caching", kind="switch", off="--no-enable-prefix-caching"),
            Flag("memory_fraction", "--gpu-memory-utilization"),
            Flag("kv_precision", "--kv-cache-dtype", words=_FP8_KV),
            Flag("quantization", "--quantization", words={"fp8": "fp8"}, default="none"),
            Flag("max_length", "--max-model-len"),
        ),
        roles={
            "mixed": (),
            "prefill": ("--kv-transfer-config", _NIXL % "kv_producer"),
            "decode": ("--kv-transfer-config", _NIXL % "kv_consumer"),
        },
        router="vllm-project/router, or the toy proxy of vLLM's NixlConnector guide",
    ),
    "sglang": Form(
        engine="sglang",
        version="0.5",
        date=_LOOKED_UP,
        source="docs.sglang.io Server Arguments; PD Disaggregation; sglang/srt/server_args.py",
        image="lmsysorg/sglang:v0.5.5",
        launch=("python3", "-m", "sglang.launch_server"),
        model_flag="--model-path",
        flags=(
            Flag("tensor_parallel", "--tp-size", of="all", default=1),
            Flag("pipeline_parallel", "--pp-size", default=1),
            Flag("data_parallel", "--dp-size", default=1),
            Flag("expert_parallel", "--ep-size", default=1),
            Flag("max_sequences", "--max-running-requests", of="all"),
            Flag("max_tokens", "--chunked-prefill-size", of="all"),
            Flag("prefix_cache", "", kind="switch", off="--disable-radix-cache"),
            Flag("memory_fraction", "--mem-fraction-static"),
            Flag("kv_precision", "--kv-cache-dtype", words={"auto": "auto", "fp8": "fp8_e4m3"}),
            Flag("quantization", "--quantization", words={"fp8": "fp8"}, default="none"),
            Flag("max_length", "--context-length"),
        ),
        roles={
            "mixed": (),
            "prefill": ("--disaggregation-mode", "prefill", "--disaggregation-transfer-backend", "nixl"),
            "decode": ("--disaggregation-mode", "decode", "--disaggregation-transfer-backend", "nixl"),
        },
        router="sglang-router (sgl-model-gateway)",
    ),
    "trtllm": Form(
        engine="trtllm",
        version="1.3",
        date=_LOOKED_UP,
        source="nvidia.github.io/TensorRT-LLM trtllm-serve; LLM API reference (TorchLlmArgs); disaggregated serving",
        image="nvcr.io/nvidia/tensorrt-llm/release:1.3.0",
        launch=("trtllm-serve",),
        model_flag="",
        options_flag="--extra_llm_api_options",
        flags=(
            Flag("tensor_parallel", "tensor_parallel_size", of="all"),
            Flag("pipeline_parallel", "pipeline_parallel_size"),
            Flag("data_parallel", "enable_attention_dp", kind="on"),
            Flag("expert_parallel", "moe_expert_parallel_size"),
            Flag("max_sequences", "max_batch_size"),
            Flag("max_tokens", "max_num_tokens"),
            Flag("chunked", "enable_chunked_prefill"),
            Flag("prefix_cache", "kv_cache_config.enable_block_reuse"),
            Flag("memory_fraction", "kv_cache_config.free_gpu_memory_fraction"),
            Flag("kv_precision", "kv_cache_config.dtype", words=_FP8_KV),
            Flag("max_length", "max_seq_len"),
        ),
        roles={
            "mixed": (),
            "prefill": ("--server_role", "CONTEXT"),
            "decode": ("--server_role", "GENERATION"),
        },
        router="trtllm-serve disaggregated",
    ),
}  # fmt: skip

CACHE_TRANSCEIVER: Mapping[str, Any] = {"backend": "NIXL"}  # of TensorRT-LLM's servers of one phase
