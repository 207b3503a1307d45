"""Opens every page of the console in Chromium, at a desk's and a phone's width, in both languages: `console_pages.py EXAMPLE FOLDER`.

EXAMPLE is the built example `console_pages` of the console, which serves made-up data; screenshots go to FOLDER. One line for
each check, FAILED in front of those that failed.
"""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import websocket

TOKEN = "nothing-real-needs-this-token-00"
PAGES = {
    "overview": "/",
    "pipeline": "/pipeline",
    "studies": "/studies",
    "search": "/studies?state=rejected&since=24h",
    "report": "/studies/2.25.1",
    "caution": "/studies/2.25.2",
    "abstention": "/studies/2.25.3",
    "rejection": "/studies/2.25.4",
    "pathology": "/studies/2.25.5",
    "dead-letters": "/dead-letters",
    "replays": "/replays",
    "replay": "/replays/blur-threshold-55",
    "replay-report": "/replays/blur-threshold-55/report",
    "acquisition": "/acquisition",
    "machine": "/acquisition/VIVID-E95-2",
    "not-found": "/nowhere",
}
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
PATIENCE_S = 15


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, ask):
    """The first answer of `ask` that is one, within PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {PATIENCE_S} s")
        time.sleep(0.1)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read()
    except urllib.error.HTTPError:
        return b"an answer"
    except OSError:
        return None


class Tab:
    """One page of Chromium over the DevTools protocol, with what it complained of and asked for."""

    def __init__(self, url):
        self.socket = websocket.create_connection(url, suppress_origin=True, timeout=PATIENCE_S)
        self.number = 0
        self.complaints = []
        self.requests = []
        self.loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method, **params):
        self.number += 1
        number = self.number
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return said["result"]
            self.heard(said)

    def heard(self, said):
        method, params = said.get("method"), said.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", params))[:300])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(str(params["args"])[:300])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def open(self, url, width, height, dark=False):
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = "dark" if dark else "light"
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.complaints, self.requests, self.loaded = [], [], False
        self.do("Page.navigate", url=url)
        until(f"loading {url}", lambda: self.see("1") and self.loaded)

    def see(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def shoot(self, path, whole=True):
        shot = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


class Checks:
    def __init__(self):
        self.failed = False

    def __call__(self, name, ask):
        try:
            wrong = ask()
        except (RuntimeError, TimeoutError, websocket.WebSocketException) as error:
            wrong = str(error)
        self.failed |= bool(wrong)
        print(f"FAILED {name}: {wrong}" if wrong else f"ok     {name}", flush=True)


def main():
    example, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    port, tools = free_port(), free_port()
    site = f"http://127.0.0.1:{port}"
    served = subprocess.Popen([example, str(port)])
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    chromium = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--lang=en-US",
         f"--remote-debugging-port={tools}", f"--user-data-dir={profile.name}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TZ": "UTC"},
    )
    try:
        until("serving", lambda: answers(f"{site}/api/status"))
        until("chromium", lambda: answers(f"http://127.0.0.1:{tools}/json/version"))
        targets = json.loads(answers(f"http://127.0.0.1:{tools}/json/list"))
        tab = Tab(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
        check = Checks()
        every_page(check, tab, site, folder)
        live_numbers(check, tab, site)
        charts(check, tab, site, folder)
        pausing(check, tab, site)
        redriving(check, tab, site, folder)
        lost(check, tab, site, served)
        print("ok     console pages came to its end")
    finally:
        served.kill()
        chromium.kill()
        chromium.wait()
        profile.cleanup()
    sys.exit(check.failed)


def every_page(check, tab, site, folder):
    """No complaint, nothing from elsewhere, nothing wider than the screen, one language."""
    for size, (width, height) in WIDTHS.items():
        for language in ("en", "zh"):
            for name, path in PAGES.items():
                def looked(path=path, name=name, width=width, height=height, language=language, size=size):
                    joint = "&" if "?" in path else "?"
                    tab.open(f"{site}{path}{joint}lang={language}", width, height)
                    if name == "pipeline":
                        until("charts", lambda: tab.see("document.querySelectorAll('.chart canvas').length === 4"))
                    time.sleep(0.2)
                    tab.shoot(folder / f"{name}-{size}-{language}.png")
                    complaints = [c for c in tab.complaints if not (name == "not-found" and "404" in c)]
                    if complaints:
                        return complaints
                    if outside := [url for url in tab.requests if not url.startswith(site)]:
                        return f"asked elsewhere: {outside}"
                    if (wide := tab.see("document.documentElement.scrollWidth")) > width:
                        return f"{wide} px wide: " + str(tab.see(WIDEST))
                    if name == "replay-report":
                        return None
                    shown = tab.see("document.documentElement.lang")
                    return None if shown.startswith(language) else f"lang is {shown}"

                check(f"{path} at {width} px in {language}", looked)


# What reaches over the right edge of the screen.
WIDEST = """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > outerWidth + 1)
  .slice(0, 5).map(e => e.tagName + '.' + (e.className.baseVal ?? e.className))"""


def live_numbers(check, tab, site):
    def moved():
        tab.open(f"{site}/?lang=en", 1280, 900)
        number = "document.querySelector('[data-live=\"inference.waiting\"]').textContent"
        reported = "document.querySelector('[data-live=\"studies.reported\"]').textContent"
        before = tab.see(number), tab.see(reported)
        until("a number that moves", lambda: (tab.see(number), tab.see(reported)) != before)
        loads = [url for url in tab.requests if url == f"{site}/?lang=en"]
        until("the list renewed with the counts", lambda: tab.see("1") and len([u for u in tab.requests if u.endswith("/?lang=en")]) > len(loads))
        return tab.complaints or None

    check("numbers move by server-sent events, the list with them", moved)


def charts(check, tab, site, folder):
    def drawn(dark):
        tab.open(f"{site}/pipeline?lang=en", 1280, 900, dark)
        until("charts", lambda: tab.see("document.querySelectorAll('.chart canvas').length === 4"))
        # Some of each canvas is coloured, not only grid and axes: its lines.
        colours = tab.see("""[...document.querySelectorAll('.chart canvas')].map(canvas => {
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let coloured = 0;
            for (let i = 0; i < pixels.length; i += 4) {
              const [r, g, b, a] = pixels.slice(i, i + 4);
              if (a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured += 1;
            }
            return coloured; })""")
        tab.shoot(folder / f"charts-{'dark' if dark else 'light'}.png")
        if min(colours) < 100:
            return f"coloured pixels: {colours}"
        return tab.complaints or None

    check("charts are drawn in light", lambda: drawn(False))
    check("charts are drawn in dark", lambda: drawn(True))


def confirm(tab, token):
    tab.see(f"document.querySelector('#act [name=actor]').value = '陈工'; document.querySelector('#act [name=token]').value = '{token}'")
    tab.see("document.querySelector('#act .do').click()")


def pausing(check, tab, site):
    state = "document.querySelector('tr[data-tone=keyframes]').dataset.is"
    outcome = "document.querySelector('#act .outcome').textContent"

    def refused():
        tab.open(f"{site}/pipeline?lang=en", 1280, 900)
        tab.see("document.querySelector('tr[data-tone=keyframes] .pause').click()")
        confirm(tab, "a-token-that-is-not-the-right-one")
        until("a refusal", lambda: "not the right one" in tab.see(outcome))
        kept = tab.see("JSON.stringify([sessionStorage.getItem('prescreen.token'), localStorage.length, document.cookie])")
        return None if kept == '[null,0,""]' else f"kept: {kept}"

    def paused():
        confirm(tab, TOKEN)
        until("paused", lambda: tab.see(state) == "paused")
        if tab.see("document.querySelector('#act').open"):
            return "the dialog is still open"
        visible = tab.see("getComputedStyle(document.querySelector('tr[data-tone=keyframes] .resume')).display")
        return None if visible != "none" else "it cannot be resumed"

    def resumed():
        tab.see("document.querySelector('tr[data-tone=keyframes] .resume').click()")
        tab.see("document.querySelector('#act .do').click()")
        until("resumed", lambda: tab.see(state) != "paused")
        return None

    check("a wrong token pauses nothing and is kept nowhere", refused)
    check("a step is paused, and the graph shows it", paused)
    check("it is resumed with the token of this tab", resumed)


def redriving(check, tab, site, folder):
    outcome = "document.querySelector('#act .outcome').textContent"
    rows = "document.querySelectorAll('main table tbody tr').length"
    sent = []

    def looked():
        tab.open(f"{site}/dead-letters?lang=en", 1280, 900)
        sent.append(tab.see(rows))
        tab.see("document.querySelector('main > .act').click()")
        tab.see("document.querySelector('#act .do').click()")
        until("a look", lambda: "would be sent back" in tab.see(outcome))
        tab.shoot(folder / "redrive-desk-en.png", whole=False)
        return None if tab.see("document.querySelector('#act .do').textContent") == "Send back now" else "no second step"

    def done():
        tab.see("document.querySelector('#act .do').click()")
        until("sent", lambda: "audit log 42" in tab.see(outcome))
        tab.see("document.querySelector('#act .cancel').click()")
        until("a shorter list", lambda: tab.see(f"document.readyState === 'complete' && {rows} < {sent[0]}"))
        return None

    def without():
        tab.see("sessionStorage.clear()")
        tab.open(f"{site}/dead-letters?lang=zh", 390, 844)
        tab.see("document.querySelector('td .act').click()")
        confirm(tab, "x" * 32)
        until("a refusal", lambda: "令牌不正确" in tab.see(outcome))
        tab.shoot(folder / "redrive-phone-zh.png", whole=False)
        return None

    check("a redrive is looked at first", looked)
    check("then done, with its audit row and a list that shows it", done)
    check("without the token it is refused", without)


def lost(check, tab, site, served):
    """The console ends while its page is open."""

    def said():
        tab.open(f"{site}/pipeline?lang=zh", 1280, 900)
        served.terminate()
        served.wait()
        until("a banner", lambda: tab.see("document.querySelector('.lost')?.textContent ?? ''").startswith("内容未更新"))
        return None

    check("a page whose console is gone says that it is not up to date", said)


main()
