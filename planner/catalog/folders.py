"""Folders of a catalog: those that ship with planner, those of an overlay, and what lies in them unread."""

from __future__ import annotations

import os
from pathlib import Path

from planner.catalog.schema import (
    BY_FOLDER,
)
from planner.catalog.validation import joined
from planner.errors import CatalogError, near_misses

# Folders a catalog may have beside its kinds: what editors check files with.
_OTHER_FOLDERS = ("schema",)
_PACKAGE = Path(__file__).resolve().parent.parent
_HARDWARE = tuple(folder for folder in BY_FOLDER if folder not in ("models", "workloads"))


def builtin_folders() -> dict[str, Path]:
    """Return the folder of each kind that ships with planner: in the wheel, or in the source tree."""
    packed = _PACKAGE / "hardware_catalog"
    hardware = packed if os.path.isdir(packed) else _PACKAGE.parent / "hardware_catalog"
    if not os.path.isdir(hardware):
        raise CatalogError("the built-in hardware catalog is missing", where=str(hardware), fix="install planner again")
    other = _PACKAGE / "catalog" / "builtin"
    return {folder: (hardware if folder in _HARDWARE else other) / folder for folder in BY_FOLDER}


def yaml_files(folder: Path | None) -> dict[str, Path]:
    """Files of a folder by the name of what each describes; none where there is no folder."""
    if folder is None:
        return {}
    try:
        with os.scandir(folder) as items:
            names = [item.name for item in items if item.name.endswith(".yaml") and not item.name.startswith(".")]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CatalogError(f"cannot read the folder: {error.strerror}", where=str(folder)) from None
    return {name.removesuffix(".yaml"): folder / name for name in names}


def is_begun(overlay: Path) -> bool:
    """Whether there is something that could be an overlay: a folder with files, or what is no folder at all."""
    if not os.path.exists(overlay):
        return False
    return not os.path.isdir(overlay) or bool(os.listdir(overlay))


def overlay_folders(overlay: Path) -> tuple[dict[str, Path], list[CatalogError]]:
    """Return the folders of an overlay, and what lies in it where it would never be read."""
    known = ", ".join(f"{folder}/" for folder in BY_FOLDER)
    if not os.path.isdir(overlay):
        what = "a catalog must be a folder" if os.path.exists(overlay) else "this catalog folder does not exist"
        raise CatalogError(what, where=str(overlay), fix=f"`planner catalog init {overlay}` makes a new one")
    found: dict[str, Path] = {}
    strays: list[CatalogError] = []
    for item in _visible(overlay):
        if os.path.isdir(item):
            if item.name in BY_FOLDER:
                found[item.name] = item
            elif item.name not in _OTHER_FOLDERS:
                strays.append(
                    CatalogError(
                        f"unknown folder {item.name!r} in a catalog: nothing in it is read",
                        where=str(item),
                        suggestions=near_misses(item.name, BY_FOLDER),
                        fix=f"known: {known}",
                    )
                )
        elif item.suffix in (".yaml", ".yml"):
            strays.append(
                CatalogError(
                    "this file lies outside the folders of a catalog, so its kind is unknown and it is not read",
                    where=str(item),
                    fix=f"move it into one of {known}",
                )
            )
    if not found:
        if strays:
            raise joined(strays)
        there = ", ".join(sorted(item.name for item in _visible(overlay))) or "nothing"
        raise CatalogError(
            f"no catalog folder found here, only {there}" if there != "nothing" else "this catalog folder is empty",
            where=str(overlay),
            fix=f"a catalog has one or more of {known}; `planner catalog init` makes one",
        )
    for folder in found.values():
        for item in _visible(folder):
            what, fix = _not_read(item)
            if what:
                strays.append(CatalogError(what, where=str(item), fix=fix))
    return found, strays


def _not_read(item: Path) -> tuple[str, str]:
    """Why a file or folder inside a folder of a kind is not read, and what to do; nothing where it is."""
    if os.path.isdir(item):
        return "folders inside a kind are not read", f"move its files up into {item.parent}"
    if item.suffix == ".yml":
        return "catalog files end in .yaml, so it is not read", f"rename it to {item.stem}.yaml"
    return "", ""


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(item for item in folder.iterdir() if not item.name.startswith((".", "_")))
    except OSError as error:
        raise CatalogError(f"cannot read the folder: {error.strerror}", where=str(folder)) from None
