"""A real headless Chromium, driven through the DevTools protocol over two pipes: no driver, no port, no package.

`python -m tests.browser PAGE PICTURE --width 390` writes a screenshot of a page.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

REMEDY = "no Chromium here: `make system` installs Debian's as root; elsewhere install Chromium or Chrome and name it in CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30.0  # seconds that the browser may take for one answer


def chromium() -> str:
    """Returns the browser's path: that in CHROMIUM, or the first of the usual names.

    Raises:
        RuntimeError: if there is none; says the remedy.
    """
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found or not shutil.which(found):
        raise RuntimeError(REMEDY)
    return found


class Browser:
    """One page of a headless Chromium. What it said on the console, what it threw and what it asked for are noted.

    Use as a context: the process ends with it.
    """

    def __init__(self, width: int = 1400, height: int = 1000, dark: bool = False):
        self.width, self.height, self.dark = width, height, dark
        self.said: list[str] = []
        self.asked: list[str] = []
        self._number, self._rest, self._session = 0, b"", None
        self._loaded = False

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        options = [
            "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self._profile}", "--no-first-run", "--disable-gpu",
            "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars", "--mute-audio",
        ]  # fmt: skip
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses to run as root with it
        # the browser reads commands from descriptor 3 and writes answers to 4
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, chromium(), *options, "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(to_browser, from_browser),
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        target = next(one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(self.width, self.height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, page: Path) -> None:
        """Opens a file, and returns when it and all it shows are loaded."""
        self._loaded = False
        self._call("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + PATIENCE
        while not self._loaded:
            self._take(self._read(end))

    def run(self, script: str) -> Any:
        """Returns the value of an expression; a promise is waited for.

        Raises:
            RuntimeError: if it throws.
        """
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "a script failed"))
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key of the keyboard, e.g. `Tab`, 9; `text` is what it types."""
        what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **what)
        self._call("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        self._call("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._read(end)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._take(answer)

    def _read(self, end: float) -> dict[str, Any]:
        """Returns the browser's next message."""
        while b"\0" not in self._rest:
            with selectors.DefaultSelector() as selector:
                selector.register(self._from, selectors.EVENT_READ)
                ready = selector.select(max(0.0, end - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError(f"{chromium()} gave no answer" if ready else f"{chromium()} gave no answer in {PATIENCE:.0f} s")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _take(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.consoleAPICalled":
                self.said.append(" ".join(str(each.get("value", each.get("description"))) for each in about["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(about["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            case "Log.entryAdded":
                self.said.append(f"{about['entry']['text']} {about['entry'].get('url', '')}".strip())
            case "Network.requestWillBeSent":
                self.asked.append(about["request"]["url"])


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Write a screenshot of a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--to", default="", help="Id of what the window begins with.")
    parser.add_argument("--script", default="0", help="JavaScript that runs before.")
    given = parser.parse_args()
    with Browser(given.width, given.height, given.dark) as browser:
        browser.open(given.page)
        # smooth scrolling would still be under way
        browser.run("document.documentElement.style.scrollBehavior = 'auto'")
        browser.run(given.script)
        if given.to:
            browser.run(f"document.getElementById({json.dumps(given.to)}).scrollIntoView()")
        browser.run("Promise.all([...document.images].map((image) => image.decode()))")
        browser.screenshot(given.picture)


if __name__ == "__main__":
    main()
