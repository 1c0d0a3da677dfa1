"""Typed reading of a Hugging Face config: alias names, nesting, family defaults, and errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping

from planner.catalog.entry import Provenance
from planner.catalog.imports.families import Family, family_of
from planner.errors import CatalogError, near_misses

LARGEST_COUNT = 10**9
NEXT_TOKEN_LAYERS = ("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", "num_mtp_layers")
# Where multimodal configs keep the language model.
NESTED = ("text_config", "llm_config", "language_config", "thinker_config")


class ConfigFields:
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
            self.text, self.prefix = nested, self.prefix + key + "."
            break
        if isinstance(inner := self.text.get("text_config"), Mapping):  # omni models: thinker_config.text_config
            self.text, self.prefix = inner, self.prefix + "text_config."
        self.assumed: dict[str, Provenance] = {}
        self.remarks: list[str] = []
        self.from_class: set[str] = set()
        self.family: Family | None = None
        self.model_type = self.string("model_type", default="")
        outer_type = config.get("model_type")
        if not self.model_type and isinstance(outer_type, str):
            self.model_type = outer_type
        self.family = family_of(self.model_type)

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
            return self._default(names)
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

    def _default(self, names: tuple[str, ...]) -> tuple[str, object]:
        """Return what the model's class takes for a field that the config leaves out; None where it is null."""
        family = self.family
        if family is None or any(name in self.text for name in names):
            return names[0], None
        for name in names:
            if name in family.defaults:
                return name, family.defaults[name]
        # A config of several modalities saves of its language model only what differs from the class.
        if self.is_nested:
            for name in names:
                if name in family.class_defaults:
                    self.from_class.add(name)
                    return name, family.class_defaults[name]
        return names[0], None

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
        """Return a list with one entry a layer, or None when left out or null.

        Entries beyond the layers are those of multi-token-prediction heads.
        """
        value = self.text.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(name, "must be a list")
        n_heads = len(value) - n_layers
        if n_heads < 0 or (n_heads > 0 and n_heads > self.n_draft_layers()):
            raise self.error(name, f"must have one entry for each of the {n_layers} layers, has {len(value)}")
        return value[:n_layers]

    def n_draft_layers(self) -> int:
        """Return the layers of the multi-token-prediction head, 0 without."""
        return max((self.optional_integer(name) or 0 for name in NEXT_TOKEN_LAYERS), default=0)

    def numbers(self, name: str, n_layers: int) -> list[int] | None:
        """Return a count for each layer: from a list, or one number for all; None when left out or null."""
        value = self.text.get(name)
        if not isinstance(value, list):
            one = self.optional_integer(name)
            return None if one is None else [one] * n_layers
        found = self.layer_list(name, n_layers) or []
        if not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= LARGEST_COUNT for v in found):
            raise self.error(name, "must be a list of whole numbers")
        return found  # type: ignore[return-value]

    def numbers_listed(self, name: str, n_layers: int) -> list[int] | None:
        """Return a count for each layer, None where the field is not a list."""
        return self.numbers(name, n_layers) if isinstance(self.text.get(name), list) else None

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
            rule="only kinds of layers that the catalog describes can be planned",
            fix="choose another model; this one would be planned wrongly",
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
