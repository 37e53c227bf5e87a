"""A page in real headless Chromium: what a script in it finds, and what breaks on the way."""

import html
import json
import re
import shutil
import subprocess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom --window-size=1400,1000"
)
PROBE = """<script>
const failures = [];
addEventListener("error", (event) => failures.push(event.message));
addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => failures.push("blocked " + event.blockedURI));
console.error = (...words) => failures.push(words.join(" "));
setTimeout(async () => {
  let seen = null;
  try { seen = await (async () => { %s })(); } catch (error) { failures.push(error.stack); }
  parent.postMessage(JSON.stringify({ seen, failures }), "*");
}, 6000);</script>"""
# Chromium's window is at least 500 pixels wide; a frame can be as narrow as a phone.
FRAME = """<!doctype html><iframe src="page.html" width="{width}" height="900" style="border: 0"></iframe>
<script>addEventListener("message", (event) => {{ document.body.dataset.seen = event.data; }});</script>"""


def look(page, script, folder, *, width, before=""):
    """Open a page `width` pixels wide, run `script` in it once its figures are drawn, and return its answer.

    `before` is markup for the head; whatever the page complains of in the console is an error.
    """
    inside = page.replace("<main>", "<main>" + before + PROBE % script)
    assert inside != page
    (folder / "page.html").write_text(inside, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", frame.as_uri()]
    out = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
    found = re.search(r'data-seen="([^"]*)"', out)
    assert found, "the page never answered"
    answer = json.loads(html.unescape(found.group(1)))
    assert answer["failures"] == []
    return answer["seen"]
