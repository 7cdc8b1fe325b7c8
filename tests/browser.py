"""Headless Chromium, driven through its DevTools protocol over a pair of pipes; no package is needed."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Browser:
    """One page. What it logs and asks the network for is in ``events``."""

    def __init__(self, reading: int, writing: int) -> None:
        self._read, self._write = os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def wait(self, method: str) -> None:
        """Until such an event has come since the last call."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = self._read.read(1 << 16)
            assert more, "the browser has gone"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def show(self, page: Path, *, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Open a page in a window of that width."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """What went to the console, of whatever kind."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def asked_for(self) -> list[str]:
        """The addresses that were asked for."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def named(self, role: str) -> list[str]:
        """What a screen reader says of everything of a role."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        found = (node for node in nodes if not node["ignored"] and node.get("role", {}).get("value") == role)
        return [node.get("name", {}).get("value", "") for node in found]

    def screenshot(self, path: Path) -> None:
        """Of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def printed(self) -> bytes:
        """The page as PDF, in A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        return base64.b64decode(self.call("Page.printToPDF", **paper)["data"])


@contextmanager
def opened() -> Iterator[Browser]:
    assert PROGRAM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:
        """The browser reads from 3 and writes to 4."""
        high = [os.dup2(fd, 200 + place) for place, fd in enumerate((theirs_in, theirs_out))]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, preexec_fn=place, close_fds=False, stdout=quiet, stderr=quiet) as process:
            os.close(theirs_in)
            os.close(theirs_out)
            browser = Browser(ours_in, ours_out)
            try:
                yield browser
            finally:
                process.terminate()
