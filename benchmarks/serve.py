"""`planner serve` beside its framework's own hello-world and beside the command, and twenty people at once.

    python benchmarks/serve.py [--runs 5] [--people 20]

1. Cold start: CPU time of a fresh process until its first page is answered, `planner serve` and a hello-world of its
   framework in turn. At most three times as much.
2. First plan: CPU time of a question to a fresh server, its processes included, beside that of the command in turn.
3. People at once, each with another question, on a fresh server: every answer is held against the bytes that the
   command prints; the most memory that server and questions held together, and the most processes.

CPU time, because others may share the machine. Exit code 1 if a bar is missed or an answer is not the command's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from web_frameworks import FASTAPI, fetched, free_port, page_of, taken

PLAN: dict[str, Any] = {"slo": ["ttft=1s"], "machines": ["dgx-a100", "dgx-h100"], "rate_per_s": "70/s"}
FIRST_PAGE = "/"
MOST_OF_HELLO = 3.0
MOST_OF_COMMAND = 1.15
TICKS = os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """That of this process without options in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")}


@contextmanager
def started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended afterwards."""
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def serve(port: int) -> list[str]:
    """The command that starts the server."""
    return [sys.executable, "-m", "planner", "serve", "--no-browser", "--port", str(port)]


def start_s(words: list[str], address: str) -> float:
    """CPU time until a page is there."""
    with started(words) as process:
        page_of(address, process)
        return taken(process.pid)[0]


def cold_start(runs: int, folder: Path) -> tuple[float, float]:
    """Median CPU time of hello-world and of the server [s]."""
    hello = folder / "hello.py"
    hello.write_text(FASTAPI, encoding="utf-8")
    figures: list[tuple[float, float]] = []
    for _ in range(runs):
        ports = free_port(), free_port()
        figures.append((
            start_s([sys.executable, str(hello), str(ports[0])], f"http://127.0.0.1:{ports[0]}/"),
            start_s(serve(ports[1]), f"http://127.0.0.1:{ports[1]}{FIRST_PAGE}"),
        ))  # fmt: skip
    return tuple(statistics.median(values) for values in zip(*figures, strict=True))  # type: ignore[return-value]


def posted(address: str, question: str, fields: Any) -> bytes:
    """The answer to a question."""
    body, kind = json.dumps(fields).encode(), {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/api/v1/{question}", body, kind)
    with urllib.request.urlopen(request, timeout=600) as found:
        return bytes(found.read())


def children_s(pid: int) -> float:
    """CPU time of a process and of its children that have ended [s]."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, stat[11:15])) / TICKS


def command_of(question: str, fields: Any, folder: Path) -> tuple[bytes, float]:
    """What the command prints, and its CPU time [s]."""
    name = f"{threading.get_ident()}-{time.monotonic_ns()}.json"
    (folder / name).write_text(json.dumps(fields), encoding="utf-8")
    words = [sys.executable, "-m", "planner", question, name, "--format", "json", "--quiet"]
    with subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return text, used.ru_utime + used.ru_stime


def first_plan(runs: int, folder: Path) -> tuple[float, float]:
    """Median CPU time of the command and of the question to a server [s]."""
    figures = []
    for _ in range(runs):
        wanted, command_s = command_of("optimize", PLAN, folder)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with started(serve(port)) as process:
            page_of(f"{address}/api/docs", process)
            before = children_s(process.pid)
            assert posted(address, "optimize", PLAN) == wanted
            figures.append((command_s, children_s(process.pid) - before))
    return tuple(statistics.median(values) for values in zip(*figures, strict=True))  # type: ignore[return-value]


def held(pid: int) -> tuple[float, int]:
    """Resident memory of a process and its descendants [MiB], and how many descendants there are."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(stat[1]), []).append(int(entry.name))
    family, todo = [], [pid]
    while todo:
        one = todo.pop()
        family.append(one)
        todo += parents.get(one, [])
    total = 0.0
    for one in family:
        try:
            total += taken(one)[1]
        except OSError:
            continue
    return total, len(family) - 1


def crowd(people: int, folder: Path) -> tuple[int, float, int, float]:
    """Wrong answers, most memory [MiB], most processes of questions, seconds until the last had an answer."""
    models = ("llama-3.1-8b", "llama-3.1-70b", "llama-2-70b", "mixtral-8x7b")
    asked = [
        PLAN | {"model": models[n % len(models)], "rate_per_s": f"{10 + n}/s", "verify": n % 4 == 0, "verify_runs": 1}
        for n in range(people)
    ]
    port, peak, over = free_port(), [0.0, 0], threading.Event()
    address = f"http://127.0.0.1:{port}"
    with started(serve(port)) as process:
        page_of(f"{address}/api/docs", process)

        def watch() -> None:
            while not over.wait(0.05):
                memory, n = held(process.pid)
                peak[0], peak[1] = max(peak[0], memory), max(peak[1], n)

        watching = threading.Thread(target=watch)
        watching.start()
        begin_s = time.monotonic()
        with ThreadPoolExecutor(people) as crowd:
            answers = list(crowd.map(lambda fields: posted(address, "optimize", fields), asked))
        took_s = time.monotonic() - begin_s
        over.set()
        watching.join()
        assert process.poll() is None and fetched(f"{address}/api/v1/catalog/runtimes")
    wrong = sum(command_of("optimize", f, folder)[0] != a for f, a in zip(asked, answers, strict=True))
    return wrong, float(peak[0]), int(peak[1]), took_s


def main() -> int:
    """Measure, print, and hold against the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--people", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hello_s, serve_s = cold_start(options.runs, folder)
        ratio = serve_s / hello_s
        print(
            f"cold start: {serve_s:.2f} s of CPU, hello-world {hello_s:.2f} s: {ratio:.2f} x"
            f" (at most {MOST_OF_HELLO:g})"
        )
        command_s, question_s = first_plan(options.runs, folder)
        slower = question_s / command_s
        print(
            f"first plan: {question_s:.2f} s of CPU, the command {command_s:.2f} s: {slower:.2f} x"
            f" (at most {MOST_OF_COMMAND:g})"
        )
        wrong, memory, n, took_s = crowd(options.people, folder)
        print(
            f"{options.people} people at once: {wrong} wrong answers; at most {memory:.0f} MiB with {n} processes of"
            f" questions on {os.cpu_count()} cores; {took_s:.0f} s until the last had an answer"
        )
    return int(ratio > MOST_OF_HELLO or slower > MOST_OF_COMMAND or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
