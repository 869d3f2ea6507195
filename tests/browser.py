"""A real browser without a screen, spoken to as W3C WebDriver says: headless Chromium."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_server import free_port

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    DRIVER is None or CHROMIUM is None,
    reason="NO BROWSER: pages were not opened in one. Install Debian's chromium-driver.",
)
#: Under this name a found element is spoken of (WebDriver, 12.1).
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"tab": "\ue004", "enter": "\ue007"}


@dataclass
class Browser:
    """One window."""

    http: httpx.Client
    session: str

    def _send(self, method: str, path: str, said: dict[str, Any] | None = None) -> Any:
        body = None if method == "GET" else said or {}
        answer = self.http.request(method, f"/session/{self.session}{path}", json=body)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        self._send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script: str, seconds: float = 20) -> Any:
        """What an expression is once it is something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.run(f"return {script}"):
                return value
            time.sleep(0.05)
        pytest.fail(f"it did not happen: {script}\n{self.text()}")

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.run("return document.body.innerText"))

    def _find(self, selector: str) -> str:
        said = {"using": "css selector", "value": selector}
        return str(self._send("POST", "/element", said)[_ELEMENT])

    def click(self, selector: str) -> None:
        """As with a mouse: it must be in sight, and nothing over it."""
        self._send("POST", f"/element/{self._find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """As on a keyboard, into an element."""
        self._send("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, *names: str) -> None:
        """Keys, wherever the focus is; names are those of `KEYS`."""
        keys = [KEYS[name] for name in names]
        acts = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        said = {"actions": [{"type": "key", "id": "keys", "actions": acts}]}
        self._send("POST", "/actions", said)

    def windows(self) -> list[str]:
        """Handles of all windows."""
        return list(self._send("GET", "/window/handles"))

    def turn_to(self, window: str) -> None:
        """Speak to another window from now on."""
        self._send("POST", "/window", {"handle": window})

    def complaints(self) -> list[str]:
        """What the console has been told of since it was asked last: errors, blocked scripts."""
        said = self._send("POST", "/se/log", {"type": "browser"})
        return [one["message"] for one in said if one["level"] == "SEVERE"]

    def narrow(self, width: int, height: int) -> None:
        """A window of another size, as a telephone has it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        said = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._send("POST", "/goog/cdp/execute", said)

    def picture(self, path: Path) -> None:
        """What is seen, as PNG."""
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))


@contextmanager
def browser(folder: Path, width: int = 1100, height: int = 900) -> Iterator[Browser]:
    """A browser of its own, which forgets everything at the end."""
    assert DRIVER is not None
    port = free_port()
    arguments = [
        "--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},{height}", "--no-proxy-server", "--lang=en-GB",
    ]  # fmt: skip
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium has none for root
    wanted = {
        "browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    }  # fmt: skip
    with (folder / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=log, stderr=log)
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                http.get("/status")
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (folder / "chromedriver.log").read_text()
                time.sleep(0.1)
        answer = http.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
        made = answer.json()["value"]
        assert answer.status_code == 200, made
        one = Browser(http, made["sessionId"])
        try:
            yield one
        finally:
            http.delete(f"/session/{one.session}")
    finally:
        http.close()
        driver.terminate()
        driver.wait(timeout=30)
