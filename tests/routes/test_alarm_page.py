"""The page of alarms in a real browser: as they come, by keyboard, with and without keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.browser import Browser, browser, needs_browser
from tests.running_server import Server, glassline, start_server
from tests.small_detector import release_detector

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
QUICK = {
    "events_per_hour": 1, "rate": 0.02, "warm_up_rows": 0, "on_delay_s": 2, "off_delay_s": 2,
    "period_s": 1, "drift_rows": 5,
}  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>"
LIVE = "document.querySelector('#link').textContent === 'live'"


def rows(first: int, count: int, level: float = 0.0, heat: float = 0.0) -> list[dict[str, Any]]:
    found = []
    for second in range(first, first + count):
        noise = np.random.default_rng(second).normal(size=2) * 0.5
        moment = (NOW + timedelta(seconds=second)).isoformat()
        swing = level if second % 2 else -level
        found.append({"time": moment, "pressure": noise[0] + swing, "heat": noise[1] + heat})
    return found


class Line:
    """A server's streams, as machines send them."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, said: Any = None) -> httpx.Response:
        """An answer, once somebody owns the streams of a server that has just started."""
        for _ in range(100):
            answer = httpx.request(
                method, self._url + path, json=said, headers=self._headers, timeout=60,
                trust_env=False,
            )  # fmt: skip
            if answer.status_code != 503:
                break
            time.sleep(0.1)
        return answer

    def send(self, stream: str, sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = self.ask("POST", f"/v2/models/windows/streams/{stream}", sent)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["alarms"])

    def alarm(self, stream: str, *, over: bool = False, **settings: Any) -> str:
        """Begin a stream and raise its first alarm; its id."""
        made = self.ask("PUT", f"/v2/models/windows/streams/{stream}", QUICK | settings)
        assert made.status_code == 200, made.text
        self.send(stream, rows(0, 60))
        (raised,) = self.send(stream, rows(60, 10, level=9.0))
        if over:
            self.send(stream, rows(70, 20))
        return str(raised["alarm"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    release_detector(folder, "windows")
    return folder


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    running = start_server(home, home / "log")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as one:
        yield one


def card(stream: str) -> str:
    """JavaScript that finds the card of a stream."""
    all_of_them = "[...document.querySelectorAll('#alarms > li')]"
    return f"{all_of_them}.find(e => e.innerText.includes('{stream}'))"


def first(window: Browser, stream: str) -> None:
    """Mark the card of a stream, so that selectors find it."""
    window.until(card(stream))
    window.run("document.querySelectorAll('[data-me]').forEach(e => delete e.dataset.me)")
    window.run(f"{card(stream)}.dataset.me = ''")


def test_the_page_needs_no_key_and_holds_itself_to_its_own_script(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        page = http.get("/alarms")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'sha256-" in policy
        assert "connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.text.count("<script") == 1
        assert "src=" not in page.text
        to = http.get("/v2/alarms", headers={"accept": "text/html,*/*;q=0.8"})
        assert (to.status_code, str(to.url.join(to.headers["location"]))) == (
            303, f"{server.url}/alarms"
        )  # fmt: skip
        assert http.get("/v2/alarms").json()["last_event_id"] >= 0


@needs_browser
def test_alarms_come_are_dealt_with_and_come_again_after_a_restart(
    server: Server, home: Path, window: Browser
) -> None:
    line = Line(server.url)
    line.alarm("A1.pump", over=True)
    window.open(f"{server.url}/alarms")
    window.until(LIVE)
    window.until(f"{card('A1.pump')}.className === 'over'")
    # Another comes while the page is open, and stands above it.
    alarm = line.alarm("A2.press")
    window.until(f"{card('A2.press')}?.className === 'new'")
    assert window.run("return document.querySelector('#alarms > li').innerText").startswith("▲ In")
    assert window.run("return document.title") == "(1) Alarms"
    # Nothing is done in nobody's name.
    first(window, "A2.press")
    window.click("[data-me] [data-act=acknowledge]")
    window.until("document.activeElement.id === 'by'")
    assert "Say who you are" in window.text()
    window.type("#by", "Ada Lovelace")
    # By keyboard alone: into the card, its comment, and back to its buttons.
    window.run("document.querySelector('[data-me] details').open = true")
    window.type("[data-me] .comment input", HOSTILE)
    window.run("document.querySelector('[data-me] [data-act=acknowledge]').focus()")
    window.press("enter")
    window.until(f"{card('A2.press')}.className === 'seen'")
    said = line.ask("GET", f"/v2/alarms/{alarm}").json()
    assert (said["acknowledged"], said["changes"][-1]["by"]) == (True, "Ada Lovelace")
    assert said["changes"][-1]["comment"] == HOSTILE
    assert HOSTILE in window.text()  # as text
    window.press("tab")
    assert window.run("return document.activeElement.dataset.verdict") == "true"
    window.press("enter")
    window.until(f"{card('A2.press')}.innerText.includes('called true')")
    assert "events are given back" in window.text()
    window.click("[data-me] [data-act=shelve]")
    window.until(f"{card('A2.press')}.innerText.includes('shelved')")
    assert window.complaints() == []

    port = server.url.rpartition(":")[2]
    assert server.stop() == 0
    window.until("document.querySelector('#link').className === 'lost'")
    again = start_server(home, home / "log", GLASSLINE_PORT=port)
    try:
        line.alarm("A3.oven")
        window.until(LIVE, 40)
        window.until(f"{card('A3.oven')}?.className === 'new'")
        line.send("A2.press", rows(70, 20))
        window.until(f"{card('A2.press')}?.className === 'done'")
        # Not taken from under whoever is in it; it goes once they leave.
        window.run("document.querySelector('#show').focus()")
        window.until(f"!{card('A2.press')}")  # over, acknowledged: no longer open
    finally:
        assert again.stop() == 0


@needs_browser
def test_why_an_alarm_was_raised_and_what_has_drifted_open_as_pages(
    server: Server, window: Browser
) -> None:
    line = Line(server.url)
    line.alarm("B1.pump")
    calm = QUICK | {"rate": 0.001, "on_delay_s": 60}
    made = line.ask("PUT", "/v2/models/windows/streams/B2.belt", calm)
    assert made.status_code == 200
    for at in range(0, 600, 100):
        line.send("B2.belt", rows(at, 100, heat=5.0 if at >= 400 else 0.0))
    window.open(f"{server.url}/alarms")
    window.until(LIVE)
    assert "B2.belt has drifted (heat" in window.text()
    here = window.windows()
    window.click(".notice.drift button")
    window.until("document.querySelector('.notice.drift a')")
    (page,) = set(window.windows()) - set(here)
    window.turn_to(page)
    window.until("document.querySelector('h1')?.innerText === 'heat has drifted'")
    style = "getComputedStyle(document.querySelector('.stance')).display"
    assert window.run(f"return {style}") == "inline-block"  # its own styles are not blocked
    assert window.run("return document.querySelector('img').naturalWidth") > 0
    window.turn_to(here[0])
    first(window, "B1.pump")
    window.click("[data-me] [data-show]")
    window.until("document.querySelector('[data-me] .said a')", 150)  # the first one imports a lot
    (page,) = set(window.windows()) - {*here, page}
    window.turn_to(page)
    window.until("document.querySelector('h1')?.innerText.startsWith('Why')")


@needs_browser
def test_a_flood_is_marked_and_the_page_fits_a_telephone(server: Server, window: Browser) -> None:
    line = Line(server.url)
    for number in range(11):
        line.alarm(f"C1.a-very-long-name-of-a-group-of-sensors-{number}")
    window.narrow(375, 800)
    window.open(f"{server.url}/alarms")
    window.until(LIVE)
    window.until("document.querySelectorAll('#alarms > li').length >= 11")
    assert "Flood of alarms on line C1" in window.text()
    assert window.run("return document.documentElement.scrollWidth") == 375
    small = "[...document.querySelectorAll('.acts button')].filter(b => b.offsetHeight < 40).length"
    assert window.run(f"return {small}") == 0
    assert window.complaints() == []


@needs_browser
def test_where_keys_are_wanted_the_page_asks_for_one_and_says_what_it_may_not_do(
    home: Path, window: Browser
) -> None:
    tokens = {}
    wanted = {
        "machine": ("predict",), "operator": ("predict", "review"), "admin": ("predict", "admin")
    }  # fmt: skip
    for name, scopes in wanted.items():
        options = [word for scope in scopes for word in ("--scope", scope)]
        made = glassline("keys", "create", name, *options, home=home)
        assert made.returncode == 0, made.stderr
        tokens[name] = made.stdout.strip()
    running = start_server(home, home / "log", GLASSLINE_ACCESS="keys")
    try:
        alarm = Line(running.url, tokens["admin"]).alarm("D1.pump")
        window.open(f"{running.url}/alarms")
        window.until("!document.querySelector('#key').hidden")
        assert "no API key" in window.text()
        for token, said in (("wrong", "unknown or was revoked"), (tokens["machine"], "")):
            window.type("#token", f"{token}\ue007")
            if said:
                window.until(f"document.querySelector('#why').innerText.includes('{said}')")
        window.until(LIVE)
        window.type("#by", "Ada")
        first(window, "D1.pump")
        window.click("[data-me] [data-act=acknowledge]")
        window.until("document.body.innerText.includes(\"this needs 'review'\")")
        window.type("#token", f"{tokens['operator']}\ue007")
        window.until("document.querySelector('#key').hidden")
        window.click("[data-me] [data-act=acknowledge]")
        window.until(f"{card('D1.pump')}.className === 'seen'")
        headers = {"authorization": f"Bearer {tokens['machine']}"}
        url = f"{running.url}/v2/alarms/{alarm}"
        found = httpx.get(url, headers=headers, trust_env=False).json()
        assert found["changes"][-1]["by"] == "Ada"
    finally:
        running.stop()
