"""The dashboard in a real browser on a simulated API: what people see and do, and what the page must never do.

The mock server (`web/mock`) speaks the shapes of the API and is deterministic in event time. Chromium is needed; it is
skipped where it is missing, and its absence is a failure under POLLUX_REQUIRE_SERVICES=1.
"""

import contextlib
import csv
import gzip
import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
STATIC = ROOT / "src/pollux/runtime/serve/static"
CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("POLLUX_REQUIRE_SERVICES") == "1"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESK = {"width": 1600, "height": 1000}
PHONE = {"width": 390, "height": 844}
TWIN = "#/twin/westfield"

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not CHROMIUM.exists() and not REQUIRED, reason="Chromium is not installed"),
]


@contextlib.contextmanager
def mock(twins: int) -> Iterator[str]:
    """The simulated API with so many pumps besides its three sites."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, str(ROOT / "web/mock/server.py"), f"--port={port}", f"--twins={twins}", "--tick=0.25"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            if process.poll() is not None:
                pytest.fail(f"the mock server ended: {process.stdout.read().decode()}")  # type: ignore[union-attr]
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
                break
            time.sleep(0.05)
        yield url
        process.terminate()


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with mock(1000) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Seen:
    """Everything that one page asked for or complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def console(self, message) -> None:
        # the browser itself reports refused answers and broken sockets, which some tests cause on purpose
        if message.type in {"error", "warning"} and not re.search("Failed to load|WebSocket", message.text):
            self.complaints.append(message.text)


def steer(base: str, verb: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{base}/mock/{verb}", method="POST"), timeout=5).close()


@pytest.fixture(scope="module")
def contexts(base: str, browser) -> Iterator[Callable]:
    """Browser profiles, one per size and theme; a fresh one has no cookie, no cache and no memory."""
    kept: dict[tuple, object] = {}

    def get(size: dict, theme: str, fresh: bool, signed_in: bool):
        key = (size["width"], theme, len(kept) if fresh else None)
        if key not in kept:
            context = browser.new_context(viewport=size, color_scheme=theme, accept_downloads=True)
            context.set_default_timeout(15_000)
            if signed_in:
                context.request.post(f"{base}/api/v1/login", data={"token": "mock"})
            kept[key] = context
        return kept[key]

    yield get
    for context in kept.values():
        context.close()  # type: ignore[attr-defined]


@pytest.fixture
def visit(base: str, contexts) -> Iterator[Callable]:
    """`visit(path, ...)` opens a page; at the end nothing foreign was asked for and nothing complained."""
    steer(base, "reset")
    pages, watched = [], []

    def go(path: str, *, size=DESK, theme="light", fresh=False, signed_in=True, clock=False):
        page = contexts(size, theme, fresh or not signed_in, signed_in).new_page()
        pages.append(page)
        if clock:
            page.clock.install()
        seen = Seen()
        watched.append(seen)
        page.on("request", lambda r: seen.requests.append(r.url))
        page.on("pageerror", lambda e: seen.complaints.append(f"exception: {e}"))
        page.on("console", seen.console)
        page.seen = seen
        page.goto(f"{base}/{path}")
        return page

    yield go
    for page in pages:
        page.close()
    own = (base, base.replace("http", "ws", 1), "data:", "blob:")
    for seen in watched:
        assert [url for url in seen.requests if not url.startswith(own)] == []
        assert seen.complaints == []


def region(page, name: str):
    return page.get_by_role("region", name=name, exact=True)


def until(page, script: str, seconds: float = 10.0) -> None:
    """Waits for a condition; the page's own policy forbids the polling that Playwright would put into it."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, f"never true: {script}"
        page.wait_for_timeout(50)


def drawn(page) -> None:
    """Waits until the charts have lines."""
    until(page, "document.querySelectorAll('.plot canvas').length >= 6")


# --- loading


def test_first_load_is_small_and_all_our_own(visit, base) -> None:
    page = visit("#/fleet", fresh=True)
    page.get_by_role("heading", name="Fleet").wait_for()
    page.evaluate("document.fonts.ready.then(() => 1)")
    files = {url.removeprefix(base).split("?")[0] for url in page.seen.requests if "/api/" not in url}
    assert files - {"/icon.svg"} == {"/", "/app.js", "/app.css", "/inter.woff2"}
    raw = {p.name: p.read_bytes() for p in STATIC.iterdir()}
    weight = sum(len(b if n.endswith("woff2") else gzip.compress(b)) for n, b in raw.items() if n != "inter-OFL.txt")
    assert weight < 105_000


def test_built_files_say_so_and_name_no_address() -> None:
    for name in ("index.html", "app.js", "app.css", "icon.svg"):
        text = (STATIC / name).read_text()
        assert "built file, do not edit; see web/" in text[:200], name
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert {a for a in addresses if not a.startswith("http://www.w3.org/")} == set(), name


def test_without_a_session_only_the_sign_in_form(visit) -> None:
    page = visit(TWIN, signed_in=False)
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").filter(has_text="not known").wait_for()
    page.get_by_label("Access token").fill("mock")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Westfield water", level=1).wait_for()


def test_what_a_role_may_not_do_is_shown_and_locked(visit) -> None:
    page = visit(TWIN, signed_in=False)
    page.get_by_label("Access token").fill("mock-viewer")
    page.keyboard.press("Enter")
    approve = page.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    until(page, "document.querySelector('button.stop').disabled")
    assert approve.is_disabled()
    assert approve.get_attribute("title") == "Needs the role operator"
    assert page.get_by_role("button", name="Ack: ").first.is_disabled()
    assert page.get_by_role("textbox", name="Your question").is_enabled(), "asking is for everybody"


# --- accessibility

PAGES = {
    "fleet": "#/fleet",
    "twin": TWIN,
    "what-if": f"{TWIN}/what-if",
    "trust": f"{TWIN}/trust",
    "alarms": f"{TWIN}/alarms",
    "audit": f"{TWIN}/audit",
    "definition": f"{TWIN}/definition",
    "faults": f"{TWIN}/faults",
    "signal": f"{TWIN}/signal/p_hill",
    "past": f"{TWIN}?at=2026-11-24T11:03:00Z",
}


def violations(page, only: list[str] | None = None) -> list[str]:
    page.evaluate(AXE.read_text())
    options = {"resultTypes": ["violations"]} | ({"runOnly": only} if only else {})
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [f"{v['id']}: {[n['html'][:120] + ' ' + n['failureSummary'][:200] for n in v['nodes'][:3]]}" for v in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(visit, theme: str) -> None:
    if not AXE.exists() and not REQUIRED:
        pytest.skip("axe-core is missing (`npm ci` in web/)")
    found = {}
    only = None if theme == "light" else ["color-contrast"]  # the one rule that the theme can change
    for size, names in ((DESK, list(PAGES)), (PHONE, ["fleet", "twin", "past"])):
        page = visit("#/fleet", size=size, theme=theme)
        for name in names:
            page.evaluate("hash => { location.hash = hash }", PAGES[name])
            page.locator("main .card").first.wait_for()
            if name == "twin":
                drawn(page) if size is DESK else page.get_by_role("heading", name="Alarms").wait_for()
                page.locator(".alarm-text").first.click()
            if name == "past":
                region(page, "Known then, and now about the same instant").get_by_text("What came later").wait_for()
            found[f"{name} {size['width']}"] = violations(page, only)
        page.evaluate("hash => { location.hash = hash }", TWIN)
        if size is DESK:
            page.get_by_role("button", name="Stop").click()
            found["dialog"] = violations(page, only)
    found["login"] = violations(visit("#/fleet", theme=theme, signed_in=False), only)
    assert {k: v for k, v in found.items() if v} == {}


def test_charts_are_worked_from_the_keyboard(visit) -> None:
    page = visit(f"{TWIN}?range=21600")
    drawn(page)
    page.locator(".plot").first.focus()
    page.keyboard.press("ArrowLeft")
    go_live = page.get_by_role("button", name="Go live")
    go_live.wait_for()
    page.keyboard.press("+")
    page.keyboard.press("Home")
    page.get_by_role("button", name="Pause").wait_for()


# --- fleet


def rows(page) -> list[str]:
    return page.locator(".fleet-table tbody tr:not(.spacer) th a").all_inner_texts()


def test_fleet_is_worst_first_filtered_sorted_and_saved(visit) -> None:
    page = visit("#/fleet")
    page.get_by_role("link", name="Westfield water").wait_for()
    table = page.get_by_role("table")
    assert table.get_attribute("aria-rowcount") == "1004"
    words = page.locator(".fleet-table tbody .status").all_inner_texts()
    assert words == sorted(words, key=["Act", "Watch", "Good"].index)
    assert len(rows(page)) < 80, "only the rows in sight exist"
    page.locator(".fleet-table").evaluate("box => box.scrollTo(0, 20000)")
    until(page, "document.querySelectorAll('.fleet-table tbody .good').length > 10")
    page.locator(".fleet-table").evaluate("box => box.scrollTo(0, 0)")
    page.get_by_role("searchbox").fill("water act")
    until(page, "document.querySelectorAll('.fleet-table tbody tr').length === 3")
    assert {"Quarry water", "Westfield water"} < set(rows(page))
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    table_rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {r["name"] for r in table_rows} == {"quarry", "westfield", "hostile"}
    assert all(0 < float(r["Pressure hill"]) < 10 for r in table_rows)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Data age").click()
    until(page, "document.querySelector('.c-age').ariaSort === 'ascending'")
    assert "sort=data_age" in page.url, "the view is a deep link"


IN_SIGHT = """box => [0.1, 0.5, 0.9].every(share => {
    const { left, top, height } = box.getBoundingClientRect();
    const row = document.elementFromPoint(left + 40, top + share * height)?.closest("tr");
    return row && !row.matches(".spacer, .blank");
})"""
"""Whether the table shows rows, not the room for them."""


@pytest.fixture(scope="module")
def many() -> Iterator[str]:
    with mock(99_997) as url:
        yield url


def test_a_hundred_thousand_twins_are_a_table_like_any_other(many: str, contexts) -> None:
    context = contexts(DESK, "light", True, False)
    context.request.post(f"{many}/api/v1/login", data={"token": "mock"})
    page = context.new_page()
    answers: list[int] = []
    page.on(
        "response", lambda r: answers.append(int(r.headers.get("content-length", 0))) if "/twins" in r.url else None
    )
    page.goto(f"{many}/#/fleet?sort=title")
    page.get_by_role("link", name="Pump P-100", exact=True).wait_for(timeout=30_000)
    table, box = page.get_by_role("table"), page.locator(".fleet-table")
    assert table.get_attribute("aria-rowcount") == "100001"
    page.get_by_role("button", name="100,000 twins").wait_for()

    # wherever one scrolls, the rows in sight come, in their places, and no others exist
    for share in (0.5, 0.123, 1.0):
        box.evaluate("(box, share) => box.scrollTo(0, share * box.scrollHeight)", share)
        until(page, f"({IN_SIGHT})(document.querySelector('.fleet-table'))", 20.0)
        assert page.locator(".fleet-table tbody tr").count() < 80
        shown = [int(t.removeprefix("Pump P-")) for t in rows(page) if t.startswith("Pump")]
        assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert rows(page)[-1] == "Westfield water", "the last row of the alphabet"
    last = page.locator(".fleet-table tbody tr:not(.spacer)").last
    assert last.get_attribute("aria-rowindex") == "100001"
    inside = "tr => tr.getBoundingClientRect().bottom <= tr.closest('.fleet-table').getBoundingClientRect().bottom + 1"
    assert last.evaluate(inside), "the last row is in sight"

    # the keyboard reaches every row: one stop of Tab for the table's rows, then the arrows
    focused = "document.activeElement.textContent"
    box.focus()
    page.keyboard.press("Home")
    until(page, f"{focused} === '<img src=x onerror=window.hurt=6>'", 20.0)  # the hostile twin sorts first
    page.keyboard.press("ArrowDown")
    until(page, f"{focused} === 'Pump P-100'")
    page.keyboard.press("PageDown")
    until(page, f"/^Pump P-1[12]\\d$/.test({focused})")
    page.keyboard.press("End")
    until(page, f"{focused} === 'Westfield water'", 20.0)
    page.keyboard.press("ArrowUp")
    until(page, f"{focused} === 'Quarry water'")
    assert page.locator(".fleet-table tbody a[tabindex='0']").count() == 1

    # filter and status: asked of the server, answered with the matching rows alone
    page.get_by_role("searchbox").fill("pump p-99 act")
    until(page, "document.querySelector('.matched').textContent !== ''", 20.0)
    until(page, "[...document.querySelectorAll('.fleet-table tbody th a')].every(a => a.textContent.includes('P-99'))")
    assert page.locator(".fleet-table tbody tr:not(.spacer)").count() > 0
    assert box.evaluate("box => box.scrollTop") == 0, "another view begins at the top"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("group", name="Show by status").get_by_role("button", name="Act").click()
    until(page, "document.querySelectorAll('.fleet-table tbody tr.good, .fleet-table tbody tr.watch').length === 0")
    assert "status=act" in page.url
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    found = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(found) == int(table.get_attribute("aria-rowcount")) - 1
    assert {r["status"] for r in found} == {"act"}
    watching = [size for size in answers if size < 200_000]
    assert len(answers) - len(watching) <= len(found) / 5000 + 1, "only the file needs more than the rows in sight"


# --- twin


def test_twin_page_is_made_from_the_definition(visit) -> None:
    for name, inputs in (("westfield", 3), ("quarry", 3)):
        page = visit(f"#/twin/{name}?range=21600")
        drawn(page)
        assert page.locator(".trend").count() == 6 + inputs
        level = page.locator('.schematic [data-signal="level"]')
        until(page, "/\\d\\.\\d\\d/.test(document.querySelector('.schematic [data-signal=level]').textContent)")
        assert re.match(r"\d\.\d\d", level.inner_html() or "")
        chat = page.get_by_role("textbox", name="Your question").bounding_box()
        assert chat
        assert chat["y"] + chat["height"] <= DESK["height"], "the chat is in sight without scrolling"
        stop = page.get_by_role("button", name="Stop").bounding_box()
        assert stop
        assert stop["x"] + stop["width"] <= DESK["width"]


@pytest.mark.parametrize("seconds", [21_600, 86_400])
def test_cursors_are_shared_and_read_out(visit, seconds: int) -> None:
    page = visit(f"{TWIN}?range={seconds}")  # a pixel is more than one row of a minute
    drawn(page)
    page.get_by_role("button", name="Pause").click()
    lines = page.locator(".trend-line")
    dated = r"/^(\d\d-\d\d )?\d\d:\d\d/"
    reading = f"[...document.querySelectorAll('.trend-line')].slice(0, 6).every(e => {dated}.test(e.textContent))"
    pointed = set()
    for x in (60, 61, 97, 150, 203, 260):
        page.locator(".plot .u-over").first.hover(position={"x": x, "y": 30})
        until(page, reading)
        times = {text.split("·")[0].strip() for text in lines.all_inner_texts()[:6]}
        assert len(times) == 1, f"all charts read the same time, received {times}"
        pointed |= times
    assert len(pointed) >= 5, "the reading follows the pointer"
    page.mouse.move(5, 5)
    until(page, f"!{reading}")


def test_a_drag_zooms_every_chart_and_a_double_click_returns(visit) -> None:
    page = visit(f"{TWIN}?range=21600")
    drawn(page)
    box = page.locator(".plot .u-over").first.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 40, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Go live").wait_for()
    until(page, "location.hash.includes('window=')")
    link = page.url
    again = visit(link.split("/", 3)[3])
    again.get_by_role("button", name="Go live").wait_for()
    assert again.url == link, "a moment can be sent as a link"
    page.locator(".plot .u-over").nth(3).dblclick()
    page.get_by_role("button", name="Pause").wait_for()


def test_approval_shows_both_futures_and_a_person_decides(visit) -> None:
    page = visit(TWIN)
    card = region(page, "Proposed action")
    text = card.inner_text()
    for words in ("Pump 2 speed", "0.85", "Acting", "Not acting", "31 %", "expires in", "Raises hill pressure"):
        assert words in text
    card.get_by_role("button", name="Approve").click()
    page.get_by_text("Last proposal executed").wait_for()
    assert card.count() == 0


def test_a_rejection_needs_a_reason(visit) -> None:
    page = visit(TWIN)
    card = region(page, "Proposed action")
    card.get_by_role("button", name="Reject").click()
    assert card.get_by_label("Reason for the decision").get_attribute("aria-invalid") == "true"
    card.get_by_label("Reason for the decision").fill("The valve is in service")
    card.get_by_role("button", name="Reject").click()
    page.get_by_text("Last proposal rejected").wait_for()
    page.get_by_role("link", name="Audit").click()
    page.get_by_role("cell", name="The valve is in service").wait_for()
    page.get_by_text("Chain verified").wait_for()


def test_alarms_are_acknowledged_explained_and_shelved(visit) -> None:
    page = visit(TWIN)
    alarms = region(page, "Alarms")
    alarms.get_by_text("3 unacknowledged").wait_for()
    assert alarms.get_by_role("img", name="Priority 1").count() == 1
    alarms.get_by_role("button", name="Ack: Pump 2 draws").click()
    alarms.get_by_text("2 unacknowledged").wait_for()
    alarms.locator(".alarm-text", has_text="Town demand above").click()
    alarms.get_by_role("button", name="Explain").click()
    alarms.get_by_text("Recorded chain").wait_for()
    alarms.get_by_role("button", name="Shelve 60 min").click()
    alarms.get_by_text("1 unacknowledged, 1 shelved").wait_for()


def test_stop_is_confirmed_latched_and_reset_with_a_reason(visit) -> None:
    page = visit(TWIN)
    page.get_by_role("button", name="Stop").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.get_by_role("button", name="Stop").click()
    dialog.get_by_role("button", name="Stop now").click()
    page.get_by_text("Stopped by hand.").wait_for()
    page.get_by_role("button", name="Stopped").click()
    dialog.get_by_label("Reason").fill("Cause removed")
    dialog.get_by_role("button", name="Reset the stop").click()
    page.get_by_text("Stopped by hand.").wait_for(state="hidden")


def test_level_is_changed_with_a_reason(visit) -> None:
    page = visit(TWIN)
    page.get_by_role("button", name="Autonomy level L2").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name=re.compile("L1 Advise")).check()
    dialog.get_by_label("Reason").fill("Night shift")
    dialog.get_by_role("button", name="Set level 1").click()
    page.get_by_role("button", name="Autonomy level L1 Advise").wait_for()


def test_the_twin_answers_with_its_facts(visit) -> None:
    page = visit(TWIN)
    chat = region(page, "Ask the twin")
    chat.get_by_role("button", name="Will any limit be crossed?").click()
    chat.get_by_text("31 % probability").wait_for()
    chat.get_by_text("From observe, forecast").wait_for()
    chat.get_by_label("Your question").fill("Why?")
    page.keyboard.press("Enter")
    chat.get_by_text("(You asked: Why?)").wait_for()


def test_what_if_compares_and_proposes(visit) -> None:
    page = visit(f"{TWIN}/what-if")
    page.get_by_label("Pump 2 speed", exact=False).first.fill("1.1")
    page.get_by_role("button", name="Try on the twin").click()
    page.get_by_role("columnheader", name="Risk of crossing").wait_for()
    page.get_by_label("Reason", exact=True).fill("Keep the hill supplied")
    page.get_by_role("button", name="Propose this action").click()
    page.get_by_text("Proposal p2 is pending").wait_for()


def test_a_fault_put_into_the_plant_becomes_an_alarm(visit) -> None:
    page = visit(f"{TWIN}/faults")
    page.get_by_label("Kind").select_option("sensor_stuck")
    page.get_by_label("Where").select_option("p_north")
    page.get_by_role("button", name="Inject fault").click()
    page.get_by_text("Sent to the plant: sensor stuck, Pressure north.").wait_for()
    page.get_by_text("readings disagree with every other sensor").wait_for()
    page.locator(".trend", has_text="Pressure north").get_by_text("sensor suspect").wait_for()


def test_trust_in_the_estimate_is_in_sight_and_explained(visit) -> None:
    page = visit(TWIN)
    strip = region(page, "Trust in the estimate")
    strip.get_by_text("Consistent").wait_for()
    for words in (
        "NIS per reading 1.02",
        "Inside the 95 % band 95 %",
        "Sensors 5 of 6 healthy",
        "Late 3",
        "refused 14",
    ):
        assert words in strip.inner_text().replace("\n", " ")
    strip.get_by_role("link", name="Details").click()
    page.get_by_role("img", name="NIS per reading: 1.02, expected 0.95 to 1.05").wait_for()
    page.get_by_role("img", name="Readings inside their 95 % band: 94.9 %, expected 94.3 % to 95.7 %").wait_for()
    sensors = region(page, "Sensors").locator("tbody tr:not(.remarks)")
    assert sensors.count() == 6
    assert "Town demand" in sensors.first.inner_text(), "worst first"
    assert "0.86" in sensors.first.inner_text()
    region(page, "Sensors").get_by_text("2.1% of its readings lie outside the gate").wait_for()
    region(page, "Quarantine of the project").get_by_role("rowheader", name="Unknown tag").wait_for()


def test_a_filter_that_is_too_sure_and_a_dead_sensor_stand_out(visit, base) -> None:
    page = visit(f"{TWIN}/faults")
    page.get_by_label("Kind").select_option("sensor_stuck")
    page.get_by_label("Where").select_option("p_north")
    page.get_by_role("button", name="Inject fault").click()
    page.get_by_text("Sent to the plant").wait_for()
    page.get_by_role("link", name="Trust").click()
    page.get_by_text("Too sure.").wait_for()
    first = region(page, "Sensors").locator("tbody tr").first
    assert "Pressure north" in first.inner_text()
    assert "0.00" in first.inner_text()
    assert "sensor suspect" in first.inner_text()
    page.get_by_text("of 50 stretches above their band").wait_for()


# --- fresh, stale, lost


def test_a_lost_connection_is_shown_and_comes_back(visit, base) -> None:
    page = visit(TWIN)
    page.get_by_role("status").filter(has_text="Live").wait_for()
    steer(base, "refuse")
    page.get_by_role("alert").filter(has_text="Connection lost").wait_for()
    page.get_by_role("status").filter(has_text="Reconnecting").wait_for()
    steer(base, "reset")
    page.get_by_role("status").filter(has_text="Live").wait_for(timeout=20_000)
    page.get_by_role("alert").wait_for(state="hidden")


def test_old_data_and_silence_are_marked_with_their_age(visit, base) -> None:
    page = visit(TWIN, clock=True)
    drawn(page)
    steer(base, "stale")
    page.get_by_role("alert").filter(has_text="The data are").wait_for()
    page.locator(".trend .tag", has_text="stale").first.wait_for()
    steer(base, "reset")
    page.get_by_role("alert").wait_for(state="hidden")
    steer(base, "quiet")
    page.wait_for_timeout(500)
    page.clock.fast_forward(15_000)
    page.get_by_role("alert").filter(has_text="No update for").wait_for()


# --- looks


def test_theme_follows_the_system_then_the_choice(visit) -> None:
    page = visit("#/fleet", theme="dark", fresh=True)
    theme = "document.documentElement.dataset.theme"
    page.get_by_role("button", name="Light theme").wait_for()
    assert page.evaluate(theme) == "dark"
    page.get_by_role("button", name="Light theme").click()
    page.reload()
    page.get_by_role("button", name="Dark theme").wait_for()
    assert page.evaluate(theme) == "light"


def test_a_phone_never_scrolls_sideways(visit) -> None:
    page = visit("#/fleet", size=PHONE)
    widths = {}
    for name, path in PAGES.items():
        page.evaluate("hash => { location.hash = hash }", path)
        page.locator("main .card").first.wait_for()
        page.wait_for_timeout(150)
        widths[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {k: w for k, w in widths.items() if w > PHONE["width"]} == {}


# --- hostile input


def test_markup_in_names_alarms_and_schematic_does_nothing(visit) -> None:
    page = visit("#/twin/hostile")
    page.locator(".schematic #kept").wait_for(state="attached")
    page.get_by_text("<script>window.hurt=7</script>").first.wait_for()
    kept = page.locator(".schematic").inner_html()
    for word in ("script", "onload", "onclick", "foreignObject", "href", "style", "192.0.2.1", "image"):
        assert word not in kept
    until(page, "document.querySelector('.schematic [data-signal=level]').textContent !== 'old'")
    assert page.evaluate("window.hurt") is None
    blocked = [c for c in page.seen.complaints if "has been blocked" in c]  # the policy speaks while the text is parsed
    page.seen.complaints[:] = [c for c in page.seen.complaints if c not in blocked]


# --- the past as it was known


def past_bar(page, title: str):
    bar = region(page, "Past view")
    bar.get_by_text(title).wait_for()
    return bar


def calls(page, word: str) -> int:
    return sum(word in url for url in page.seen.requests)


def test_an_instant_of_the_past_is_shown_as_it_was_known(visit) -> None:
    page = visit(f"{TWIN}?range=21600")
    other = visit(TWIN)
    drawn(page)
    page.get_by_role("button", name="Look back").click()
    page.get_by_label("Instant, UTC").fill("2026-11-24T11:03:00")
    page.keyboard.press("Enter")
    bar = past_bar(page, "As known at 2026-11-24 11:03:00 UTC")
    assert "at=2026-11-24T11%3A03%3A00Z" in page.url, "it can be sent as a link"
    until(page, "document.title.includes('2026-11-24 11:03:00')")

    # the belief of then, and how far what is known now differs
    known = region(page, "Known then, and now about the same instant")
    known.get_by_text("What came later changes 2 of 9 values, 1 beyond the band of then.").wait_for()
    volume = known.get_by_role("row", name="Tank volume").inner_text()
    assert "sd)" in volume
    assert "outside the band" in volume
    assert "came later" in known.get_by_role("row", name="Town demand").inner_text()
    assert "same" in known.get_by_role("row", name="Tank level").inner_text()

    # the live page goes on beside it and changes nothing here; the present stays in sight
    before = known.inner_text(), page.locator(".trend-value").all_inner_texts()
    clock = page.locator(".asset-time").inner_text()
    assert clock.startswith("now ")
    until(page, f"document.querySelector('.asset-time').textContent !== {clock!r}")
    page.wait_for_timeout(700)
    assert (known.inner_text(), page.locator(".trend-value").all_inner_texts()) == before
    bar.get_by_text("now", exact=False).last.wait_for()

    # nothing acts but the stop, which is of the present
    for name in ("Approve", "Reject", "Set level", "Acknowledge with note"):
        assert page.get_by_role("button", name=name, exact=True).count() == 0
    assert page.get_by_role("button", name="Ack: ").count() == 0
    level = page.get_by_role("button", name="Autonomy level")
    assert level.is_disabled()
    assert level.get_attribute("title") == "This is the past; go back to live to act"
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop now").click()
    page.get_by_text("Stopped by hand.").wait_for()
    other.get_by_text("Stopped by hand.").wait_for()
    assert region(other, "Past view").count() == 0, "who looks at the present is left there"

    # pages keep the instant; the link shows the same; the browser's back button leads back
    page.get_by_role("link", name="Tank level").click()
    page.get_by_role("link", name="All charts").click()
    past_bar(page, "As known at 2026-11-24 11:03:00 UTC")
    sent = visit(page.url.split("/", 3)[3])
    past_bar(sent, "As known at 2026-11-24 11:03:00 UTC")
    sent.get_by_role("button", name="Later by 60 s").click()
    past_bar(sent, "As known at 2026-11-24 11:04:00 UTC")
    sent.go_back()
    past_bar(sent, "As known at 2026-11-24 11:03:00 UTC")
    sent.get_by_role("button", name="Back to live").click()
    sent.get_by_role("button", name="Approve", exact=True).wait_for()
    assert "at=" not in sent.url


def test_looking_back_fits_a_phone(visit) -> None:
    page = visit(TWIN, size=PHONE)
    page.get_by_role("button", name="Look back").click()
    page.get_by_label("Instant, UTC").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="What did we know?").click()
    region(page, "Known then, and now about the same instant").get_by_text("What came later").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    heads = page.locator(".card-head h2").evaluate_all(
        "all => all.map(h => [h.getBoundingClientRect().top, h.textContent])"
    )
    order = [text for _, text in sorted(heads)]
    assert order.index("Known then, and now about the same instant") < order.index("Proposed action")


def test_a_click_in_a_chart_looks_back_only_when_asked_to(visit) -> None:
    page = visit(f"{TWIN}?range=21600")
    drawn(page)
    plot = page.locator(".plot .u-over").first
    plot.click(position={"x": 60, "y": 40})
    page.wait_for_timeout(200)
    assert "at=" not in page.url
    page.get_by_role("button", name="Look back").click()
    plot.click(position={"x": 60, "y": 40})
    past_bar(page, "As known at 2026-11-24")
    first = page.url
    page.locator(".plot .u-over").first.click(position={"x": 90, "y": 40})
    until(page, f"location.href !== {first!r}")
    page.locator(".plot").first.focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Look back").wait_for()


@pytest.mark.parametrize(
    ("at", "why"),
    [("2026-11-20T14:03:00Z", "no reading had come"), ("2026-11-30T14:03:00Z", "has not come to")],
    ids=["before the first reading", "beyond the end"],
)
def test_an_instant_of_which_nothing_is_known_says_so(visit, at: str, why: str) -> None:
    page = visit(f"{TWIN}?at={at}")
    page.get_by_role("heading", name="Nothing can be shown for 2026-11-").wait_for()
    page.get_by_role("alert").filter(has_text=why).wait_for()
    assert page.locator(".trend, .schematic").count() == 0
    assert page.get_by_role("button", name="Stop").is_enabled()
    page.locator("#main").get_by_role("button", name="Back to live").click()
    drawn(page)


def test_an_instant_that_no_one_can_read_is_the_present(visit) -> None:
    page = visit(f"{TWIN}?at=yesterday")
    page.get_by_role("button", name="Approve", exact=True).wait_for()
    assert calls(page, "recall") == 0


def test_a_recall_that_takes_long_is_cancelled_and_one_that_fails_is_tried_again(visit, base) -> None:
    page = visit(TWIN)
    drawn(page)
    steer(base, "slow")
    page.evaluate("location.hash += '?at=2026-11-24T11:03:00Z'")
    bar = past_bar(page, "Computing what was known then")
    bar.get_by_text("2 s").wait_for()
    assert page.get_by_role("button", name="Stop").is_enabled()
    bar.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Look back").wait_for()
    steer(base, "reset")
    steer(base, "broken")
    page.evaluate("location.hash += '?at=2026-11-24T11:03:00Z'")
    page.get_by_role("alert").filter(has_text="The server answered 500.").wait_for()
    steer(base, "reset")
    page.get_by_role("button", name="Try again").click()
    past_bar(page, "As known at 2026-11-24 11:03:00 UTC")
