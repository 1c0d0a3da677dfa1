"""What README.md says to type works: its commands run, in order, in a folder with the files that it names."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SETUP, RECIPES = SHELL[:2], [line for line in SHELL[2:] if line]

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "architectures": ["LlamaForCausalLM"],
}  # fmt: skip


def test_two_commands_do_all_the_setting_up() -> None:
    install_and_run, install_and_test = SETUP
    assert install_and_run.startswith("python3 -m venv ") and install_and_run.endswith("planner optimize --slo ttft=1s")
    assert install_and_test.startswith("python3 -m venv ") and "pytest" in install_and_test
    assert all(line.startswith("planner ") for line in RECIPES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the recipes name: a trace, a model's config, and the YAML of the README itself."""
    folder = tmp_path_factory.mktemp("reader")
    rows = (f"{0.05 * i:.2f},{200 + 37 * i % 900},{20 + 11 * i % 180}" for i in range(400))
    (folder / "requests.csv").write_text("timestamp,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    ((path, text),) = re.findall(r"lines as `([\w/.-]+\.yaml)`.*?^```yaml\n(.*?)^```$", README, re.M | re.S)
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(text)
    return folder


@pytest.mark.parametrize("line", RECIPES)
def test_the_recipe_runs(line: str, folder: Path, shell: Any) -> None:
    if "--model our-model" in line and not (folder / "our-catalog/models/our-model.yaml").exists():
        shell(next(recipe for recipe in RECIPES if "import-model" in recipe), cwd=folder)
    done = shell(line, cwd=folder)
    assert done.stdout or "lint" in line or "--catalog our-catalog" in line


def test_a_three_line_price_changes_the_cost(folder: Path, shell: Any) -> None:
    run = "planner optimize --slo ttft=1s --machine dgx-h100 --format json"
    before, after = (json.loads(shell(run + more, cwd=folder).stdout) for more in ("", " --catalog our-catalog"))
    assert after["cost_usd_per_hour"] / before["cost_usd_per_hour"] == pytest.approx(31.5 / 38.0)


def test_the_python_runs(folder: Path, shell: Any) -> None:
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    (folder / "recipe.py").write_text(code)
    done = shell("python recipe.py", cwd=folder)
    assert re.search(r"^[\d.]+ ms, bound by \w+$", done.stdout, re.MULTILINE), done.stdout


def test_the_plan_shown_is_the_one_printed(commands: dict[str, str]) -> None:
    """To the lines that depend on the day and on the solver's version."""
    shown, printed = (_plan(text) for text in _regenerate().readme_with_plan(commands))
    assert shown == printed, "python examples/regenerate.py writes it anew"


def _plan(readme: str) -> list[str]:
    start, end = _regenerate().shown_plan(readme)
    text = re.sub(r"HiGHS [\d.]+", "HiGHS", readme[start:end])
    # "Trust" says how old the prices are; it may run over several lines.
    return re.sub(r"^  Trust .*\n(?: {14}.*\n)*", "", text, flags=re.MULTILINE).splitlines()


def _regenerate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_regenerate", ROOT / "examples" / "regenerate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
