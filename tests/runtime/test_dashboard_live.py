"""The dashboard in Chromium against the real server: real mirror, real guard, real audit, one decision by a person."""

import os
from pathlib import Path

import pytest
from live_tank import feed
from served import served

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = os.environ.get("POLLUX_REQUIRE_SERVICES") == "1"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not CHROMIUM.exists() and not REQUIRED, reason="Chromium is not installed"),
]


def test_a_person_tries_proposes_approves_and_stops(kit, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    requests: list[str] = []
    with served(kit, tmp_path) as server, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_context(viewport={"width": 1600, "height": 1000}).new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda e: complaints.append(f"exception: {e}"))
        page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("request", lambda r: requests.append(r.url))

        # the bare address of a project with one twin is that twin; what was fed shows
        page.goto(f"{server.url}?token={server.token()}")
        page.get_by_role("heading", name="Heated tank", level=1).wait_for()
        page.locator(".trend", has_text="level").locator("canvas").wait_for()
        assert page.locator(".trend-value b").first.inner_text().startswith("1.0")

        # what the real filter says of itself, from the readings it has fused
        strip = page.get_by_role("region", name="Trust in the estimate", exact=True)
        strip.get_by_text("Sensors 2 of 2 healthy").wait_for()
        strip.get_by_role("link", name="Details").click()
        page.get_by_role("img", name="NIS per reading: ").first.wait_for()
        sensors = page.get_by_role("region", name="Sensors", exact=True)
        assert sensors.get_by_role("rowheader").all_inner_texts() == ["Level", "Temp"]

        # a trial on the twin becomes a proposal, a person approves it, the guard lets it pass to the pump
        page.get_by_role("link", name="What if").click()
        page.get_by_label("q in", exact=False).first.fill("0.012")
        page.get_by_role("button", name="Try on the twin").click()
        page.get_by_label("Reason", exact=True).fill("Raise the level")
        page.get_by_role("button", name="Propose this action").click()
        card = page.get_by_role("region", name="Proposed action", exact=True)
        card.get_by_label("Reason for the decision").fill("Agreed")
        assert server.pump.sent == []
        card.get_by_role("button", name="Approve").click()
        page.get_by_text("Last proposal executed").wait_for()
        assert server.pump.sent[0].values["q_in"] == pytest.approx(0.012)

        # the stop is latched and sends the safe command; it is reset with a reason
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Stop now").click()
        page.get_by_text("Stopped by hand.").wait_for()
        page.get_by_role("button", name="Stopped").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("Checked")
        page.get_by_role("button", name="Reset the stop").click()
        page.get_by_text("Stopped by hand.").wait_for(state="hidden")
        page.get_by_role("link", name="Audit").click()
        page.get_by_role("cell", name="Agreed").wait_for()
        page.get_by_text("Chain verified").wait_for()

        # a sensor that jumps is an alarm, acknowledged by a person
        feed(server.host.lane.live, n=6, start=12, level=1.4)  # type: ignore[union-attr]
        alarms = page.get_by_role("region", name="Alarms", exact=True)
        alarms.get_by_role("button", name="Ack: Level disagrees").click()
        alarms.get_by_text("acknowledged by").wait_for()

        # what the server says of a past that it does not keep is shown in its words, and the way back works
        page.evaluate("location.hash = '#/twin/tank?at=2023-11-14T22:13:20Z'")
        page.get_by_role("heading", name="Nothing can be shown for 2023-11-14 22:13:20 UTC").wait_for()
        page.get_by_role("alert").filter(has_text="The past of twin 'tank' is not kept").wait_for()
        page.locator("#main").get_by_role("button", name="Back to live").click()
        page.locator(".trend", has_text="level").locator("canvas").wait_for()
        refused = [c for c in complaints if "the server responded with a status of" in c]  # the browser's own words
        assert len(refused) == 1
        complaints.remove(refused[0])
        browser.close()
    own = (server.url, server.url.replace("http", "ws", 1), "data:", "blob:")
    assert [u for u in requests if not u.startswith(own)] == []
    assert complaints == []
