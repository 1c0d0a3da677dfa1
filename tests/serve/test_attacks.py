"""What others might try on a server: each attack is tried, and the server goes on afterwards."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCENARIO: dict[str, Any] = {
    "model": "llama-3.1-8b", "machines": ["dgx-h100"], "rate_per_s": "20/s", "slo": ["ttft=1s"], "verify": False,
}  # fmt: skip
LONG = {"rate_per_s": "300/s", "machines": "all", "time_limit_s": 600, "exact": True, "verify_runs": 100}
JSON = {"content-type": "application/json"}
BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]",
                  *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])  # fmt: skip


@pytest.fixture(scope="module")
def small(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with an overlay that is told to let little through."""
    overlay = tmp_path_factory.mktemp("overlay")
    options = ("--overlay", str(overlay), "--memory", "1.5 GiB", "--max-upload", "4 MiB", "--jobs", "2")
    with start(tmp_path_factory.mktemp("files"), *options) as found:
        yield found


def is_alive(server: Any) -> bool:
    return bool(server.process.poll() is None and server.ask("GET", "/api/v1/catalog/runtimes").status == 200)


def left_in(server: Any) -> list[Path]:
    """Files and folders of questions that the server still holds."""
    return [path for root in server.temporary.iterdir() for path in root.rglob("*")]


def processes_of(server: Any) -> list[int]:
    """Processes that run for a server's questions, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(server.temporary) in (entry / "environ").read_bytes().decode():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != server.process.pid]


def until(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# -------------------------------------------------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example", "content-type": "application/x-www-form-urlencoded"},
        {"origin": "http://evil.example", "content-type": "text/plain"},
        {"origin": "http://evil.example", **JSON},
        {"origin": "null", **JSON},
        {"origin": "http://localhost", **JSON},  # another port of this machine
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin", **JSON},
        {"sec-fetch-site": "cross-site", **JSON},
        {"sec-fetch-site": "same-site", **JSON},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", **JSON},
    ],
)
def test_what_another_site_sends_is_refused(server: Any, headers: dict[str, str]) -> None:
    found = server.ask("POST", "/api/v1/optimize", json.dumps(SCENARIO), **headers)
    assert found.status == 403, found.body
    assert "another site" in found.error["what"]


def test_other_sites_may_read_nothing(server: Any) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}):
        assert server.ask("GET", "/api/v1/catalog", **headers).status == 403
    asked_before = server.ask("OPTIONS", "/api/v1/optimize", origin="http://evil.example")
    assert asked_before.status >= 400
    assert not any(name.startswith("access-control") for name in asked_before.headers)
    found = server.ask("GET", "/api/v1/catalog/runtimes")
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert "'unsafe" not in found.headers["content-security-policy"]
    # A link of another page may be followed; what it shows asks nothing by itself.
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert server.ask("GET", "/api/docs", **link).status == 200


def test_pages_and_programs_of_this_machine_are_let_in(server: Any) -> None:
    own = f"http://127.0.0.1:{server.port}"
    for headers in ({}, {"origin": own}, {"origin": own, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        found = server.ask("POST", "/api/v1/estimate", json.dumps({"model": "llama-3.1-8b"}), **JSON, **headers)
        assert found.status == 200, headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example",
     "", "[::1", "127.0.0.1:x", "10.0.0.5", "127.0.0.1/evil.example", "2130706433"],
)  # fmt: skip
def test_a_host_of_another_name_is_refused(server: Any, host: str) -> None:
    assert server.ask("GET", "/api/v1/catalog", host=host).status in (400, 421)


def test_two_hosts_are_refused(server: Any) -> None:
    request = b"GET /api/v1/catalog HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert b" 4" in raw(server, request)[:14]


def raw(server: Any, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost:8350"])
def test_names_of_this_machine_are_known(server: Any, host: str) -> None:
    assert server.ask("GET", "/api/docs", host=host).status == 200


# ------------------------------------------------------------------------------------------------------------- tokens


def test_beyond_this_machine_the_token_is_asked_for(start: Any, tmp_path: Path) -> None:
    with start(tmp_path, "--host", "0.0.0.0", "--name", "planner.example") as server:
        address, _, token = server.address.partition("?token=")
        assert address.startswith("http://127.0.0.1:") and len(token) > 40
        for path in ("/", "/api/docs", "/api/v1/catalog", "/nothing"):
            found = server.ask("GET", path)
            assert found.status == 401 and "token" in found.error["what"]
            assert token not in found.body.decode()
        assert server.ask("GET", "/api/docs", authorization="Bearer wrong").status == 401
        assert server.ask("GET", "/api/docs?token=wrong").status == 401
        assert server.ask("GET", "/api/docs", authorization=f"Bearer {token}").status == 200
        entry = server.ask("GET", f"/api/docs?token={token}&x=1")
        assert (entry.status, entry.headers["location"]) == (303, "/api/docs?x=1")
        cookie = entry.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.casefold()
        assert server.ask("GET", "/api/docs", cookie=cookie.partition(";")[0]).status == 200
        # Not a way to another site.
        assert server.ask("GET", f"//evil.example/?token={token}").headers["location"].startswith("/evil.example")
        bearer = {"authorization": f"Bearer {token}"}
        for host, status in (("10.1.2.3:8350", 200), ("planner.example", 200), ("evil.example", 421)):
            assert server.ask("GET", "/api/docs", host=host, **bearer).status == status, host
        # The token of a cookie is no leave for another site.
        assert server.ask("POST", "/api/v1/optimize", "{}", origin="http://evil.example", **bearer).status == 403


# -------------------------------------------------------------------------------------------------------------- sizes


def memory_of(server: Any) -> int:
    """Resident bytes of the server's own process."""
    text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))


def test_a_declared_gigabyte_is_refused_before_it_comes(small: Any) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        request = (
            f"POST /api/v1/optimize HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {2**30}\r\n\r\n"
        )
        assert b" 413 " in raw(small, request.encode())[:20]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_streamed_gigabyte_is_cut_off(small: Any, kind: str) -> None:
    before = memory_of(small)
    head = (
        f"POST /api/v1/optimize HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    n = 0
    with socket.create_connection(("127.0.0.1", small.port), timeout=20) as connection:
        connection.sendall(head.encode())
        if kind.startswith("multipart"):
            connection.sendall(f"{len(start):x}\r\n".encode() + start + b"\r\n")
        connection.setblocking(False)
        answer = b""
        for n in range(1024):  # noqa: B007
            try:
                connection.setblocking(True)
                connection.sendall(chunk)
                connection.setblocking(False)
                answer += connection.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                break
            break
    assert n < 64, "the server read on"
    assert not answer or b" 413 " in answer[:20]
    assert memory_of(small) - before < 64 * 2**20
    assert is_alive(small) and left_in(small) == []


def test_a_file_beyond_the_limit_is_refused(small: Any) -> None:
    assert small.send("optimize", {"workload": "t.csv"}, ("t.csv", b"x" * (5 * 2**20))).status == 413
    assert small.send("optimize", {}, *[(f"{n}.csv", b"x") for n in range(20)]).status in (400, 413, 422)
    assert left_in(small) == []


def test_bombs_of_aliases_are_refused(small: Any) -> None:
    for found in (
        small.post("procure", {"fleet_text": BOMB}),
        small.post("procure", {"fleet_text": "a: &a [*a]"}),
        small.send("optimize", {"workload": "load.yaml"}, ("load.yaml", BOMB.encode())),
    ):
        assert found.status == 422 and found.error["what"], found.body
    assert is_alive(small) and left_in(small) == []


def test_a_workbook_that_is_a_bomb_is_refused(small: Any) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(600):
                sheet.write(b"<c><v>1</v></c>" * 70_000)
        archive.writestr("[Content_Types].xml", "<Types/>")
    content = made.getvalue()
    # And one whose directory says that it is small.
    where = content.rindex(b"PK\x01\x02xl" if b"PK\x01\x02xl" in content else b"PK\x01\x02")
    first = content.index(b"PK\x01\x02")
    lying = bytearray(content)
    lying[first + 24 : first + 28] = (1000).to_bytes(4, "little")
    assert where >= first
    for file in (content, bytes(lying)):
        if len(file) > 4 * 2**20:
            assert small.send("import_quotes", {"file": "q.xlsx", "book": "b"}, ("q.xlsx", file)).status == 413
            continue
        before = memory_of(small)
        found = small.send("import_quotes", {"file": "q.xlsx", "book": "b"}, ("q.xlsx", file))
        assert found.status in (422, 503), found.body
        assert found.error["what"] and memory_of(small) - before < 64 * 2**20
    assert is_alive(small) and left_in(small) == []


def test_a_question_that_takes_too_long_is_stopped(start: Any, tmp_path: Path) -> None:
    with start(tmp_path, "--time-limit", "2s") as server:
        found = server.post("optimize", LONG)
        assert found.status == 503 and "2 s" in found.error["rule"], found.body
        assert processes_of(server) == [] and left_in(server) == []


def test_a_question_that_takes_too_much_memory_is_stopped(start: Any, tmp_path: Path) -> None:
    with start(tmp_path, "--memory", "600 MB") as server:
        many = {"pools": [{"role": "mixed", "machine": "dgx-h100", "count": 1}], "requests": 100_000_000, "seeds": 1}
        found = server.post("simulate", SCENARIO | many)
        assert found.status in (500, 503), found.body
        assert "memory" in found.body.decode(), found.body
        assert processes_of(server) == [] and left_in(server) == []


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("optimize", {"workload": "/etc/passwd"}),
        ("optimize", {"workload": "../../../../etc/passwd"}),
        ("optimize", {"workload": "a/../../../etc/passwd"}),
        ("optimize", {"workload": "~/.ssh/id_rsa"}),
        ("optimize", {"workload": "C:\\windows\\win.ini"}),
        ("optimize", {"workload": "..\\..\\x.csv"}),
        ("optimize", {"profile": "/etc/passwd"}),
        ("optimize", {"day": "/etc/passwd"}),
        ("optimize", {"catalog": ["."]}),
        ("optimize", {"model": "../../../etc/passwd"}),
        ("sweep", {"vary": {"workload": ["azure-conv-2023", "/etc/passwd"]}}),
        ("robustness", {"pools": [], "mix": ["/etc/passwd"]}),
        ("estimate", {"model": "/etc/passwd"}),
        ("workload_describe", {"workload": "/etc/passwd"}),
        ("procure", {"workloads": {"a": {"workload": "/etc/passwd"}}}),
        ("procure", {"fleet_text": "workloads:\n  a:\n    workload: /etc/passwd\n    rate: 3/s\n"}),
        ("procure", {"fleet_text": "catalog: [/tmp]\nworkloads:\n  a: {rate: 3/s}\n"}),
    ],
)
def test_no_text_of_a_question_reaches_a_file(server: Any, question: str, fields: dict[str, Any]) -> None:
    found = server.post(question, fields)
    assert found.status == 422, found.body
    assert "root:" not in found.body.decode()
    rule = str(found.error["what"]) + str(found.error["rule"])
    assert "names no file of the server" in rule or "catalog that it was started with" in rule, found.body


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "."])
def test_no_address_reaches_a_file(server: Any, name: str) -> None:
    found = server.ask("GET", f"/api/v1/catalog/machines/{name}")
    assert found.status in (404, 422) and "root:" not in found.body.decode(), found.body


@pytest.mark.parametrize(
    "name",
    ["../x.csv", "/etc/x.csv", "..", ".hidden", "a/b.csv", "a\\\\b.csv", "scenario.json", "x\u0000.csv", "", "n" * 300],
)
def test_names_of_files_are_plain(server: Any, name: str) -> None:
    found = server.send("optimize", {"workload": "t.csv"}, (name, b"a,b\n"))
    assert found.status in (400, 422), found.body
    assert found.error["what"]


@pytest.mark.parametrize("book", ["../../evil", "/tmp/evil", "a/b", "..", "x\\y"])
def test_a_price_book_stays_in_the_overlay(small: Any, book: str) -> None:
    quote = b"Machine,Unit price,Currency,Date,Vendor,Unit\ndgx-h100,40,USD,2026-11-20,Acme,h\n"
    found = small.send("import_quotes", {"file": "q.csv", "book": book, "save": True}, ("q.csv", quote))
    assert found.status == 422, found.body
    assert left_in(small) == []


def test_a_file_that_is_sent_is_data_and_no_code(server: Any, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    code = f"open({str(mark)!r}, 'w').close()".encode()
    names = ("json.py", "numpy.py", "sitecustomize.py", "usercustomize.py", "planner.py", "typer.py")
    found = server.send("optimize", SCENARIO, *[(name, code) for name in names])
    assert found.status == 200 and not mark.exists()
    assert found.body == server.post("optimize", SCENARIO).body


def test_a_confined_command_opens_no_file_of_others(tmp_path: Path) -> None:
    """The wall behind the checks of fields, which this goes around."""
    secret = tmp_path / "secret.csv"
    secret.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n1,100,10\n2,100,10\n", encoding="utf-8")
    folder = tmp_path / "question"
    folder.mkdir()

    def run(*words: str, confined: object) -> subprocess.CompletedProcess[str]:
        told = json.dumps({"memory_bytes": None, "folder": str(folder), "confined": confined})
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")} | {"PLANNER_PROGRAM": "1"}
        root = Path(__import__("planner").__file__).parents[1]
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "planner.serve.child", told, *words], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=environment | {"PYTHONPATH": str(root)},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            text = process.stdout.read()
            return subprocess.CompletedProcess(words, process.wait(timeout=60), text)

    describe = ("workload", "describe", str(secret), "--format", "json")
    assert run(*describe, confined=None).returncode == 0
    within = {"read": [], "written": []}
    found = run(*describe, confined=within)
    assert found.returncode != 0 and "not within reach" in found.stdout
    away = run("estimate", "--format", "json", "--output", str(tmp_path / "o.json"), confined=within)
    assert away.returncode != 0 and not (tmp_path / "o.json").exists()
    assert run("estimate", "--format", "json", "--output", "o.json", confined=within).returncode == 0


# --------------------------------------------------------------------------------------------------------------- text


def test_script_in_names_is_never_a_script(server: Any) -> None:
    script = "<script>alert(1)</script>"
    found = server.post("optimize", {"model": script})
    assert found.status == 422 and script in found.error["what"] + str(found.error["value"])
    assert found.headers["content-type"] == "application/json" and found.headers["x-content-type-options"] == "nosniff"
    missing = server.ask("GET", "/%3Cscript%3Ealert(1)%3C/script%3E")
    assert missing.headers["content-type"].startswith("application/json") or script not in missing.body.decode()
    plan = server.post("optimize", SCENARIO).data
    plan["notes"] = [script, *plan["notes"]]
    page = server.post("export_html", {"result": plan})
    assert page.status == 200, page.body
    assert b"<script>" not in page.body and b"&lt;script&gt;" in page.body


# ------------------------------------------------------------------------------------------------------------- crowds


def test_two_hundred_jobs_at_once(small: Any) -> None:
    found = [small.ask("POST", "/api/v1/jobs/optimize", LONG) for _ in range(200)]
    taken = [reply.data["id"] for reply in found if reply.status == 202]
    refused = [reply for reply in found if reply.status == 429]
    assert len(taken) + len(refused) == 200 and len(taken) >= 20 and refused
    assert "wait" in refused[0].error["what"]
    assert len(processes_of(small)) <= 4
    # Look-ups go on beside them.
    assert small.ask("GET", "/api/v1/catalog/runtimes").status == 200
    for id in taken:
        assert small.ask("DELETE", f"/api/v1/jobs/{id}").data["state"] == "cancelled"
    assert until(lambda: processes_of(small) == [])
    assert left_in(small) == [] and is_alive(small)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_jobs_killed_at_random_leave_nothing(small: Any) -> None:
    chance = random.Random(7)
    jobs = [small.ask("POST", "/api/v1/jobs/optimize", LONG).headers["location"] for _ in range(6)]

    def states() -> list[str]:
        return [small.ask("GET", job).data["state"] for job in jobs]

    def kill_one() -> bool:
        time.sleep(chance.uniform(0.0, 0.4))
        running = processes_of(small)
        if running:
            os.kill(chance.choice(running), signal.SIGKILL)
        return not {"running", "waiting"} & set(states())

    assert until(kill_one, 60.0)
    assert set(states()) == {"refused"}
    answer = small.ask("GET", f"{jobs[0]}/answer")
    assert answer.status == 503 and "ended without an answer" in answer.error["what"]
    assert processes_of(small) == [] and left_in(small) == [] and is_alive(small)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_a_server_that_is_killed_leaves_nothing(start: Any, tmp_path: Path) -> None:
    with start(tmp_path) as server:
        for _ in range(2):
            assert server.ask("POST", "/api/v1/jobs/optimize", LONG).status == 202
        assert until(lambda: bool(processes_of(server)))
        time.sleep(0.5)
        server.process.kill()
        server.process.wait()
        assert until(lambda: processes_of(server) == [])
        assert list(tmp_path.rglob("*")) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_who_goes_away_stops_the_question(server: Any) -> None:
    connection = server.connection()
    connection.request("POST", "/api/v1/optimize", json.dumps(LONG), JSON)
    assert until(lambda: bool(processes_of(server)))
    connection.close()
    assert until(lambda: processes_of(server) == [])
    assert until(lambda: left_in(server) == [])


def test_users_at_once_get_their_own_answers(server: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked = [("estimate", {"model": "llama-3.1-8b", "batch": n}) for n in range(1, 9)]
    with ThreadPoolExecutor(8) as people:
        found = list(people.map(lambda question: server.post(*question), asked))
    for (_, fields), reply in zip(asked, found, strict=True):
        assert reply.status == 200 and f'"batch": {fields["batch"]}' in reply.body.decode()
