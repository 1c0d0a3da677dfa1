"""What a model type implies without its config saying so: the defaults of the `transformers` configuration classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

# families.json holds the defaults of these configuration classes, read off once: no script here writes it.
CLASSES = "transformers 5.24.0"


@dataclass(frozen=True)
class Family:
    """What a model type implies.

    Attributes
    ----------
    gated : bool
        Whether feed-forward blocks have three matrices.
    tied : bool
        Whether the LM head is the embedding table where the config does not say.
    mlp_ratio : int or None
        Feed-forward width over hidden size where the config leaves the width out.
    others : str
        What layers are that are not full attention, where nothing else says: sliding, linear, mamba, conv, chunked.
    full_every : int or str or None
        Every n-th layer is full; "none": no layer; "qwen": the first `max_window_layers`; None: all of them.
    gate : str
        Output gate of attention: "", "full" (a column for each value), "head" (one for each head), or both said
        by a field.
    defaults : mapping
        Fields that even complete configs of the type leave to the class.
    class_defaults : mapping
        Fields of the class, for a language model inside a config of several modalities.
    """

    gated: bool
    tied: bool = False
    mlp_ratio: int | None = None
    others: str = "sliding"
    full_every: int | str | None = None
    gate: str = ""
    defaults: Mapping[str, object] = field(default_factory=dict)
    class_defaults: Mapping[str, object] = field(default_factory=dict)


_GATED = Family(gated=True)
_WINDOW_ALL = Family(gated=True, full_every="none")
_WINDOW_QWEN = Family(gated=True, full_every="qwen")
_PLAIN_TIED = Family(gated=False, tied=True, mlp_ratio=4)
_FALCON = Family(gated=False, tied=True, mlp_ratio=4, defaults={"max_position_embeddings": 2048})
_DELTA = Family(gated=True, others="linear", full_every=4, gate="full")
_GEMMA3 = Family(
    gated=True,
    tied=True,
    full_every=6,
    # Google's gemma-3-4b configs leave these out and rely on the class.
    defaults={
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
    },
)
_HYBRID_MAMBA = Family(gated=True, others="mamba", full_every="none")

# What the classes do beyond their fields' defaults, and types that they do not know (remote code).
_SPECIAL: dict[str, Family] = {
    **dict.fromkeys(("mistral", "ministral", "mixtral", "phi3", "phimoe"), _WINDOW_ALL),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "mimo"), _WINDOW_QWEN),
    **dict.fromkeys(
        ("qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "qwen3_vl_moe_text"),
        _WINDOW_QWEN,
    ),
    **dict.fromkeys(("qwen2_5_omni_text", "qwen3_omni_moe_text", "qwen2_audio_text"), _WINDOW_QWEN),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe"), _DELTA),
    "olmo_hybrid": replace(_DELTA, gate=""),
    **dict.fromkeys(("deepseek", "kimi_k2", "kimi_k25", "deepseek_vl_v2", "xverse", "yi", "minicpm"), _GATED),
    **dict.fromkeys(("chatglm", "internlm", "internlm2", "baichuan", "aquila", "orion", "skywork"), _GATED),
    **dict.fromkeys(("hunyuan", "hunyuan_v1_dense", "hunyuan_v1_moe", "dots1", "step3_text", "arctic"), _GATED),
    **dict.fromkeys(("nemotron-nas", "deci", "grok-1", "grok", "git", "telechat", "pangu_pro_moe"), _GATED),
    **dict.fromkeys(
        ("bailing_moe", "bailing_moe_v2", "bailing_moe_v2_5", "llada", "mimo_v2", "gpt_oss_puzzle"), _GATED
    ),
    **dict.fromkeys(("solar", "minicpm4", "openpangu", "kormo", "sdar", "sdar_moe", "iquestcoder"), _GATED),
    "bailing_moe_linear": Family(gated=True, others="linear"),
    **dict.fromkeys(("step3p5", "step3p7"), Family(gated=True, gate="head")),
    "kimi_linear": Family(gated=True, others="linear"),
    "minimax_m3": _GATED,
    "minimax_m1": Family(gated=True, others="linear"),
    "minimax": Family(gated=True, others="linear", full_every=2),
    "minimax_text_01": Family(gated=True, others="linear"),
    "cohere2": Family(gated=True, tied=True, full_every=4),
    "gemma2": Family(gated=True, tied=True, full_every=2),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gemma3n_text": Family(gated=True, tied=True, full_every=5),
    "gemma4_text": Family(gated=True, tied=True, full_every=6, defaults={"global_head_dim": 512}),
    "gpt_oss": Family(gated=True, full_every=2),
    "olmo3": Family(gated=True, full_every=4),
    "afmoe": Family(gated=True, full_every=4, gate="full"),
    **dict.fromkeys(("beam", "hy_v4"), Family(gated=True, gate="full")),
    **dict.fromkeys(("gpt_neo", "gpt_neox_japanese"), Family(gated=False, tied=True, mlp_ratio=4)),
    "bailing_hybrid": Family(gated=True, others="linear", gate="head"),
    "llama4_text": Family(gated=True, others="chunked"),
    "lfm2": Family(gated=True, tied=True, others="conv"),
    "lfm2_moe": Family(gated=True, tied=True, others="conv"),
    **dict.fromkeys(("bamba", "jamba", "granitemoehybrid"), _HYBRID_MAMBA),
    "nemotron_h": Family(gated=False, others="mamba"),
    "bloom": _PLAIN_TIED,
    "gpt2": _PLAIN_TIED,
    **dict.fromkeys(("falcon", "RefinedWeb", "RefinedWebModel"), _FALCON),
    "mpt": _PLAIN_TIED,
    "gpt_bigcode": Family(gated=False, tied=True, mlp_ratio=4, defaults={"multi_query": True}),
    "opt": Family(gated=False, tied=True),
    "starcoder2": Family(gated=False, tied=True, full_every="none"),
    "gptj": Family(gated=False, mlp_ratio=4),
    "codegen": Family(gated=False, mlp_ratio=4),
    **dict.fromkeys(("phi", "phi-msft"), Family(gated=False, mlp_ratio=4)),
    "nemotron": Family(gated=False),
    "dbrx": _GATED,
}


def family_of(model_type: str) -> Family | None:
    """Return what a model type implies, None where neither the classes nor this module know it."""
    known = _classes().get(model_type)
    special = _SPECIAL.get(model_type)
    if special is None and known is None:
        return None
    if known is None:
        return special
    base = special or Family(gated=known["gated"], tied=known["tied"])
    if base.full_every is None and "full_every" in known:
        base = replace(base, full_every=known["full_every"], others=known["others"])
    return replace(base, class_defaults=known["defaults"])


@cache
def _classes() -> dict[str, Any]:
    text = Path(__file__).with_name("families.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]
