# SPDX-License-Identifier: GPL-2.0-or-later
"""A real browser for tests: headless Chromium, driven by the DevTools protocol over a pipe.

No socket is opened for listening and nothing is fetched from the network: name resolution is off,
and the profile is a temporary directory. https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

BOUND = 60.0
"""Seconds to wait for one message of the browser, on a busy machine."""

NAMES = ("chromium", "chromium-browser", "google-chrome")

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)
"""``--no-sandbox``: tests run as root in containers, on pages that the tests generate."""


LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts Chromium, which reads requests from descriptor 3 and writes replies to descriptor 4."""


class BrowserError(Exception):
    """Raised when the browser rejects a request, stays silent or exits."""


def where() -> str | None:
    """Return the browser's path, or None where no browser is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A page in a browser. ``events``: method and parameters of each event that it emitted."""

    def __init__(self, orders: int, answers: int) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self._orders = os.fdopen(orders, "wb", buffering=0)
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._number = 0
        self._session: str | None = None
        threading.Thread(target=self._listen, args=[answers], daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call(
            "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _listen(self, answers: int) -> None:
        rest = b""
        with os.fdopen(answers, "rb", buffering=0) as source:
            while data := source.read(1 << 16):
                *lines, rest = (rest + data).split(b"\0")
                for line in lines:
                    self._lines.put(line)
        self._lines.put(None)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a request and return its result. Raises BrowserError."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        self._orders.write(json.dumps(order).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=BOUND)
        except Empty:
            raise BrowserError(f"nothing was heard for {BOUND} s") from None
        if line is None:
            raise BrowserError("the browser has gone")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def open(self, address: str) -> None:
        """Load a page and wait for its load event."""
        begin = len(self.events)
        self.call("Page.navigate", url=address)
        while not any(method == "Page.loadEventFired" for method, _ in self.events[begin:]):
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited first.

        Raises BrowserError with the exception that the expression threw.
        """
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        codes = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "ArrowRight": 39,
                 "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text,
                      windowsVirtualKeyCode=codes.get(
                          key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0))

    def type(self, words: str) -> None:
        """Type text into the focused element."""
        for letter in words:
            self.press(letter)

    def size(self, width: int, height: int = 900, scale: float = 1.0) -> None:
        """Set the width and height of the page in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=False)

    def media(self, medium: str = "", scheme: str = "light") -> None:
        """Emulate a medium ("print") and a colour scheme ("light" or "dark")."""
        self.call("Emulation.setEmulatedMedia", media=medium, features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """Save a screenshot of the viewport, or of the whole page, and return its path."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def print(self, path: Path) -> Path:
        """Print the page to a PDF and return its path."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF")["data"]))
        return path

    def reported(self, method: str) -> list[Mapping[str, Any]]:
        """Return the parameters of the events with this method name."""
        self.evaluate("1")  # events emitted before this reply have been received
        return [parameters for name, parameters in self.events if name == method]


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run a browser with one page; kill all its processes at the end."""
    with tempfile.TemporaryDirectory(prefix="stf-browser-", ignore_cleanup_errors=True) as profile:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        program = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), path, *SWITCHES,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
