"""The pages in a real browser: what a person does who has never typed a command."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("default")  # of playwright's own loop

_MACHINES = "machine=dgx-a100&machine=dgx-h100"
_QUICK = f"{_MACHINES}&rate=20/s&verify_runs=1&verify_requests=2000"
_ANSWERED_MS = 90_000


def _browser_path() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip("no browser of this machine could be found: install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra [browser] is not installed")
    path = _browser_path()
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def served(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "overlay").mkdir()
    with start(folder / "files", "--overlay", str(folder / "overlay")) as server:
        yield server


@pytest.fixture
def page(browser: Any, served: Any) -> Iterator[Any]:
    """A new visit; nothing may be refused by the page's own policy, and no script may fail."""
    with contextlib.closing(browser.new_context(base_url=served.address)) as context:
        context.set_default_timeout(15_000)
        found = context.new_page()
        faults: list[str] = []
        found.on("pageerror", lambda error: faults.append(str(error)))
        found.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
        yield found
        assert not faults


def _answered(page: Any) -> None:
    page.wait_for_selector("#away, .refusal, h1:text-is('Cancelled')", timeout=_ANSWERED_MS)


@pytest.fixture(scope="module")
def answer(browser: Any, served: Any) -> str:
    """Address of a certified plan."""
    with contextlib.closing(browser.new_context(base_url=served.address)) as context:
        visit = context.new_page()
        visit.goto(f"/?{_QUICK}")
        visit.get_by_role("button", name="Plan", exact=True).click()
        _answered(visit)
        assert visit.locator("#away").count() == 1, visit.locator("main").inner_text()
        return str(visit.url)


def test_first_visit_to_a_certified_plan_by_clicks_alone(page: Any) -> None:
    page.goto("/")
    page.get_by_text("Choose from").click()
    page.get_by_label("dgx-h100", exact=True).check()
    page.get_by_label("dgx-a100", exact=True).check()
    page.get_by_role("button", name="Plan", exact=True).click()
    assert "/answer/" in page.url
    _answered(page)
    text = page.locator("main").inner_text()
    for said in ("What to buy", "Does it meet the objectives?", "met", "simulated (95 % interval)", "Binding",
                 "What else would do", "dgx-h100"):  # fmt: skip
        assert said in text
    assert page.locator("#as-command").inner_text() == "planner optimize --machine dgx-a100 --machine dgx-h100"


def test_downloads_are_what_the_command_writes(page: Any, answer: str, printed: Any, tmp_path: Path) -> None:
    page.goto(answer)
    found: dict[str, bytes] = {}
    for name in ("JSON", "Excel workbook", "Page", "vLLM"):
        with page.expect_download(timeout=60_000) as waiting:
            page.get_by_role("link", name=name, exact=True).click()
        found[name] = Path(waiting.value.path()).read_bytes()
    words = page.locator("#as-command").inner_text().split()
    assert found["JSON"].decode() == printed(*words[1:], "--format", "json", cwd=tmp_path)
    (tmp_path / "plan.json").write_bytes(found["JSON"])
    printed("export", "plan.json", "--xlsx=plan.xlsx", "--html=plan.html", cwd=tmp_path)
    printed("deploy", "plan.json", "--for=vllm", "--output=bundle", cwd=tmp_path)
    assert found["Page"] == (tmp_path / "plan.html").read_bytes()
    with zipfile.ZipFile(io.BytesIO(found["vLLM"])) as bundle:
        assert {n: bundle.read(n) for n in bundle.namelist()} == {
            p.relative_to(tmp_path / "bundle").as_posix(): p.read_bytes()
            for p in (tmp_path / "bundle").rglob("*") if p.is_file()
        }  # fmt: skip
    openpyxl = pytest.importorskip("openpyxl")
    books = [
        openpyxl.load_workbook(io.BytesIO(c)) for c in (found["Excel workbook"], (tmp_path / "plan.xlsx").read_bytes())
    ]
    cells = [{s.title: [[c.value for c in row] for row in s.rows] for s in book} for book in books]
    assert cells[0] == cells[1]


def test_python_of_the_page_gives_its_plan(page: Any, answer: str, tmp_path: Path) -> None:
    page.goto(answer)
    text = page.locator("#as-python").inner_text()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="JSON", exact=True).click()
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout == Path(waiting.value.path()).read_text(encoding="utf-8")


def test_back_reload_and_two_tabs(page: Any, answer: str) -> None:
    page.goto("/?rate=30/s")
    assert page.get_by_label("Rate --rate").input_value() == "30/s"
    page.get_by_label("Max batch").evaluate("e => e.closest('details').open = true")
    page.get_by_label("Max batch").fill("lots")
    page.get_by_role("button", name="Plan", exact=True).click()
    _answered(page)
    assert page.locator("main .refusal code").first.inner_text() == "--max-batch"
    page.reload()
    assert page.locator("main .refusal").count() == 1
    other = page.context.new_page()
    other.goto(answer)
    assert "What to buy" in other.locator("main").inner_text()
    page.go_back()
    assert page.get_by_label("Rate --rate").input_value() == "30/s"
    assert page.get_by_label("Max batch").input_value() == "lots"
    other.get_by_role("link", name="Link that fills the form in again").click()
    assert other.get_by_label("Rate --rate").input_value() == "20/s"
    assert other.get_by_label("dgx-h100", exact=True).is_checked()


def test_errors_are_those_of_the_command(page: Any, printed: Any, tmp_path: Path) -> None:
    page.goto("/?rate=20")
    page.get_by_label("Rate --rate").fill("20 bananas/s")
    page.get_by_role("button", name="Plan", exact=True).click()
    _answered(page)
    error = json.loads(printed("optimize", "--rate", "20 bananas/s", "--format", "json", cwd=tmp_path))["error"]
    text = page.locator(".refusal").first.inner_text()
    for name in ("what", "where", "value", "fix"):
        assert str(error[name]) in text
    assert page.get_by_label("Rate --rate").get_attribute("aria-invalid") == "true"


def test_dropped_trace(page: Any, tmp_path: Path) -> None:
    trace = tmp_path / "Anfragen März.csv"
    rows = "".join(f"{n / 5},{300 + n % 700},{20 + n % 90}\n" for n in range(3000))
    trace.write_text("timestamp,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    page.goto(f"/?{_MACHINES}&verify=no")
    page.get_by_label("or a trace file").set_input_files(trace)
    page.get_by_role("button", name="Plan", exact=True).click()
    _answered(page)
    assert "Anfragen M_rz at 5 requests/s" in page.locator("h1").inner_text()
    plan = page.url
    page.get_by_role("button", name="Why not the others?").click()
    page.wait_for_url(lambda url: url != plan)
    _answered(page)
    assert page.locator(".refusal").count() == 0


def test_cancel(page: Any, served: Any) -> None:
    page.goto(f"/?{_MACHINES}&verify_runs=900&verify_requests=1000000")
    page.get_by_role("button", name="Plan", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("h1").inner_text() == "Cancelled"
    page.get_by_role("link", name="Ask again").click()
    assert page.get_by_label("Verify runs").input_value() == "900"


def test_keyboard_alone(page: Any) -> None:
    page.goto(f"/?{_MACHINES}&verify=no")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_label("Rate --rate").focus()
    page.keyboard.type("25/s")
    page.keyboard.press("Enter")
    page.wait_for_url("**/answer/**")
    _answered(page)
    assert "at 25 requests/s" in page.locator("h1").inner_text()


def test_works_without_script(browser: Any, served: Any) -> None:
    with contextlib.closing(browser.new_context(base_url=served.address, java_script_enabled=False)) as context:
        visit = context.new_page()
        visit.goto(f"/?{_MACHINES}&rate=20/s&verify=no")
        visit.get_by_role("button", name="Plan", exact=True).click()
        _answered(visit)
        assert "What to buy" in visit.locator("main").inner_text()


@pytest.fixture(scope="module")
def priced(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose prices are changed."""
    folder = tmp_path_factory.mktemp("prices")
    with start(folder / "files", "--overlay", str(folder / "overlay")) as server:
        yield server


def test_changed_price(page: Any, priced: Any) -> None:
    page.goto(f"{priced.address}prices?find=dgx-h100")
    page.get_by_role("link", name="dgx-h100", exact=True).first.click()
    assert "Splitwise" in page.locator("table").first.inner_text()
    page.get_by_label("Price of a machine [USD/h]").fill("27")
    page.locator("form[action='/prices/edit'] button").click()
    assert "Saved." in page.locator("#edited").inner_text()
    page.goto(f"{priced.address}?machine=dgx-h100&rate=20/s&verify=no")
    page.get_by_role("button", name="Plan", exact=True).click()
    _answered(page)
    assert "own-dgx-h100-on-demand" in page.locator("main").inner_text()
    count = int(page.locator("table").first.locator("tbody tr td").nth(2).inner_text())
    assert f"${27 * count:.2f}/h" in page.locator("main p").first.inner_text()
    assert "--catalog" in page.locator("#as-command").inner_text()


def test_dropped_quote_with_errors(page: Any, priced: Any, tmp_path: Path) -> None:
    quote = tmp_path / "quote of <b>Acme.csv"
    quote.write_text("machine,price,unit,date,provider\ndgx-h100,26,USD/h,2026-11-20,Acme\n"
                     "foo-9,x,USD/h,2026-11-20,<script>alert(1)</script>\n", encoding="utf-8")  # fmt: skip
    page.goto(f"{priced.address}prices")
    section = page.locator("section", has=page.locator("#quote"))
    section.get_by_label("File", exact=True).set_input_files(quote)
    section.get_by_label("Book --book").fill("acme")
    section.get_by_role("button", name="See what it becomes").click()
    rows = [row.inner_text().split("\t") for row in section.locator("tbody tr").all()]
    assert [(row[0], row[1]) for row in rows] == [("2", "not taken"), ("3", "refused")]
    assert "unknown machine 'foo-9'" in rows[1][2] and "not a price" in rows[1][2]
    assert "<script>" in rows[1][3]
    section.get_by_label("or paste rows").fill("machine,price,unit,date,provider\ndgx-h100,26,USD/h,2026-11-20,Acme\n")
    section.get_by_role("button", name="See what it becomes").click()
    assert "accepted" in section.locator("tbody tr").first.inner_text()
    assert "nothing is yet" in section.inner_text()
    section.get_by_role("button", name="Save").click()  # what was seen: nothing need be dropped again
    assert "Saved." in page.locator("#outcome").inner_text()
    section.get_by_role("button", name="Save").click()
    assert "this price book is there already" in section.inner_text()


def test_procure_by_form_and_by_file(page: Any, printed: Any, tmp_path: Path) -> None:
    page.goto("/buy?rate=10/s&machines=dgx-a100&plans=owned on_demand&horizon=1 year&owned=dgx-a100=1")
    page.get_by_role("button", name="Find the fleet").click()
    _answered(page)
    assert "Least cost:" in page.locator("article pre").inner_text()
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(page.locator("#as-fleet").inner_text(), encoding="utf-8")
    words = page.locator("#as-command").inner_text().split()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="JSON", exact=True).click()
    found = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert found == printed(*words[1:], "--format", "json", cwd=tmp_path)
    fleet.write_text(fleet.read_text(encoding="utf-8").replace("10/s", "10 bananas"), encoding="utf-8")
    page.goto("/buy")
    page.get_by_text("Several loads").click()
    page.get_by_label("File (YAML)").set_input_files(fleet)
    page.get_by_role("button", name="Find the fleet").click()
    _answered(page)
    assert "fleet.yaml:" in page.locator(".refusal code").first.inner_text()


def test_what_if_is_predicted_and_then_certified(page: Any, answer: str) -> None:
    page.goto(answer)
    page.locator("main").get_by_role("link", name="What if?").click()
    page.get_by_label("Load").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**certified=**")
    page.wait_for_selector("caption:text-is('Certified')", timeout=_ANSWERED_MS)
    assert page.get_by_label("Load").input_value() == "1.05"
    assert "at 21 requests/s" in page.locator("article h2").first.inner_text()
    assert page.locator(".refusal").count() == 0


@pytest.mark.parametrize("study", ["Trade-offs", "Simulate it", "Own or rent?"])
def test_questions_about_a_plan(page: Any, answer: str, study: str) -> None:
    page.goto(answer)
    page.get_by_role("button", name=study).click()
    page.wait_for_url(lambda url: url != answer)
    _answered(page)
    assert page.locator(".refusal").count() == 0, page.locator(".refusal").inner_text()
    assert page.locator("article table").count() > 0
    if study != "Own or rent?":
        assert page.locator("figure img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


@pytest.mark.parametrize(
    ("address", "scheme"),
    [(name, "light") for name in ("/", "answer", "/prices", "/buy", "/what-if", "what-if")]
    + [("answer", "dark"), ("/prices", "dark")],
)
def test_no_serious_finding_of_axe_and_no_sideways_scrolling(page: Any, answer: str, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra [browser] is not installed")
    page.emulate_media(color_scheme=scheme)
    of_plan = {"answer": answer, "what-if": answer.partition("?")[0].replace("/answer/", "/what-if/")}
    page.goto(of_plan.get(address, address))
    for details in page.locator("details").all():
        details.evaluate("e => e.open = true")
    for width in (390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page).response["violations"]
    serious = [(f["id"], [n["html"] for n in f["nodes"]][:3]) for f in found if f["impact"] in ("serious", "critical")]
    assert not serious
