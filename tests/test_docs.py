"""The documentation: its links lead somewhere, its YAML is a catalog that works, its tables name what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from planner import units
from planner.catalog.catalog import Catalog
from planner.catalog.lint import lint
from planner.catalog.schema import BY_FOLDER, SourceKind
from planner.workload.objectives import ALIASES, METRICS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "examples" / "README.md"])
CATALOG = (ROOT / "docs" / "catalog.md").read_text(encoding="utf-8")
NOMENCLATURE = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")


def _links() -> list[tuple[Path, str]]:
    links = (
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
    )
    return sorted(set(links))


@pytest.mark.parametrize(("page", "target"), [pytest.param(p, t, id=f"{p.name}->{t}") for p, t in _links()])
def test_links_lead_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists()
    if anchor:
        titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_equations_are_numbered_in_order_and_referred_to_by_numbers_that_exist() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    defined = [(int(a), int(b)) for a, b in re.findall(r"^    .*\((\d+)\.(\d+)\)$", text, re.MULTILINE)]
    assert len(defined) > 20
    assert defined == sorted(set(defined))
    assert {(int(a), int(b)) for a, b in re.findall(r"\(([1-9]\d?)\.(\d+)\)", text)} == set(defined)


def test_modules_that_pages_name_exist() -> None:
    named = {
        (p, m)
        for p in PAGES
        for m in re.findall(r"`((?:planner|tests|benchmarks)/[\w/]+\.py|planner/\w+/)`", p.read_text())
    }
    assert len(named) >= 20
    assert [f"{page.name}: {module}" for page, module in sorted(named) if not (ROOT / module).exists()] == []


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["README.md"]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All YAML of docs/catalog.md as one overlay."""
    folder = tmp_path_factory.mktemp("overlay")
    files = re.findall(r"`([\w./-]+\.yaml)`:\n\n```yaml\n(.*?)^```$", CATALOG, re.MULTILINE | re.DOTALL)
    assert len(files) == len(re.findall(r"^```yaml$", CATALOG, re.MULTILINE)) >= 6
    for name, text in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_yaml_of_the_catalog_page_has_no_errors(overlay: Path) -> None:
    assert [f for f in lint(Catalog([overlay])) if f.severity == "error"] == []


def test_the_machine_of_the_catalog_page_can_be_planned_with(overlay: Path, shell: Any) -> None:
    done = shell(
        "planner optimize --slo ttft=1s --machine our-8x-h100 --workload our-assistant --rate 20/s --catalog .",
        cwd=overlay,
    )
    assert "our-8x-h100" in done.stdout
    assert "our-provider" in done.stdout


def test_the_catalog_page_names_all_kinds() -> None:
    for folder in BY_FOLDER:
        assert f"`{folder}/`" in CATALOG
    for kind in SourceKind.__args__:
        assert f"| `{kind}` |" in CATALOG


def test_the_nomenclature_has_every_unit_suffix_that_the_code_uses() -> None:
    """Suffixes of the fields of everything that users see, against the table."""
    from planner.catalog import schema
    from planner.planning.plan import Plan, PoolPlan
    from planner.scenario.scenario import Scenario
    from planner.studies.estimate import Estimate

    models = [
        Plan,
        PoolPlan,
        Scenario,
        Estimate,
        *schema.ENTRY_TYPES,
        schema.Efficiency,
        schema.ScaleUp,
        schema.Network,
    ]
    fields = {name for model in models for name in model.model_fields}
    listed = re.findall(r"^\| `(_\w+)` \|", NOMENCLATURE, re.MULTILINE)
    ends = sorted(
        {m[0] for f in fields if (m := re.search(r"_(bytes_per_s|flop_per_s|usd_per_\w+|per_s|bytes|s|w)$", f))}
    )
    assert [end for end in ends if end not in listed] == []


def test_the_nomenclature_has_every_metric_and_dimension() -> None:
    words = NOMENCLATURE.casefold()
    for word in (*METRICS, *ALIASES, *(d.name for d in units.DIMENSIONS)):
        assert word in words, word
