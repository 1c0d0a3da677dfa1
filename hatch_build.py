"""Compile the core of the simulator while a wheel is built; without a compiler the package does without it.

A C compiler of the machine is used if there is one, else that of the wheel `ziglang`, which pip brings for the build
alone. Arithmetic is strict IEEE 754 without fused operations, so that every compiler gives the same bytes, which are
those of the Python engine. PLANNER_NO_CORE=1 leaves the core out.

    python hatch_build.py        compiles it in place, for who runs the sources
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object  # type: ignore[assignment,misc]

SOURCE = Path("planner/simulation/core.c")
LIBRARY = SOURCE.with_name("_core.dll" if sys.platform == "win32" else "_core.so")
FLAGS = ["-O3", "-std=c99", "-ffp-contract=off", "-fno-fast-math", "-shared"]
COMPILERS = ("cc", "gcc", "clang")
# Machines that ziglang has a wheel for.
ZIG_MACHINES = ("x86_64", "amd64", "arm64", "aarch64")


def system_compiler() -> list[str] | None:
    """The C compiler of this machine, that of $CC first."""
    named = os.environ.get("CC", "").split()
    if named and shutil.which(named[0]):
        return named
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    return [found] if found else None


def compiled(root: Path, target: Path) -> Path | None:
    """Compile the core to a file; None where no compiler works."""
    compilers = [c for c in (system_compiler(), _zig()) if c]
    position = [] if sys.platform == "win32" else ["-fPIC"]
    for compiler in compilers:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / LIBRARY.name
            command = [*compiler, *FLAGS, *position, "-o", str(made), str(root / SOURCE)]
            libraries = [] if sys.platform == "win32" else ["-lm"]
            environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
            try:
                done = subprocess.run([*command, *libraries], capture_output=True, text=True, env=environment)
            except OSError:
                continue
            if done.returncode == 0 and made.is_file():
                shutil.copyfile(made, target)
                return target
            print(f"{compiler[0]} could not compile {SOURCE}: {done.stderr.strip()[-500:]}", file=sys.stderr)
    return None


def _zig() -> list[str] | None:
    return [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else None


class CoreHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled core to a wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What pip brings for the build: a compiler, where this machine has none."""
        if self.target_name != "wheel" or os.environ.get("PLANNER_NO_CORE") or system_compiler():
            return []
        return ["ziglang>=0.13"] if platform.machine().lower() in ZIG_MACHINES else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one for this platform."""
        if self.target_name != "wheel" or os.environ.get("PLANNER_NO_CORE"):
            return
        in_place = Path(self.root) / LIBRARY
        if version == "editable":
            library = compiled(Path(self.root), in_place)
        else:
            self._folder = tempfile.TemporaryDirectory()  # until `finalize`
            library = compiled(Path(self.root), Path(self._folder.name) / LIBRARY.name)
        if library is None:
            print("no C compiler: the simulator will run in Python, many times slower", file=sys.stderr)
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(library)] = LIBRARY.as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clean up."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    raise SystemExit(0 if compiled(here, here / LIBRARY) else "no C compiler works")
