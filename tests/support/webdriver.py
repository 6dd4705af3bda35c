"""A browser for tests: Chromium through chromedriver, by the W3C's WebDriver protocol, which is JSON over HTTP."""
import base64
import json
import pathlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from testing import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key for a reference to an element
ENTER, TAB, ARROW_RIGHT = "\ue007", "\ue004", "\ue014"


def find_chromium():
    """The browser and its driver; None where one is missing."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    return found if all(found) else None


class Refused(AssertionError):
    """The driver's answer if it cannot do what it is asked."""


class Browser:
    def __init__(self, downloads):
        chromium, driver = find_chromium()
        self.base = f"http://127.0.0.1:{free_port()}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.driver = subprocess.Popen([driver, f"--port={self.base.rsplit(':', 1)[1]}"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        options = {"binary": chromium, "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000",
                                                "--disable-dev-shm-usage", "--lang=en"],
                   "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False}}
        try:
            self.await_driver()
            session = self.send("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
            self.session = "/session/" + session["sessionId"]
        except BaseException:
            self.driver.kill()
            self.driver.wait()
            raise

    def close(self):
        try:
            self.send("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()

    def await_driver(self):
        end = time.monotonic() + 120
        while True:
            try:
                return self.send("GET", "/status")
            except urllib.error.URLError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def send(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self.opener.open(request, timeout=300) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)["value"]["message"]) from None

    def command(self, name, body=None):
        return self.send("POST", f"{self.session}/{name}", body)

    def open(self, url):
        self.command("url", {"url": url})

    def new_tab(self):
        """Its handle; it is the one that is worked with then."""
        handle = self.command("window/new", {"type": "tab"})["handle"]
        self.switch(handle)
        return handle

    def tab(self):
        return self.send("GET", self.session + "/window")

    def switch(self, handle):
        self.command("window", {"handle": handle})

    def run(self, script, *arguments):
        """What the script returns in the page."""
        return self.command("execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.command("element", {"using": "css selector", "value": selector})[ELEMENT]

    def find_all(self, selector):
        return [found[ELEMENT] for found in self.command("elements", {"using": "css selector", "value": selector})]

    def click(self, selector):
        self.command(f"element/{self.find(selector)}/click")

    def type(self, selector, text):
        self.command(f"element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys):
        """Keys, to whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.command("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector):
        return self.send("GET", f"{self.session}/element/{self.find(selector)}/text")

    def is_shown(self, selector):
        return any(self.send("GET", f"{self.session}/element/{e}/displayed") for e in self.find_all(selector))

    def label(self, element):
        """What a screen reader calls it."""
        return self.send("GET", f"{self.session}/element/{element}/computedlabel")

    def devtools(self, command, **parameters):
        return self.command("goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width, height, scheme):
        """As a window of that size shows it, in the light or dark scheme; scroll bars lie over the page, as a phone's do."""
        self.devtools("Emulation.setScrollbarsHidden", hidden=True)
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.send("GET", self.session + "/screenshot")))

    def wait(self, what, seconds=600):
        """Until what() is true, however busy the machine is; its value."""
        end = time.monotonic() + seconds
        while not (value := what()):
            if time.monotonic() > end:
                raise AssertionError("waited in vain; the page says:\n" + self.text("body"))
            time.sleep(0.1)
        return value
