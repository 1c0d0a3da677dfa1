"""`planner catalog ...`, through its sub-app."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.catalog.catalog import ENVIRONMENT_VARIABLE, Catalog
from planner.catalog.schema import Accelerator
from planner.cli.catalog import app
from planner.errors import CatalogError, InputError, OutputError, UnknownNameError

HEAD = "source: my notes\nkind: estimate\n"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256,
    "max_position_embeddings": 131072, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "hidden_act": "silu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "mycat"
    (folder / "accelerators").mkdir(parents=True)
    (folder / "accelerators" / "h100-sxm.yaml").write_text(HEAD + "memory_bandwidth: 4 TB/s\n")
    return folder


def run(*arguments: object, exit_code: int = 0) -> Result:
    """Run a command; a PlannerError comes out of it as main.py would see it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result


def test_list_names_everything(overlay: Path) -> None:
    lines = run("list", "--catalog", overlay).stdout.splitlines()
    assert lines[0].split() == ["kind", "name", "from"]
    assert [line.split() for line in lines if line.split()[1] == "dgx-h100"] == [["machines", "dgx-h100", "built-in"]]
    assert any(line.split() == ["accelerators", "h100-sxm", f"{overlay}/accelerators/h100-sxm.yaml"] for line in lines)


@pytest.mark.parametrize("kind", ["accelerators", "machines", "fabrics", "runtimes", "prices", "models", "workloads"])
def test_list_of_one_kind_in_every_form(kind: str) -> None:
    records = json.loads(run("list", kind, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(run("list", kind, "--format", "csv").stdout)))
    names = [record["name"] for record in records]
    assert names == sorted(names) == [row["name"] for row in rows]
    assert [line.split()[0] for line in run("list", kind).stdout.splitlines()[1:]] == names


def test_list_takes_the_singular_and_shows_prices() -> None:
    records = {r["name"]: r for r in json.loads(run("list", "machine", "--format", "json").stdout)}
    price = Catalog().price_of("dgx-h100")
    assert price is not None
    assert records["dgx-h100"]["usd_per_hour"] == price.usd_per_hour
    assert records["dgx-h100"]["price_book"] == price.book
    assert records["dgx-h100"]["price_date"] == price.date.isoformat()


def test_list_shows_a_broken_entry_and_the_others(overlay: Path) -> None:
    (overlay / "accelerators" / "odd.yaml").write_text("a: [1\n")
    lines = run("list", "accelerators", "--catalog", overlay).stdout.splitlines()
    assert any(line.startswith("odd ") and f"{overlay}/accelerators/odd.yaml:2: not YAML" in line for line in lines)
    assert any(line.startswith("h100-sxm ") and "4,000 GB/s" in line for line in lines)


def test_unknown_kind_and_name_offer_near_misses() -> None:
    with pytest.raises(UnknownNameError) as caught:
        run("list", "machnies")
    assert caught.value.suggestions[0] == "machines"
    with pytest.raises(UnknownNameError) as caught:
        run("show", "dgx-h10")
    assert "dgx-h100" in caught.value.suggestions
    with pytest.raises(UnknownNameError, match="unknown machine 'h100-sxm'"):
        run("show", "h100-sxm", "--kind", "machine")


def test_show_tells_value_unit_source_and_kind(overlay: Path) -> None:
    shown = json.loads(run("show", "h100-sxm", "--catalog", overlay, "--format", "json").stdout)
    fields = {record["field"]: record for record in shown["fields"]}
    assert fields["memory_bandwidth"] == {
        "field": "memory_bandwidth", "value": 4e12, "unit": "bytes/s", "written": "4 TB/s",
        "kind": "estimate", "source": "my notes",
    }  # fmt: skip
    assert fields["memory"]["value"] == Catalog().accelerator("h100-sxm").memory_bytes
    assert fields["memory"]["source"] != "my notes"
    assert fields["peak.bf16"]["unit"] == "FLOP/s"
    assert len(shown["files"]) == 2
    text = run("show", "h100-sxm", "--catalog", overlay).stdout
    line = next(line for line in text.splitlines() if line.startswith("memory_bandwidth"))
    assert line.split() == ["memory_bandwidth", "4", "TB/s", "estimate", "my", "notes"]
    rows = list(csv.DictReader(io.StringIO(run("show", "h100-sxm", "--format", "csv").stdout)))
    assert {row["field"] for row in rows} == set(fields)


def test_show_works_for_everything_that_ships() -> None:
    for record in json.loads(run("list", "--format", "json").stdout):
        shown = json.loads(run("show", record["name"], "--kind", record["kind"], "--format", "json").stdout)
        assert shown["fields"]
        assert all(field["source"] or field["kind"] == "default" for field in shown["fields"])


def test_show_asks_which_of_two_kinds(overlay: Path) -> None:
    (overlay / "fabrics").mkdir()
    (overlay / "fabrics" / "h100-sxm.yaml").write_text(HEAD + "family: efa\nefficiency: 1\nlatency: 1 us\n")
    with pytest.raises(InputError, match="several things: accelerator, fabric"):
        run("show", "h100-sxm", "--catalog", overlay)
    assert "efa" in run("show", "h100-sxm", "--kind", "fabric", "--catalog", overlay).stdout


def test_lint_of_a_sound_and_a_broken_overlay(overlay: Path) -> None:
    run("lint", overlay)
    (overlay / "accelerators" / "h100-sxm.yaml").write_text(HEAD + "memory_bandwith: 4 TB/s\n")
    result = run("lint", overlay, exit_code=2)
    message = "memory_bandwith: unknown field; did you mean: memory_bandwidth"
    assert f"{overlay}/accelerators/h100-sxm.yaml:3: error: {message}" in result.stdout
    assert "errors: 1," in result.stderr
    records = json.loads(run("lint", "--catalog", overlay, "--format", "json", exit_code=2).stdout)
    assert [r["where"] for r in records if r["severity"] == "error"] == [f"{overlay}/accelerators/h100-sxm.yaml:3"]


def test_errors_of_the_catalog_come_out_as_planner_errors(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="does not exist"):
        run("list", "--catalog", tmp_path / "none")


def test_init_writes_an_overlay_that_changes_nothing_yet(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cat"
    paths = [Path(line) for line in run("init", folder).stdout.splitlines()]
    assert all(path.is_file() for path in paths)
    run("lint", folder)
    mine, builtin = Catalog([folder]), Catalog()
    price_file = next(path for path in paths if path.parent.name == "prices")
    assert len([x for x in price_file.read_text().splitlines() if not x.startswith("#")]) == 3
    before, after = builtin.price_of("dgx-h100"), mine.price_of("dgx-h100")
    assert before is not None
    assert after is not None
    assert before.usd_per_hour == after.usd_per_hour
    for name in builtin.names(Accelerator):
        omit = {"provenance"}
        assert mine.accelerator(name).model_dump(exclude=omit) == builtin.accelerator(name).model_dump(exclude=omit)


def test_every_file_of_init_names_a_schema_that_is_there(tmp_path: Path) -> None:
    paths = [Path(line) for line in run("init", tmp_path / "cat").stdout.splitlines()]
    entries = [path for path in paths if path.suffix == ".yaml"]
    assert len(entries) >= 2
    for path in entries:
        match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert match, path
        schema = json.loads((path.parent / match[1]).read_text())
        assert schema["title"] == f"planner catalog: {path.parent.name}"


def test_show_ends_with_every_price_of_a_machine(overlay: Path) -> None:
    (overlay / "prices").mkdir(exist_ok=True)
    book = "provider: p\ndate: 2026-11-20\non_demand: {coreweave-8x-h100: 40 USD/h}\n"
    (overlay / "prices" / "mine.yaml").write_text(HEAD + book)
    shown = json.loads(run("show", "coreweave-8x-h100", "--catalog", overlay, "--format", "json").stdout)["prices"]
    mine = next(price for price in shown if price["book"] == "mine")
    assert (mine["plan"], mine["usd"], mine["usd_per_accelerator"], mine["counts"]) == ("on_demand", 40.0, 5.0, True)
    assert {price["plan"] for price in shown} >= {"on_demand", "spot"}
    assert [p["book"] for p in shown if p["plan"] == "on_demand" and p["counts"]] == ["mine"]
    lines = run("show", "coreweave-8x-h100", "--catalog", overlay).stdout.splitlines()
    assert any(line.split()[:4] == ["on_demand", "40.00/h", "5.00/h", "yes"] for line in lines)
    assert "No price book lists this machine" in run("show", "8x-t4").stdout


def test_init_then_edit_changes_the_price(tmp_path: Path) -> None:
    run("init", tmp_path / "cat")
    price_file = next((tmp_path / "cat" / "prices").iterdir())
    before = Catalog().price_of("dgx-h100")
    assert before is not None
    price_file.write_text(price_file.read_text().replace(f"{before.usd_per_hour:g} USD/h", "12.5 USD/h"))
    price = Catalog([tmp_path / "cat"]).price_of("dgx-h100")
    assert price is not None
    assert price.usd_per_hour == 12.5


def test_init_refuses_to_overwrite(tmp_path: Path) -> None:
    run("init", tmp_path / "cat")
    target = next((tmp_path / "cat" / "prices").iterdir())
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        run("init", tmp_path / "cat")
    assert target.read_text() == "mine"


def test_import_model_to_stdout_file_and_catalog(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    text = run("import-model", config, "--name", "my-llama").stdout
    assert "n_layers: 32" in text
    run("import-model", config, "--output", tmp_path / "my-llama.yaml")
    assert "n_layers: 32" in (tmp_path / "my-llama.yaml").read_text()
    run("import-model", config, "--name", "my-llama", "--catalog", tmp_path / "cat")
    assert Catalog([tmp_path / "cat"]).llm("my-llama").attention.n_heads == 32
    run("lint", tmp_path / "cat")
    with pytest.raises(OutputError, match="exists"):
        run("import-model", config, "--name", "my-llama", "--catalog", tmp_path / "cat")
    with pytest.raises(InputError, match="exclude each other"):
        run("import-model", config, "--output", tmp_path / "a", "--catalog", tmp_path / "b")
    with pytest.raises(OutputError, match="does not exist"):
        run("import-model", config, "--output", tmp_path / "none" / "a.yaml")


def test_the_command_imports_no_solver_and_prints_plain_text() -> None:
    code = (
        "import sys\nfrom planner.cli.catalog import app\n"
        "app(['list'], standalone_mode=False)\n"
        "print([m for m in ('scipy', 'pulp', 'highspy', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert "\x1b" not in done.stdout
    assert "dgx-h100" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_without_colour_gets_no_colour() -> None:
    import pty

    def printed(environment: dict[str, str]) -> str:
        ours, theirs = pty.openpty()
        code = "from planner.cli.catalog import app; app(['list', 'fabrics'], standalone_mode=False)"
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment}
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=theirs, stderr=subprocess.DEVNULL, env=env
        ) as process:
            os.close(theirs)
            text = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:
                    break
                if not piece:
                    break
                text += piece
            process.wait()
        os.close(ours)
        return text.decode()

    text = printed({"NO_COLOR": "1"})
    assert "infiniband" in text
    assert "\u2500" in text  # a drawn table, as on a terminal
    assert not any(f"\x1b[{code}m" in text for code in range(30, 38))
