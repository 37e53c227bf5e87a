"""Pages in real headless Chromium, driven through its DevTools protocol: real keys, real widths, real print.

The protocol runs over two pipes (`--remote-debugging-pipe`): no port, no driver, nothing but Chromium itself.
Pictures of a report to look at, light and dark, wide and narrow, and its print-out:

    python -m tests.results.browser results/runs/demo/report.html pictures
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    "--disable-component-update --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
)
PATIENCE = 60
"""Seconds for any one answer."""
KEYS = {"Tab": (9, None), "Enter": (13, "\r"), "Backspace": (8, None), "ArrowRight": (39, None)}
"""Keys that are not letters: the code that Chromium knows them by, and the text that they type."""
SHIFT = 8
SLICE = 1500
"""Pixels of the page in one picture."""
DRAWN = """new Promise((done) => {
  const count = (selector) => document.querySelectorAll(selector).length;
  const end = performance.now() + 30000;
  const look = () => count(".vega") === count(".vega svg.marks") || performance.now() > end
    ? done(true) : setTimeout(look, 20);
  look();
})"""
"""Comes true once all figures are drawn, or will hardly ever be."""


class Chromium:
    """One Chromium with one page in it; every command waits for its answer."""

    def __init__(self, profile):
        ours, self._to = os.pipe()
        self._from, theirs = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (ours, theirs)]
        silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        places = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(ends, (3, 4), strict=True)]
        command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(CHROMIUM, command, os.environ, file_actions=[*silence, *places])
        for end in (ours, theirs, *ends):
            os.close(end)
        self._numbers, self._buffer, self._session = itertools.count(1), b"", None
        self.complaints, self.requests = [], []
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self):
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Send a command and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("Chromium went silent" if not ready else "Chromium ended")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        """Keep what a page complains of, and what it asks a network for."""
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(word.get("value")) for word in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(
            ("data:", "blob:")
        ):
            self.requests.append(told["request"]["url"])

    def open(self, path, *, width, height=900, dark=False):
        """Open a file in a window of that many pixels, and wait until all its figures are drawn."""
        self.complaints, self.requests = [], []
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        self.media(dark=dark)
        self.send("Page.navigate", url=path.as_uri())
        while self.run("document.readyState") != "complete" or self.run("location.href") != path.as_uri():
            time.sleep(0.02)
        self.run(DRAWN)

    def media(self, *, dark=False, printed=False):
        """Show the page as on a dark or light screen, or as on paper."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # nothing is on its way when looked at
        self.send("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme, still])

    def run(self, script):
        """Return the value of an expression in the page, once it is there."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:1000])
        return answer["result"].get("value")

    def press(self, *keys, modifiers=0):
        """Press and release keys, by name (Tab, Enter) or letter, as a keyboard does: trusted events."""
        for key in keys:
            code, text = KEYS.get(key) or (ord(key.upper()), key)
            what = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            self.send("Input.dispatchKeyEvent", **what, **down)
            self.send("Input.dispatchKeyEvent", **what, type="keyUp")

    def picture(self, *, top, width, height):
        """Return a PNG of a part of the page, from `top` down."""
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def pdf(self):
        """Return the page as a print-out."""
        answer = self.send("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(answer["data"])

    def close(self):
        """End Chromium, whatever state it is in."""
        os.close(self._to)
        os.close(self._from)
        for _ in range(200):
            if os.waitpid(self._process, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def photograph(page, folder):
    """Write pictures of a page, slice by slice, and its print-out into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # Chromium's last processes write on
    with profile as place, contextlib.closing(Chromium(place)) as chromium:
        for width, dark in itertools.product((1280, 390), (False, True)):
            chromium.open(page, width=width, dark=dark)
            height = chromium.run("document.documentElement.scrollHeight")
            for top in range(0, height, SLICE):
                name = f"{width}-{'dark' if dark else 'light'}-{top // SLICE + 1:02}.png"
                picture = chromium.picture(top=top, width=width, height=min(SLICE, height - top))
                (folder / name).write_bytes(picture)
        chromium.open(page, width=1280)
        (folder / "paper.pdf").write_bytes(chromium.pdf())


if __name__ == "__main__":
    photograph(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
