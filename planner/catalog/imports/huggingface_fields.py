"""Typed reading of a Hugging Face config: alias names, nesting, family defaults, and errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.catalog.schema import Provenance
from planner.errors import CatalogError, near_misses

LARGEST_COUNT = 10**9
# Where multimodal configs keep the language model.
NESTED = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True)
class Family:
    """What a model type implies without its config saying so (the defaults of the `transformers` class)."""

    gated: bool
    tied: bool = False
    mlp_ratio: int | None = None  # feed-forward width over hidden size where the config leaves the width out
    windowed_layers: str | int | None = None  # "all", "qwen", or n: every n-th layer is full
    defaults: Mapping[str, object] = field(default_factory=dict)


_LLAMA_LIKE = Family(gated=True)
_WINDOW_ALL = Family(gated=True, windowed_layers="all")
_WINDOW_QWEN = Family(gated=True, windowed_layers="qwen")
_PLAIN_TIED = Family(gated=False, tied=True, mlp_ratio=4)
_GEMMA3 = Family(
    gated=True,
    tied=True,
    windowed_layers=6,
    # Google's gemma-3-4b configs leave these out and rely on the class.
    defaults={
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
    },
)

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("llama", "granite", "granitemoe", "granitemoeshared", "olmo", "olmo2", "olmoe"), _LLAMA_LIKE),
    **dict.fromkeys(("deepseek", "deepseek_v2", "deepseek_v3", "kimi_k2", "minimax_m2"), _LLAMA_LIKE),
    **dict.fromkeys(("glm", "glm4", "glm4_moe", "glm4_moe_lite", "chatglm", "stablelm", "internlm2"), _LLAMA_LIKE),
    **dict.fromkeys(("mistral", "ministral", "mixtral", "phi3", "phimoe"), _WINDOW_ALL),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "mimo"), _WINDOW_QWEN),
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "qwen3_vl_moe_text"), _WINDOW_QWEN),
    **dict.fromkeys(("smollm3", "ernie4_5", "ernie4_5_moe", "cohere", "gemma"), Family(gated=True, tied=True)),
    "cohere2": Family(gated=True, tied=True, windowed_layers=4),
    "gemma2": Family(gated=True, tied=True, windowed_layers=2),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gpt_oss": Family(gated=True, windowed_layers=2),
    "bloom": _PLAIN_TIED,
    "gpt2": _PLAIN_TIED,
    "falcon": Family(gated=False, tied=True, mlp_ratio=4, defaults={"max_position_embeddings": 2048}),
    "RefinedWeb": Family(gated=False, tied=True, mlp_ratio=4, defaults={"max_position_embeddings": 2048}),
    "RefinedWebModel": Family(gated=False, tied=True, mlp_ratio=4, defaults={"max_position_embeddings": 2048}),
    "mpt": _PLAIN_TIED,
    "gpt_bigcode": Family(gated=False, tied=True, mlp_ratio=4, defaults={"multi_query": True}),
    "opt": Family(gated=False, tied=True),
    "starcoder2": Family(gated=False, tied=True, windowed_layers="all"),
    "gptj": Family(gated=False, mlp_ratio=4),
    "codegen": Family(gated=False, mlp_ratio=4),
    "gpt_neox": Family(gated=False),
    "phi": Family(gated=False, mlp_ratio=4),
    "phi-msft": Family(gated=False, mlp_ratio=4),
    "nemotron": Family(gated=False),
    "persimmon": Family(gated=False),
}


class Fields:
    """A config with its language model found, read by alias and by type.

    A field that is null counts as left out. Where a value comes from the family instead of the file, or is
    assumed, `assumed` records it by the catalog's field path.
    """

    def __init__(self, config: Mapping[str, object], where: str) -> None:
        if not isinstance(config, Mapping):
            raise CatalogError(
                "not a model config",
                where=where,
                value=_shown(config),
                rule="config.json holds one JSON object",
                fix="give the config.json of a Hugging Face model repository",
            )
        self.where = where
        self.outer = config
        self.prefix = ""
        self.text: Mapping[str, object] = config
        for key in NESTED:
            nested = config.get(key)
            if nested is None:
                continue
            if not isinstance(nested, Mapping):
                raise self.error(key, "must be an object")
            self.text, self.prefix = nested, key + "."
            break
        self.assumed: dict[str, Provenance] = {}
        self.remarks: list[str] = []
        self.model_type = self.string("model_type", default="")
        self.family = FAMILIES.get(self.model_type)

    @property
    def is_nested(self) -> bool:
        """Whether the language model is one part of a multimodal model."""
        return bool(self.prefix)

    def find(self, *names: str) -> tuple[str, object]:
        """Return the first of `names` that is given, with its value; (first name, None) when none is.

        Raises CatalogError when several are given and disagree.
        """
        given = [(n, self.text[n]) for n in names if self.text.get(n) is not None]
        if not given:
            defaults = self.family.defaults if hasattr(self, "family") and self.family else {}
            return next(((n, defaults[n]) for n in names if n in defaults), (names[0], None))
        for other, value in given[1:]:
            if value != given[0][1]:
                raise CatalogError(
                    f"{self.prefix}{given[0][0]} and {self.prefix}{other} disagree",
                    where=self.where,
                    value=f"{_shown(given[0][1])} and {_shown(value)}",
                    rule="they are two names of one quantity",
                    fix="remove the one that is wrong",
                )
        return given[0]

    def integer(self, *names: str, minimum: int = 1) -> int:
        """Return a count that must be given."""
        found = self.optional_integer(*names, minimum=minimum)
        if found is None:
            raise self.missing(*names)
        return found

    def optional_integer(self, *names: str, minimum: int = 0) -> int | None:
        """Return a count, or None when left out or null."""
        name, value = self.find(*names)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, "must be a whole number")
        if not minimum <= value <= LARGEST_COUNT:
            raise self.error(name, f"must be between {minimum} and {LARGEST_COUNT}")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return a flag."""
        _, value = self.find(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def string(self, *names: str, default: str) -> str:
        """Return a text."""
        name, value = self.find(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(name, "must be a string")
        return value

    def layer_list(self, name: str, n_layers: int) -> list[object] | None:
        """Return a list with one entry a layer, or None when left out or null."""
        value = self.text.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(name, "must be a list")
        if len(value) != n_layers:
            raise self.error(name, f"must have one entry for each of the {n_layers} layers, has {len(value)}")
        return value

    def integer_list(self, name: str) -> list[int]:
        """Return a list of layer numbers, empty when left out."""
        value = self.text.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            raise self.error(name, "must be a list of whole numbers")
        return list(value)

    def assume(self, path: str, source: str, *, family_default: bool = False) -> None:
        """Record that the catalog field `path` is not from the file."""
        self.assumed[path] = Provenance(source=source, kind="datasheet" if family_default else "estimate")

    def error(self, name: str, rule: str, *, fix: str | None = None) -> CatalogError:
        """Build the error for one field of the config."""
        value = self.text.get(name, self.outer.get(name))
        return CatalogError(
            f"cannot use {self.prefix}{name}", where=self.where, value=_shown(value), rule=f"{name} {rule}", fix=fix
        )

    def missing(self, *names: str) -> CatalogError:
        """Build the error for a quantity that the config does not give."""
        other = f" (or {', '.join(names[1:])})" if names[1:] else ""
        return CatalogError(
            f"{self.prefix}{names[0]} is missing",
            where=self.where,
            rule=f"the architecture needs {names[0]}{other}",
            fix="add it to the file, or give the complete config.json of the model repository",
            suggestions=near_misses(names[0], [str(k) for k in self.text], n=2),
        )

    def refuse(self, name: str, why: str) -> CatalogError:
        """Build the error for an architecture that the catalog cannot describe."""
        value = self.text.get(name, self.outer.get(name))
        label = f"{self.prefix}{name}" if name in self.text else name
        return CatalogError(
            f"{label}: {why}",
            where=self.where,
            value=f"{name} = {_shown(value)}",
            rule="only MHA, GQA, MQA, MLA and sliding-window attention with dense or expert layers can be planned",
            fix="choose another model; this one would be planned wrongly",
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
