"""What every catalog file has: strict frozen models, a source and a kind for each value."""

from __future__ import annotations

import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

SourceKind = Literal["datasheet", "listed", "measured", "quote", "estimate", "derived"]


class CatalogModel(BaseModel):
    """Frozen, strict about unknown fields, filled by the names that YAML uses."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, defer_build=True)


class Provenance(CatalogModel):
    """Where a value comes from and what kind of value that makes it."""

    source: str = Field(min_length=3)
    kind: SourceKind
    date: datetime.date | None = Field(default=None, description="Day on which the value held, if not the file's.")


class Entry(CatalogModel):
    """What every catalog file has."""

    folder: ClassVar[str]

    name: str
    source: str = Field(min_length=3, description="Place where the values of this file come from.")
    kind: SourceKind = Field(description="Kind of that source.")
    provenance: dict[str, Provenance] = Field(default={}, description="Sources that override it, by dotted field path.")
    notes: str | None = None

    def provenance_of(self, path: str) -> Provenance:
        """Return the provenance of one field, by the dotted path that YAML uses (`peak.fp8`)."""
        parts = path.split(".")
        for n in range(len(parts), 0, -1):
            found = self.provenance.get(".".join(parts[:n]))
            if found:
                return found
        return Provenance(source=self.source, kind=self.kind)
