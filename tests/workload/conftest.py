"""What the tests of the workload room share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of the recorded traces, or skip: they are not part of the repository."""
    if not (DATA / "azure_2023_code.csv").exists():
        pytest.skip(f"the recorded traces are not in {DATA}")
    return DATA
