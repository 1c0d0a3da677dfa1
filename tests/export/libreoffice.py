"""LibreOffice without a screen: opens workbooks, computes every formula anew, and saves them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Without this, LibreOffice keeps the values that a file brings.
_ALWAYS_RECALCULATE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item>
</oor:items>
"""  # noqa: E501


def program() -> str | None:
    """The program, or None where LibreOffice is not installed."""
    return shutil.which("soffice") or shutil.which("libreoffice")


def recalculated(workbooks: Sequence[Path], folder: Path) -> list[Path]:
    """Return copies of workbooks with every formula computed anew, made in `folder`."""
    user = folder / "profile" / "user"
    user.mkdir(parents=True)
    (user / "registrymodifications.xcu").write_text(_ALWAYS_RECALCULATE, encoding="utf-8")
    out = folder / "recalculated"
    done = subprocess.run(
        [
            str(program()), "--headless", f"-env:UserInstallation=file://{folder / 'profile'}",
            "--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(out), *map(str, workbooks),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    copies = [out / workbook.name for workbook in workbooks]
    assert all(copy.exists() for copy in copies), done.stdout + done.stderr
    return copies
