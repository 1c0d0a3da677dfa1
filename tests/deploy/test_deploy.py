"""A plan as what runs it: valid manifests for every target, and the same cluster when they are read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import planner
from planner.engine.server_forms import FORMS
from planner.errors import InputError
from planner.export.files import write_together
from planner.planning.plan import Plan
from planner.studies.deploy_result import TARGETS, Deployment
from planner.studies.scaling_result import Scaling
from tests.deploy.published import CUSTOM, check

WIDE = [{"role": "mixed", "machine": "dgx-h200@2", "count": 2, "tensor_parallel": 1, "attention_data_parallel": 16,
         "expert_parallel": 16}]  # fmt: skip
SPLIT_OF_EXPERTS = [
    {"role": "prefill", "machine": "dgx-h200", "count": 2, "tensor_parallel": 1, "attention_data_parallel": 8,
     "expert_parallel": 8},
    {"role": "decode", "machine": "dgx-b200", "count": 4, "tensor_parallel": 1, "attention_data_parallel": 8,
     "expert_parallel": 8, "spares": 1},
]  # fmt: skip


def _plan(name: str, runtime: str) -> Plan:
    asked: dict[str, Any] = {"runtime": runtime, "verify": False}
    if name == "mixed":
        return planner.optimize(**asked, machines=["dgx-h100"], design="baseline", rate="70/s", chunked=True)
    if name == "split":
        return planner.optimize(**asked, design="Splitwise-HA", rate="70/s", spares=1)
    if name == "two kinds":
        asked |= {"slo": ["ttft=1s"], "rate": "70/s"}
        pools = [{"role": "mixed", "machine": "lambda-2x-b200", "count": 1, "tensor_parallel": 2},
                 {"role": "mixed", "machine": "runpod-8x-mi300x", "count": 3, "tensor_parallel": 2}]  # fmt: skip
        return planner.evaluate(pools, **asked)
    pools = WIDE if name == "wide" else SPLIT_OF_EXPERTS
    return planner.evaluate(pools, **asked, model="deepseek-v3", rate="10/s", slo=["ttft=5s", "tbt=200ms"])


POOL = {"role", "machine", "count", "spares", "tensor_parallel", "pipeline_parallel", "expert_parallel",
        "attention_data_parallel", "takes_from", "rate_per_s"}  # fmt: skip
NAMES = ("mixed", "split", "wide", "split of experts", "two kinds")
CASES = [
    (name, target, runtime)
    for name in NAMES
    for target, runtime in [
        ("vllm", "vllm-2026"), ("sglang", "sglang-2026"), ("trtllm", "trtllm-2026"), ("dynamo", "vllm-2026"),
        ("dynamo", "sglang-2026"), ("dynamo", "trtllm-2026"), ("llm-d", "vllm-2026"), ("kserve", "vllm-2026"),
    ]
    if target in {"two kinds": ("vllm", "kserve"), "split of experts": ("dynamo",)}.get(name, TARGETS)
]  # fmt: skip


@pytest.fixture(scope="module")
def plans() -> dict[tuple[str, str], Plan]:
    return {}


@pytest.fixture(scope="module")
def scaled(plans: dict[tuple[str, str], Plan]) -> Scaling:
    plan, _ = _deployed(plans, "split", "vllm", "vllm-2026")
    return planner.scale(
        [pool.model_dump(include=POOL) for pool in plan.pools], rate="70/s", runtime="vllm-2026",
        rates=["20/s", "60/s", "30/s"], period="10min", cold_start="2min",
    )  # fmt: skip


def _deployed(plans: dict[tuple[str, str], Plan], name: str, target: str, runtime: str) -> tuple[Plan, Deployment]:
    if (name, runtime) not in plans:
        plans[name, runtime] = _plan(name, runtime)
    return plans[name, runtime], planner.deploy(plans[name, runtime], target)


def _manifests(found: Deployment) -> list[dict[str, Any]]:
    texts = [text for path, text in found.files.items() if path.startswith("manifests/")]
    return [document for text in texts for document in YAML(typ="safe", pure=True).load_all(text)]


def _written(found: Deployment, folder: Path) -> Path:
    write_together({folder / name: text for name, text in found.files.items()})
    return folder


def _pools(plan: Plan) -> list[tuple[Any, ...]]:
    return sorted(
        (p.role, p.machine, p.count, p.spares, p.layout, p.precision, f"{p.rate_per_s:.9g}", p.takes_from)
        for p in plan.pools
    )


@pytest.mark.parametrize(("name", "target", "runtime"), CASES)
def test_files_validate_and_are_read_back_as_the_same_cluster(
    plans: dict[tuple[str, str], Plan], tmp_path: Path, name: str, target: str, runtime: str
) -> None:
    plan, found = _deployed(plans, name, target, runtime)
    manifests = _manifests(found)
    assert manifests and all(check(document) is None for document in manifests)
    again = planner.evaluate(_written(found, tmp_path))
    assert _pools(again) == _pools(plan)
    assert [p.predicted for p in again.predicted] == pytest.approx([p.predicted for p in plan.predicted])
    assert (again.cost_usd_per_hour, again.machines) == (plan.cost_usd_per_hour, plan.machines)
    assert found.version and found.source


def test_the_checks_of_schemas_can_fail(plans: dict[tuple[str, str], Plan]) -> None:
    """Each schema refuses what it should: a field that is not there, a pod that is none."""
    seen = set()
    for name, target in [("split", "dynamo"), ("split", "llm-d"), ("split", "kserve"), ("wide", "vllm")]:
        _, found = _deployed(plans, name, target, "vllm-2026")
        for document in _manifests(found):
            check(document)
            broken = {**document, "spec": {**document.get("spec", {}), "replicaz": 1}}
            if document["kind"] != "ConfigMap":
                seen.add(document["kind"])
                with pytest.raises(Exception, match="replicaz"):
                    check(broken)
    assert {"Deployment", "Service", *CUSTOM} - {"ScaledObject"} <= seen  # that one: with a table below
    _, found = _deployed(plans, "split", "dynamo", "vllm-2026")
    graph = next(d for d in _manifests(found) if d["kind"] == "DynamoGraphDeployment")
    graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]["arguments"] = []
    with pytest.raises(Exception, match="arguments"):
        check(graph)


def test_servers_run_what_the_certificate_assumed(plans: dict[tuple[str, str], Plan]) -> None:
    plan, found = _deployed(plans, "split", "vllm", "vllm-2026")
    by_role = {p.role: p for p in found.pools}
    prefill, decode = by_role["prefill"].command, by_role["decode"].command
    assert prefill[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-70B"]

    def value(words: list[str], flag: str) -> str:
        return words[words.index(flag) + 1]

    # 8,192 tokens and 1,024 sequences on H100; A100 counts as small: 2,048 and 256 (the runtime's file).
    assert (value(prefill, "--max-num-batched-tokens"), value(prefill, "--max-num-seqs")) == ("8192", "1024")
    assert (value(decode, "--max-num-batched-tokens"), value(decode, "--max-num-seqs")) == ("2048", "256")
    assert value(prefill, "--gpu-memory-utilization") == "0.9" and "--no-enable-prefix-caching" in prefill
    assert "kv_producer" in value(prefill, "--kv-transfer-config")
    assert "kv_consumer" in value(decode, "--kv-transfer-config")
    for pool, planned in zip(found.pools, plan.pools, strict=True):
        assert pool.replicas == planned.count * planned.replicas_per_machine


def test_what_was_asked_for_of_the_servers_is_what_they_are_told(tmp_path: Path) -> None:
    asked = {"rate": "20/s", "machines": ["dgx-h100"], "design": "baseline", "verify": False, "precision": "fp8"}
    plan = planner.optimize(**asked, max_batch=64, batched_tokens=4096, prefix_cached=0.3)
    found = planner.deploy(plan, "vllm")
    (pool,) = found.pools
    text = " ".join(pool.command)
    for words in ("--max-num-seqs 64", "--max-num-batched-tokens 4096", "--enable-prefix-caching",
                  "--quantization fp8", "--kv-cache-dtype fp8"):  # fmt: skip
        assert words in text
    assert _pools(planner.evaluate(_written(found, tmp_path))) == _pools(plan)


def test_an_edited_manifest_is_what_counts(plans: dict[tuple[str, str], Plan], tmp_path: Path) -> None:
    plan, found = _deployed(plans, "mixed", "vllm", "vllm-2026")
    folder = _written(found, tmp_path)
    (file,) = (folder / "manifests").glob("*.yaml")
    text = file.read_text()
    per_machine = plan.pools[0].replicas_per_machine
    file.write_text(text.replace(f"replicas: {found.pools[0].replicas}", f"replicas: {per_machine}"))
    assert planner.evaluate(folder).pools[0].count == 1
    file.write_text(text.replace("- '1024'", "- '32'"))
    assert planner.evaluate(folder).scenario["max_batch"] == 32
    for was, now, says in [
        ("dgx-h100", "dgx-h101", "unknown machine 'dgx-h101'"),
        (f"replicas: {found.pools[0].replicas}", "replicas: 1", "fill no whole number"),
        ("splitwise-planner/machine: dgx-h100", "zone: a", "the pods name no machine"),
        ("- '1024'", "- many", "takes a number"),
        ("- '0.9'", "- '0.5'", "a share of memory that the runtime does not have"),
        ("spec:", "spec: [", "not YAML"),
    ]:
        file.write_text(text.replace(was, now))
        with pytest.raises(InputError, match=says):
            planner.evaluate(folder)


@pytest.mark.parametrize(
    ("runtime", "target", "says"),
    [
        ("vllm-2026", "sglang", "the plan assumes vllm-2026, which is vllm, not sglang"),
        ("trtllm-2026", "kserve", "which kserve does not run"),
        ("trtllm-2026", "llm-d", "which llm-d does not run"),
        ("vllm-2026", "dinamo", "unknown target 'dinamo'"),
    ],
)
def test_a_target_that_does_not_run_it(
    plans: dict[tuple[str, str], Plan], runtime: str, target: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        _deployed(plans, "mixed", target, runtime)


def test_what_a_target_cannot_say_is_said(plans: dict[tuple[str, str], Plan]) -> None:
    def notes(name: str, target: str, runtime: str = "vllm-2026") -> str:
        return " ".join(_deployed(plans, name, target, runtime)[1].notes)

    assert "a router sends each prompt to a prefill server" in notes("split", "vllm")
    assert "shortest queue" in notes("mixed", "vllm")
    assert "one pool of each role" in notes("two kinds", "kserve")
    assert "lambda-2x-b200" in notes("two kinds", "llm-d")
    drafts = planner.optimize(rate="5/s", machines=["dgx-h100"], draft_tokens=3, tokens_per_step=2.0, verify=False)
    assert any("names no drafter" in note for note in planner.deploy(drafts, "vllm").notes)
    readme = _deployed(plans, "split", "vllm", "vllm-2026")[1].files["README.md"]
    assert "What this target cannot say" in readme and "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3" in readme


def test_the_load_is_the_planned_one(plans: dict[tuple[str, str], Plan]) -> None:
    import json

    plan, found = _deployed(plans, "mixed", "vllm", "vllm-2026")
    rows = [json.loads(line) for line in found.files["load.jsonl"].splitlines()]
    assert len(rows) == 5000
    last_s = rows[-1]["timestamp"] / 1e3
    assert len(rows) / last_s == pytest.approx(plan.rate_per_s, rel=0.05)
    assert sum(r["input_length"] for r in rows) / len(rows) == pytest.approx(plan.mean_prompt_tokens, rel=0.1)
    assert sum(r["output_length"] for r in rows) / len(rows) == pytest.approx(plan.mean_output_tokens, rel=0.1)
    for tool in ("aiperf profile", "vllm bench serve", "guidellm benchmark", "inference-perf"):
        assert tool in found.files["benchmark.sh"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_scaling_table_becomes_settings_that_say_the_same(
    plans: dict[tuple[str, str], Plan], scaled: Scaling, tmp_path: Path, target: str
) -> None:
    """The formula of each pool, evaluated as KEDA does, is the table; the cluster reads back as without it."""
    runtime = {"sglang": "sglang-2026", "trtllm": "trtllm-2026"}.get(target, "vllm-2026")
    plan, _ = _deployed(plans, "split", target, runtime)
    found = planner.deploy(plan, target, scaling=scaled.model_copy(update={"runtime": runtime}))
    objects = [d for d in _manifests(found) if d["kind"] == "ScaledObject"]
    assert all(check(d) is None for d in _manifests(found))
    assert _pools(planner.evaluate(_written(found, tmp_path))) == _pools(plan)
    assert "Replicas by load" in found.files["README.md"]
    if target == "kserve":
        assert not objects and any("cannot be given the scaling table" in note for note in found.notes)
        return
    assert len(objects) == len(plan.pools)
    for n, scaled_object in enumerate(objects):
        spec = scaled_object["spec"]
        expression = spec["advanced"]["scalingModifiers"]["formula"]
        last = 0.0
        for step in scaled.steps:
            middle = (last + step.measured_up_to_per_s) / 2
            assert _evaluated(expression, middle) == step.replicas[n]
            last = step.measured_up_to_per_s
        assert _evaluated(expression, 10 * last) == spec["maxReplicaCount"] == scaled.steps[-1].replicas[n]
        names = {d["metadata"]["name"] for d in _manifests(found) if d["kind"] == spec["scaleTargetRef"]["kind"]}
        if target == "dynamo":
            (graph,) = [d for d in _manifests(found) if d["kind"] == "DynamoGraphDeployment"]
            names = {f"{graph['metadata']['name']}-{c['name']}" for c in graph["spec"]["components"]
                     if "scalingAdapter" in c}  # fmt: skip
        assert spec["scaleTargetRef"]["name"] in names


def _evaluated(expression: str, load: float) -> int:
    """`load <= a ? x : load <= b ? y : z`, as it says."""
    *cases, otherwise = expression.split(" : ")
    for case in cases:
        condition, value = case.split(" ? ")
        if load <= float(condition.removeprefix("load <= ")):
            return int(value)
    return int(otherwise)


def test_a_scaling_table_of_another_plan_or_none(
    plans: dict[tuple[str, str], Plan], scaled: Scaling, tmp_path: Path
) -> None:
    plan, _ = _deployed(plans, "mixed", "vllm", "vllm-2026")
    with pytest.raises(InputError, match="the scaling table is of another plan"):
        planner.deploy(plan, "vllm", scaling=scaled)
    none = tmp_path / "none.json"
    with pytest.raises(InputError, match="cannot be read"):
        planner.deploy(plan, "vllm", scaling=none)
    none.write_text("{}")
    with pytest.raises(InputError, match="not a scaling table"):
        planner.deploy(plan, "vllm", scaling=none)


def test_a_plan_of_an_older_version_and_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"schema_version": "0.9", "pools": [], "predicted": []}')
    with pytest.raises(InputError, match="another version"):
        planner.deploy(old, "vllm")
    with pytest.raises(InputError, match="no pod in this folder"):
        planner.evaluate(tmp_path)


def test_tables_are_dated_and_every_target_is_written() -> None:
    assert {form.engine for form in FORMS.values()} == set(FORMS)
    assert all(form.version and form.source and form.date for form in FORMS.values())
    assert set(TARGETS) == {"vllm", "sglang", "trtllm", "dynamo", "llm-d", "kserve"}
