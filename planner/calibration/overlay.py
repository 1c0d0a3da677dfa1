"""A fit as a catalog overlay: `runtimes/NAME.yaml`, with where every value comes from."""

from __future__ import annotations

import datetime
import hashlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.calibration.fit import N_DIGITS, Calibration
from planner.calibration.parameters import twins
from planner.catalog.catalog import Catalog
from planner.catalog.loading import Layer, dotted_leaves, merge_layers
from planner.catalog.schema import Efficiency, Runtime
from planner.errors import CatalogError, OutputError

_HEADER = "# Written by `planner calibrate`. Fitted to measurements; see docs/calibration.md.\n"


def overlay_text(
    calibration: Calibration,
    catalog: Catalog,
    name: str,
    date: datetime.date,
    existing: str | None = None,
    *,
    extend: bool = False,
) -> str:
    """The file `runtimes/NAME.yaml` of an overlay.

    Parameters
    ----------
    calibration : Calibration
    catalog : Catalog
        With the base runtime.
    name : str
        The base's own name: the file holds the fitted values only and lies over the base. Another name: it is
        complete, the base with the fitted values in it.
    date : date
        Of the calibration, for the provenance.
    existing : str, optional
        Content of the file, if there is one: values of other accelerators in it stay.
    extend : bool
        The file is part of `catalog`, so that the fit began from it: this accelerator's other values stay too.

    Returns
    -------
    str
        YAML that, laid over `catalog`, gives exactly `calibration.efficiency`.

    Raises
    ------
    OutputError
        `name` is another runtime of the catalog.
    """
    patch = _patch(calibration, catalog)
    stated = _provenance(calibration, patch, date)
    if existing is not None:
        data = _load(existing)
        accelerators = data.setdefault("accelerators", {})
        own = accelerators.get(calibration.accelerator, {}) if extend else {}
        accelerators[calibration.accelerator] = {**own, **patch}
        before = data.setdefault("provenance", {})
        mine = f"accelerators.{calibration.accelerator}"
        for path in [p for p in before if p in stated or (not extend and f"{p}.".startswith(f"{mine}."))]:
            del before[path]
        before.update(stated)
        _state(data, calibration)
        return _dump(data)
    header = {"source": "planner calibrate; provenance says from what each value comes", "kind": "measured"}
    data = {**header, "accelerators": {calibration.accelerator: patch}, "provenance": stated}
    _state(data, calibration)
    if name == calibration.runtime:
        return _HEADER + _dump(data)
    if name in catalog.names(Runtime):
        raise OutputError(
            f"there is a runtime {name!r}", where="--name", fix=f"choose a new name, or fit it: --runtime {name}"
        )
    layers = [*catalog.layers_of(Runtime, calibration.runtime), Layer(Path(f"{name}.yaml"), "", data)]
    merged = merge_layers(layers)
    about = ("source", "kind")
    values = {k: v for k, v in merged.items() if k not in (*about, "provenance", "notes")}
    ordered = {k: merged[k] for k in about} | values
    notes = {"notes": merged["notes"]} if "notes" in merged else {}
    return _HEADER + _dump(ordered | {"provenance": merged["provenance"]} | notes)


def _state(data: dict[str, Any], calibration: Calibration) -> None:
    """Put the errors of the kinds that were measured beside those of other accelerators."""
    if calibration.stated_errors:
        errors = {k: v.model_dump(exclude_none=True) for k, v in calibration.stated_errors.items()}
        data["stated_errors"] = {**data.get("stated_errors", {}), **errors}


def check_overlay(text: str, calibration: Calibration, catalog: Catalog, name: str) -> None:
    """Make sure that a file reads back as exactly what was fitted, before it is put in its place.

    Raises
    ------
    CatalogError
        It does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runtimes" / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        layered = Catalog([*catalog.overlays, folder])
        found = layered.runtime(name).efficiency(layered.accelerator(calibration.accelerator))
    if found != calibration.efficiency:
        names = [n for n in Efficiency.model_fields if getattr(found, n) != getattr(calibration.efficiency, n)]
        raise CatalogError(
            "the overlay would not read back as fitted; nothing was written",
            value=", ".join(names),
            rule="a file already there sets other values of this accelerator",
            fix="write into another folder",
        )


def _patch(calibration: Calibration, catalog: Catalog) -> dict[str, Any]:
    base = catalog.runtime(calibration.runtime).efficiency(catalog.accelerator(calibration.accelerator))
    patch: dict[str, Any] = {}
    for parameter in calibration.parameters:
        if parameter.error is None:
            continue
        head, _, key = parameter.path.partition(".")
        if key:
            table: dict[str, float] = getattr(base, head)
            patch.setdefault(head, {}).update(dict.fromkeys(twins(table, key), parameter.value))
        else:
            patch[head] = _time(parameter.value) if parameter.unit == "s" else parameter.value
    patch["step_time_error"] = f"{calibration.step_time_error * 100:.0f} %"
    return patch


def _time(seconds: float) -> str:
    """A time in microseconds, as `fit` rounds it."""
    return f"{seconds / 1e-6:.{N_DIGITS}g} us"


def _provenance(
    calibration: Calibration, patch: Mapping[str, Any], date: datetime.date
) -> dict[str, Mapping[str, str]]:
    """Where each value comes from. All but one come from the same, which the file says once and then refers to."""
    from ruamel.yaml.comments import CommentedMap

    own = f"accelerators.{calibration.accelerator}"
    errors = "; ".join(
        f"{e.phase} {e.before.mean:.1%} before, {e.after.mean:.1%} after"
        + (f", {e.held_out.mean:.1%} held out" if e.held_out.mean == e.held_out.mean else "")
        for e in calibration.errors
    )
    files = ", ".join(f"{Path(f).name} (sha256 {_digest(f)})" for f in calibration.files)
    kept = [p.path for p in calibration.parameters if p.error is None]
    source = (
        f"planner calibrate, {date.isoformat()}: {calibration.runtime} fitted to {calibration.n_rows} measurements of "
        f"{calibration.machine} in {files}. Mean errors: {errors}"
    )
    if kept:
        source += f". Kept as in {calibration.runtime}: {', '.join(kept)}"
    fitted = CommentedMap(kind="measured", source=source)
    fitted.yaml_set_anchor(calibration.accelerator)
    stated: dict[str, Mapping[str, str]] = {path: fitted for path in dotted_leaves({own: patch})}
    stated[f"{own}.step_time_error"] = {
        "kind": "measured",
        "source": f"largest mean error of a phase with {calibration.held_out_by} held out at a time",
    }
    return stated


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return "unknown"


def _load(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="rt").load(text)
    except YAMLError:
        data = None
    if not isinstance(data, Mapping):
        raise CatalogError("the file there is not of a catalog", fix="remove it, or write into another folder")
    return data  # type: ignore[return-value]


def _dump(data: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()
