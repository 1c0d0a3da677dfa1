"""The same small form in the frameworks that `planner serve` might be built on: start, size, what a browser fetches.

    python -m venv A && A/bin/pip install fastapi uvicorn jinja2 python-multipart
    python -m venv B && B/bin/pip install nicegui
    python -m venv C && C/bin/pip install streamlit
    python benchmarks/web_frameworks.py fastapi=A/bin/python nicegui=B/bin/python streamlit=C/bin/python [--runs 3]

A run is a fresh process until its page is answered: CPU time of the process, because others may share the machine, and
its resident memory then. Of the page: bytes with everything that it names, which of that lies elsewhere, and whether
the label of its field and the answer to its form are there without a script. Installed size is that of site-packages
without pip. docs/design_changes.md has the choice that was made on these figures.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

FASTAPI = """
import sys, uvicorn
from typing import Annotated
from fastapi import FastAPI, Form
from fastapi.responses import HTMLResponse
from jinja2 import Environment
page = Environment(autoescape=True).from_string(
    '<!doctype html><html lang="en"><title>t</title><form method="post"><label for="rate">Rate</label>'
    '<input id="rate" name="rate" value="{{ rate }}"><button>Plan</button></form><p>{{ answer }}</p>')
app = FastAPI()
@app.get("/")
def show() -> HTMLResponse:
    return HTMLResponse(page.render(rate="", answer=""))
@app.post("/")
def answer(rate: Annotated[str, Form()]) -> HTMLResponse:
    return HTMLResponse(page.render(rate=rate, answer=f"planned {rate}"))
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""
NICEGUI = """
import sys
from nicegui import ui
@ui.page("/")
def show():
    rate = ui.input("Rate")
    answer = ui.label("")
    ui.button("Plan", on_click=lambda: answer.set_text(f"planned {rate.value}"))
ui.run(port=int(sys.argv[1]), show=False, reload=False, show_welcome_message=False)
"""
STREAMLIT = """
import streamlit as st
rate = st.text_input("Rate")
if st.button("Plan"):
    st.write(f"planned {rate}")
"""
SOURCES = {"fastapi": FASTAPI, "nicegui": NICEGUI, "streamlit": STREAMLIT}


def command(name: str, python: str, file: Path, port: int) -> list[str]:
    """How the framework is started."""
    if name != "streamlit":
        return [python, str(file), str(port)]
    quiet = ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    return [python, "-m", "streamlit", "run", str(file), "--server.port", str(port), *quiet]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def fetched(address: str, data: bytes | None = None) -> bytes:
    """What an address answers."""
    with urllib.request.urlopen(urllib.request.Request(address, data), timeout=10) as found:
        return bytes(found.read())


def page_of(address: str, process: subprocess.Popen[bytes]) -> bytes:
    """The page, as soon as it is there."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            return fetched(address)
        except (OSError, urllib.error.URLError):
            time.sleep(0.02)
    raise SystemExit(f"no page: exit code {process.poll()}")


def taken(pid: int) -> tuple[float, float]:
    """CPU time [s] and resident memory [MiB] of a process."""
    ticks, pages = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * pages / 2**20
    return (int(stat[11]) + int(stat[12])) / ticks, resident


def linked(page: str, address: str) -> list[str]:
    """Addresses of everything that a page names: scripts, styles, modules, pictures."""
    found = re.findall(r"""(?:src|href)=["']([^"'#]+)["']|"(/[^"\\s]+\\.(?:js|mjs|css))\"""", page)
    names = [a or b for a, b in found]
    return list(dict.fromkeys(urllib.parse.urljoin(address, name) for name in names if not name.startswith("data:")))


def installed(python: str) -> tuple[float, int]:
    """Size of site-packages [MiB] and its distributions, without pip and setuptools."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    folder = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    own = [
        p for p in folder.iterdir() if not p.name.startswith(("pip", "setuptools", "_distutils", "distutils-", "__"))
    ]
    files = [f for p in own for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file() and f.suffix != ".pyc"]
    return sum(f.stat().st_size for f in files) / 2**20, sum(p.name.endswith(".dist-info") for p in own)


def main() -> int:
    """Measure each, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frameworks", nargs="+", metavar="NAME=PYTHON")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    chosen = dict(text.split("=", 1) for text in options.frameworks)
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    about: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            for name, python in chosen.items():  # in turn, so that a machine that slows down slows all
                file, port = Path(folder) / f"{name}_form.py", free_port()
                file.write_text(SOURCES[name], encoding="utf-8")
                address = f"http://127.0.0.1:{port}/"
                process = subprocess.Popen(
                    command(name, python, file, port), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                try:
                    page = page_of(address, process).decode("utf-8", "replace")
                    figures[name].append(taken(process.pid))
                    if run == 0:
                        about[name] = _about(page, address)
                finally:
                    process.kill()
                    process.wait()
    print(
        "| framework | CPU s to the page | MiB resident | installed MiB | packages | page |\n|---|---|---|---|---|---|"
    )
    for name, python in chosen.items():
        cpu, memory = (statistics.median(values) for values in zip(*figures[name], strict=True))
        size, n = installed(python)
        print(f"| {name} | {cpu:.2f} | {memory:.0f} | {size:.0f} | {n} | {about[name]} |")
    return 0


def _about(page: str, address: str) -> str:
    own = urllib.parse.urlsplit(address).netloc
    addresses = linked(page, address)
    outside = [a for a in addresses if urllib.parse.urlsplit(a).netloc != own]
    size = len(page.encode())
    for each in addresses:
        if each not in outside:
            try:
                size += len(fetched(each))
            except (OSError, urllib.error.URLError):
                continue
    labelled = "label and field in the HTML" if re.search(r"<label[^>]*for=", page) else "no field without a script"
    try:
        answered = b"planned 3" in fetched(address, b"rate=3")
    except (OSError, urllib.error.URLError):
        answered = False
    form = "form answered" if answered else "form not answered"
    parts = f"{size / 2**10:,.0f} KiB in {1 + len(addresses)} files, {len(outside)} elsewhere"
    return f"{parts}; {labelled}, {form} without one"


if __name__ == "__main__":
    sys.exit(main())
