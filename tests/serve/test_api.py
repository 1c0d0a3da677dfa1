"""The HTTP API: the bytes that the command prints, errors in its envelope, jobs."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCENARIO: dict[str, Any] = {
    "model": "llama-3.1-8b", "machines": ["dgx-h100"], "rate_per_s": "20/s", "slo": ["ttft=1s"], "verify": False,
}  # fmt: skip
POOLS = [{"role": "mixed", "machine": "dgx-h100", "count": 1}]


def test_answers_are_the_bytes_of_the_command(server: Any, printed: Any, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(SCENARIO), encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({"pools": POOLS}), encoding="utf-8")
    few = {"verify_runs": 1, "verify_requests": 2000}
    (tmp_path / "v.json").write_text(json.dumps(SCENARIO | {"verify": True} | few), encoding="utf-8")
    of_cluster = SCENARIO | {"pools": POOLS}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("optimize", SCENARIO, "optimize s.json"),
        ("optimize", SCENARIO | {"verify": True} | few, "optimize v.json"),
        ("evaluate", of_cluster, "evaluate c.json --scenario s.json"),
        ("simulate", of_cluster | {"seeds": 1, "requests": 500},
         "simulate c.json --scenario s.json --seeds 1 --requests 500"),
        ("cost", of_cluster | {"horizon": "2 years"}, "cost c.json --scenario s.json --horizon=2_years"),
        ("why", SCENARIO | {"subject": "dgx-a100"}, "why dgx-a100 s.json"),
        ("alternatives", SCENARIO | {"most": 2}, "alternatives s.json --most 2"),
        ("frontier", SCENARIO | {"x": "machines"}, "frontier s.json --x machines"),
        ("sensitivity", SCENARIO | {"draws": 0, "flips": False},
         "sensitivity s.json --draws 0 --no-flips --workers 1"),
        ("estimate", {"model": "llama-3.1-8b", "batch": 4}, "estimate --model llama-3.1-8b --batch 4"),
    ]  # fmt: skip
    for question, fields, words in cases:
        wanted = printed(*(w.replace("_", " ") for w in words.split()), "--format", "json", cwd=tmp_path)
        found = server.post(question, fields)
        assert (found.status, found.body.decode()) == (200, wanted), question
        assert found.headers["x-planner-exit-code"] == "0", question


def test_python_gives_the_same_bytes(server: Any) -> None:
    import planner

    few = {"verify": True, "verify_runs": 1, "verify_requests": 2000}
    for fields in (SCENARIO, SCENARIO | few):
        assert (
            server.post("optimize", fields).body.decode() == planner.optimize(**fields).model_dump_json(indent=2) + "\n"
        )


def test_a_trace_that_is_sent_is_planned_for(server: Any, printed: Any, tmp_path: Path) -> None:
    rows = "".join(f"{n / 5},{300 + n % 700},{20 + n % 90}\n" for n in range(2000))
    (tmp_path / "mine.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows, encoding="utf-8")
    own = {"model": "llama-3.1-8b", "machines": ["dgx-h100"], "verify": False, "workload": "mine.csv"}
    (tmp_path / "s.json").write_text(json.dumps(own), encoding="utf-8")
    content = (tmp_path / "mine.csv").read_bytes()
    found = server.send("optimize", own, ("mine.csv", content))
    wanted = printed("optimize", "s.json", "--format", "json", cwd=tmp_path)
    assert (found.status, found.body.decode()) == (200, wanted)
    described = server.send("workload_describe", {"workload": "mine.csv"}, ("mine.csv", content))
    assert described.body.decode() == printed("workload", "describe", "mine.csv", "--format", "json", cwd=tmp_path)


def test_what_is_taken_away_is_what_the_command_writes(server: Any, printed: Any, tmp_path: Path) -> None:
    plan = server.post("optimize", SCENARIO)
    (tmp_path / "result.json").write_bytes(plan.body)
    printed("export", "result.json", "--html", "planner.html", "--xlsx", "planner.xlsx", "--csv", "t", cwd=tmp_path)
    printed("deploy", "result.json", "--for", "vllm", "--output", "d", cwd=tmp_path)
    page = server.post("export_html", {"result": plan.data})
    assert page.body == (tmp_path / "planner.html").read_bytes()
    assert page.headers["content-disposition"] == 'attachment; filename="planner.html"'
    book = server.post("export_xlsx", {"result": plan.data})
    assert contents(book.body) == contents((tmp_path / "planner.xlsx").read_bytes())
    for found, folder in (
        (server.post("export_csv", {"result": plan.data}), tmp_path / "t"),
        (server.post("deploy", {"plan_result": plan.data, "target": "vllm"}), tmp_path / "d"),
    ):
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert files and contents(found.body) == files
    assert server.post("deploy", {"plan_result": plan.data, "target": "vlm"}).error["suggestions"][0] == "vllm"


def contents(archive: bytes) -> dict[str, bytes]:
    """Files of an archive but the one of a workbook that says when it was made."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist() if name != "docProps/core.xml"}


def test_a_quote_is_seen_before_it_is_saved(start: Any, printed: Any, tmp_path: Path) -> None:
    quote = "Machine,Unit price,Currency,Date,Vendor,Unit\ndgx-h100,40,USD,2026-11-20,Acme,h\n"
    (tmp_path / "q.csv").write_text(quote, encoding="utf-8")
    overlay = tmp_path / "mine"
    own = {"file": "q.csv", "book": "acme-2026-11"}
    with start(tmp_path / "files", "--overlay", str(overlay)) as server:

        def read(**more: bool) -> Any:
            return server.send("import_quotes", own | more, ("q.csv", quote.encode()))

        seen = read()
        wanted = printed("catalog", "import-quotes", "q.csv", "--book", "acme-2026-11", "--catalog", "other",
                         "--format", "json", cwd=tmp_path)  # fmt: skip
        assert (seen.status, seen.body.decode()) == (200, wanted) and list(overlay.iterdir()) == []
        assert read(save=True).status == 200
        assert [p.name for p in (overlay / "prices").iterdir()] == ["acme-2026-11.yaml"]
        assert "there already" in read().error["what"] and "there already" in read(save=True).error["what"]
        assert read(replace=True).status == read(save=True, replace=True).status == 200
        names = [entry["name"] for entry in server.ask("GET", "/api/v1/catalog/prices").data]
        assert "acme-2026-11" in names
    with start(tmp_path / "more") as server:
        refused = server.send("import_quotes", own | {"save": True}, ("q.csv", quote.encode()))
        assert "--overlay" in refused.error["fix"]


def test_the_catalog_is_what_the_command_prints(server: Any, printed: Any) -> None:
    for path, words in (("", "list"), ("/models", "list models"), ("/machines/dgx-h100", "show dgx-h100")):
        found = server.ask("GET", f"/api/v1/catalog{path}")
        assert (found.status, found.body.decode()) == (200, printed("catalog", *words.split(), "--format", "json"))


@pytest.mark.parametrize(
    ("question", "fields", "status", "named"),
    [
        ("optimize", {"slo": ["ttft=0,5s"]}, 422, "0,5"),
        ("optimize", {"model": "llama-3.1-7b"}, 422, "llama-3.1-7b"),
        ("optimize", {"rat": "3/s"}, 422, "rat"),
        ("evaluate", {"model": "llama-3.1-8b"}, 422, "pools"),
        ("cost", {"pools": POOLS, "plan_result": {}}, 422, "once"),
        ("sensitivity", {"flips": "yes"}, 422, "flips"),
        ("estimate", {"batch": [1]}, 422, "batch"),
        ("estimate", {"bach": 1}, 422, "bach"),
        ("why", {"subject": "--output=x"}, 422, "--output=x"),
    ],
)
def test_refusals_of_the_command_are_its_envelope(
    server: Any, question: str, fields: dict[str, Any], status: int, named: str
) -> None:
    found = server.post(question, fields)
    assert found.status == status
    assert named in found.body.decode() and found.error["what"] and "planner-serve" not in found.body.decode()


def test_refusals_of_http_are_the_same_envelope(server: Any) -> None:
    json_type = {"content_type": "application/json"}
    cases = [
        (server.ask("GET", "/nothing"), 404),
        (server.ask("GET", "/api/v1/jobs/nothing"), 404),
        (server.ask("GET", "/api/v1/catalog/machines/nothing"), 404),
        (server.ask("GET", "/api/v1/catalog/nothing"), 404),
        (server.ask("GET", "/api/v1/optimize"), 405),
        (server.ask("PUT", "/api/v1/optimize"), 405),
        (server.ask("POST", "/api/v1/optimize", "slo=1", content_type="text/plain"), 415),
        (server.ask("POST", "/api/v1/optimize", "a=1", content_type="application/x-www-form-urlencoded"), 415),
        (server.ask("POST", "/api/v1/optimize", "{", **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", "[]", **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", '{"seed": NaN}', **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", '{"seed": 1, "seed": 2}', **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", "[" * 100_000, **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", '{"seed": ' + "9" * 10_000 + "}", **json_type), 422),
        (server.ask("POST", "/api/v1/optimize", b'{"model": "\xff"}', **json_type), 422),
    ]
    for found, status in cases:
        assert found.status == status, found.body
        error = found.error
        assert set(error) == {"error", "exit_code", "what", "where", "value", "rule", "fix", "suggestions", "also"}


def test_a_job_tells_its_progress_and_its_answer(server: Any) -> None:
    begun = server.ask("POST", "/api/v1/jobs/optimize", SCENARIO)
    assert begun.status == 202
    where = begun.headers["location"]
    assert where == f"/api/v1/jobs/{begun.data['id']}"
    until = time.monotonic() + 60
    while (now := server.ask("GET", where).data)["state"] in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.1)
    assert (now["state"], now["exit_code"]) == ("done", 0)
    assert now["progress"]
    assert server.ask("GET", f"{where}/answer").body == server.post("optimize", SCENARIO).body
    assert server.ask("DELETE", where).data["state"] == "done"


def test_a_job_can_be_cancelled(server: Any) -> None:
    long = {"rate_per_s": "300/s", "machines": "all", "time_limit_s": 600, "exact": True}
    where = server.ask("POST", "/api/v1/jobs/optimize", long).headers["location"]
    assert server.ask("GET", f"{where}/answer").status == 409
    assert server.ask("DELETE", where).data["state"] == "cancelled"
    assert server.ask("GET", where).data["answer"] is None
    assert [p for p in server.temporary.rglob("*") if p.name != next(server.temporary.iterdir()).name] == []


def test_the_api_is_described_without_anything_from_outside(server: Any) -> None:
    described = server.ask("GET", "/api/openapi.json").data
    assert described["openapi"].startswith("3.1")
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described))) <= known
    body = described["paths"]["/api/v1/optimize"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for fields, is_right in ((SCENARIO, True), ({"rat": "3/s"}, False), ({"seed": "x"}, False)):
        schema = body | {"components": described["components"]}
        assert jsonschema.Draft202012Validator(schema).is_valid(fields) is is_right, fields
    assert {"/api/v1/optimize", "/api/v1/jobs/{id}", "/api/v1/catalog/{kind}"} <= set(described["paths"])
    page = server.ask("GET", "/api/docs").body.decode()
    assert "rate_per_s" in page and "<script" not in page
    assert "http://" not in page and "https://" not in page and "//" not in page.replace("</", "")
