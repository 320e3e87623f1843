"""A browser driven by its keyboard alone, and an application that people come from and return to.

The browser reaches only this machine: every other name is unknown to it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from service_kit import (
    ISSUER,
    REDIRECT_URI,
    ROOT,
    Application,
    Prepared,
    Server,
    challenge,
)
from service_kit import Browser as Visitor
from waiting import PATIENCE, wait_for

from djoauth2_twisted.cli.certificate import make_certificate
from djoauth2_twisted.credentials import random_string

AXE = Path(os.environ.get("DJOAUTH2_TEST_AXE", ROOT / "node_modules/axe-core/axe.min.js"))
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: The rules of axe-core that look at colours. The others would say of a dark screen what they say of a
#: light one of its width.
AXE_COLOURS = ["color-contrast", "link-in-text-block"]

#: No page has more that Tab stops at.
MAX_STOPS = 100

#: To ask where the focus is after each key would take longer than a few keys too many, which do nothing.
TABS_AT_ONCE = 6


def what_is_missing() -> str:
    """Which of the programs that the browser's tests need is not there, if any is."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return "" if AXE.is_file() else f"axe-core is not at {AXE}"


@contextmanager
def running(prepared: Prepared, *options: str, **named: Any) -> Iterator[Server]:
    """A server for as long as it is needed."""
    server = Server.start(prepared, *options, **named)
    try:
        yield server.wait_until_ready()
    finally:
        server.kill()


# The application.


class ExampleApplication:
    """The registered client as a site of its own: at https://app.example, where the browser finds it.

    Set `server` to the one that it lets people log in by.
    """

    address = "https://app.example"

    #: Where the people of many applications end: at another origin than that of its callback.
    other_address = "https://www.app.example"

    def __init__(self, folder: Path) -> None:
        self.server: Server
        #: What it was asked: path and Referer.
        self.asked: list[tuple[str, str | None]] = []
        #: The answers of authorization and token endpoint that browsers came back with.
        self.answers: list[dict[str, str]] = []
        self.tokens: list[dict[str, Any]] = []
        self._begun: dict[str, str] = {}
        #: Where the callback sends browsers on to, if anywhere.
        self.moves_to = ""
        #: Whether the callback waits for a second visit before it goes on with the first.
        self.is_slow = False
        #: Its page on the user's own machine, as of a native application (RFC 8252, section 7.3).
        self._loopback = ThreadingHTTPServer(("127.0.0.1", 0), Loopback)
        self.loopback_address = f"http://localhost:{self._loopback.server_address[1]}/done"
        self.certificate = folder / "application.pem"
        self.certificate.write_bytes(make_certificate("app.example"))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        # Without a handshake here, a browser that connects in advance keeps nobody else waiting.
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._http.server_address[1]
        self._sites = (self._http, self._loopback)
        self._threads = [
            threading.Thread(target=site.serve_forever, args=(0.05,)) for site in self._sites
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Serve no more."""
        for site, thread in zip(self._sites, self._threads, strict=True):
            site.shutdown()
            thread.join()
            site.server_close()

    def serve(self, server: Server) -> None:
        """Forget everything, and let people log in by another server."""
        self.server = server
        self.moves_to, self.is_slow = "", False
        for seen in (self.asked, self.answers, self.tokens, self._begun):
            seen.clear()

    def give_back(self) -> None:
        """Revoke what it was given (RFC 7009)."""
        prepared = self.server.prepared
        mine = {"client_id": prepared.client_id, "client_secret": prepared.client_secret}
        for tokens in self.tokens:
            form = {"token": tokens["refresh_token"], **mine}
            assert Visitor(self.server).post("/oauth2/revoke/", form).status == 200

    def authorization_address(self) -> str:
        """Where it sends a browser to."""
        state, verifier = random_string(30), random_string(64)
        self._begun[state] = verifier
        asked = {
            "response_type": "code",
            "client_id": self.server.prepared.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "user_info photos",
            "state": state,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        return f"https://localhost:{self.server.port}/oauth2/authorization/?{urlencode(asked)}"

    def page(self, path: str, answer: dict[str, str]) -> str | None:
        """The page at a path, in HTML; there are few."""
        if path == "/":
            return f'<a href="{escape(self.authorization_address())}">Log in</a>'
        if path == "/cb":
            return self._callback(answer)
        if path == "/frames":
            frames = (self.authorization_address(), "/framed")
            return "".join(f'<iframe title="{src}" src="{escape(src)}"></iframe>' for src in frames)
        return "This page may be framed." if path == "/framed" else None

    def _callback(self, answer: dict[str, str]) -> str:
        self.answers.append(answer)
        if self.is_slow and len(self.answers) == 1:
            wait_for(lambda: len(self.answers) > 1, "a second visit")
        assert answer["iss"] == ISSUER
        if "code" not in answer:
            return escape(answer["error_description"])
        with Application(self.server) as application:
            verifier = self._begun[answer["state"]]
            exchanged = application.exchange(answer["code"], code_verifier=verifier)
            if exchanged.status != 200:
                return escape(exchanged.json["error"])
            self.tokens.append(exchanged.json)
            who = application.user_info(exchanged.json["access_token"])
        return f"The API says: {escape(who.text)}"


_PAGE = (
    '<!DOCTYPE html><html lang="en"><meta name="viewport" content="width=device-width">'
    "<title>Application</title><main><h1>Application</h1>{}</main></html>"
)


class Loopback(BaseHTTPRequestHandler):
    """The one page of an application on the user's own machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(_PAGE.format("On this machine.").encode("utf-8"))

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def _handler(application: ExampleApplication) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            application.asked.append((parts.path, self.headers["Referer"]))
            body = application.page(parts.path, dict(parse_qsl(parts.query)))
            if parts.path == "/cb" and application.moves_to:
                self.send_response(302)
                self.send_header("Location", application.moves_to)
            else:
                self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(_PAGE.format(body or "").encode("utf-8"))

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler


# The browser.


@frozen
class Screen:
    """The screen of a person."""

    width: int
    scheme: str

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


SCREENS = [Screen(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]

#: Where people walk: at both widths, and with both schemes. Each page is judged at every screen.
WALKED = [Screen(360, "light"), Screen(1280, "dark")]

#: Pages fit without scrolling to the side. The narrowest is that of WCAG 2.1, 1.4.10.
WIDTHS = (320, 360, 1280)


@contextmanager
def chromium(application: ExampleApplication, server_certificate: Path) -> Iterator[webdriver.Chrome]:
    """A running Chromium, new, and its driver."""
    hosts = ("app.example", "www.app.example")
    rules = ", ".join(f"MAP {host}:443 127.0.0.1:{application.port}" for host in hosts)
    rules += ", MAP localhost 127.0.0.1, MAP * ~NOTFOUND"
    trusted = ",".join(_key_hash(path) for path in (application.certificate, server_certificate))
    with tempfile.TemporaryDirectory(prefix="djoauth2-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in (
            "--headless=new",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            # Chromium would start another process for a page in advance, each time that one is opened.
            "--disable-features=SpareRendererForSitePerProcess",
            "--disable-sync",
            # Scripts may ask for an accessible name, as `element.computedName`.
            "--enable-blink-features=ComputedAccessibilityInfo",
            "--no-first-run",
            f"--user-data-dir={profile}",
            f"--host-resolver-rules={rules}",
            f"--ignore-certificate-errors-spki-list={trusted}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # With the driver's path, Selenium looks for none on the network.
        service = Service(shutil.which("chromedriver"), env={**os.environ, "HOME": profile})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def _key_hash(certificate: Path) -> str:
    key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")


class Person:
    """A person with a keyboard at a screen, who begins with an empty browser.

    Every page of ours that comes up is looked over: its status, and at every screen its layout and its
    accessibility.
    """

    def __init__(self, driver: webdriver.Chrome, screen: Screen, looked_over: Path) -> None:
        self.driver = driver
        self.screen = screen
        #: A folder that all tests of a run share. Its files are named by the hashes of what was judged.
        self._looked_over = looked_over
        self._refused: set[str] = set()
        self._first_tab = driver.current_window_handle
        driver.switch_to.new_window("tab")
        self._cdp("Network.clearBrowserCookies")
        self._cdp("Network.clearBrowserCache")
        # As if its window were in front, whatever else is on this machine.
        self._cdp("Emulation.setFocusEmulationEnabled", enabled=True)
        self.sit_at(screen)
        self.console()
        self.requests()

    def leave(self) -> None:
        """Close the tab; nothing may have gone wrong in it unnoticed."""
        try:
            complaints = self.console()
            # Another scheme leads to a program of the user's machine, and no further.
            asked = [urlsplit(url) for url in self.requests()]
            hosts = {url.hostname for url in asked if url.scheme in {"http", "https"}}
        finally:
            self.driver.close()
            self.driver.switch_to.window(self._first_tab)
        assert complaints == []
        assert hosts <= {"localhost", "app.example", "www.app.example", None}

    def _cdp(self, command: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(command, parameters)

    def sit_at(self, screen: Screen) -> None:
        """Look at it on another screen."""
        scheme = {"name": "prefers-color-scheme", "value": screen.scheme}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        self.resize(screen.width)

    def resize(self, width: int) -> None:
        """Look at it on something of another width."""
        metrics = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 600}
        self._cdp("Emulation.setDeviceMetricsOverride", **metrics)

    # What the browser noted.

    def console(self) -> list[str]:
        """What has come up in the console, but for pages that were refused as they were meant to be."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            # Browsers ask for an icon by themselves.
            if entry["message"].partition(" ")[0] not in self._refused
            and "/favicon.ico - " not in entry["message"]
        ]

    def requests(self) -> list[str]:
        """The addresses that have been asked for."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    # What the person sees.

    @property
    def address(self) -> str:
        """Where the browser is."""
        return self.driver.current_url

    @property
    def heading(self) -> str:
        """What the page is called."""
        return self.run("return document.querySelector('h1').innerText.trim()")

    @property
    def text(self) -> str:
        """All that can be read."""
        return self.run("return document.body.innerText")

    def run(self, script: str) -> Any:
        """What a script says of the page."""
        return self.driver.execute_script(script)

    # What the person does.

    def open(self, address: str, status: int = 200) -> None:
        """Type an address."""
        self.driver.get(address)
        self._look(status)

    def reach(self, name: str, among: str = "*") -> None:
        """Go on with Tab to what has this name for assistive technology.

        :param among: a selector, where other things have the name, too.
        """
        pressed = 0
        while not self.driver.execute_script(_HOLD_FOCUS, name, among):
            assert pressed < MAX_STOPS, f"Tab does not lead to {name!r}, but to {self.focused!r}"
            self.keys(*[Keys.TAB] * TABS_AT_ONCE)
            pressed += TABS_AT_ONCE
        assert self.run(_IS_FOCUS_VISIBLE), f"the focus on {name!r} cannot be seen"

    @property
    def focused(self) -> str:
        """The name of what keys go to."""
        return self.run("return document.activeElement.computedName")

    def keys(self, *keys: str) -> None:
        """Press keys one after the other."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, held: str, key: str) -> None:
        """Press one key while another is held."""
        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def fill(self, label: str, text: str) -> None:
        """Write into a field, over what was there."""
        self.reach(label, "input, textarea")
        self.chord(Keys.CONTROL, "a")
        # In one step, as it is pasted.
        self._cdp("Input.insertText", text=text)

    def tick(self, name: str) -> None:
        """Tick a box, or take its tick away."""
        self.reach(name)
        self.keys(Keys.SPACE)

    def choose_file(self, name: str, path: Path) -> None:
        """Choose a file, in the dialog of the system, which no page and no driver sees."""
        self.reach(f"{name}: No file chosen")
        self.driver.switch_to.active_element.send_keys(str(path))

    def press(self, name: str, key: str = Keys.ENTER, status: int = 200) -> None:
        """Use a link or a button, and wait for the page that comes."""
        self.reach(name)
        self.send(key, status)

    def send(self, key: str = Keys.ENTER, status: int = 200) -> None:
        """Press a key that leads to another page, and wait for that."""
        page = self.run(_PAGE_IDENTITY)
        self.keys(key)
        self._wait_for_another(page)
        self._look(status)

    def log_in(self, username: str, password: str) -> None:
        """Use the login page."""
        self.fill("Name", username)
        self.fill("Password", password)
        self.press("Log in")

    def reload(self, status: int = 200) -> None:
        """Load the page again, a form that was sent included."""
        page = self.run(_PAGE_IDENTITY)
        self.driver.refresh()
        self._wait_for_another(page)
        self._look(status)

    def back(self) -> None:
        """Use the browser's button to go back."""
        page = self.run(_PAGE_IDENTITY)
        self.driver.back()
        self._wait_for_another(page)
        self._look()

    def _wait_for_another(self, page: object) -> None:
        def has_come() -> bool:
            try:
                return self.run(f"{_PAGE_IDENTITY} !== {page} && document.readyState === 'complete'")
            except WebDriverException:
                return False  # between two pages

        wait_for(has_come, "another page", lambda: self.text)

    def _look(self, status: int = 200) -> None:
        """Look the page over, if it is one of ours."""
        if urlsplit(self.address).hostname != "localhost":
            return
        assert self.run(_STATUS) == status, self.text
        if status >= 400:
            self._refused.add(self.address)
        self.look_over()

    def look_over(self) -> None:
        """Judge the page as it is now, at every screen."""
        # Every test comes through the same login; once is enough for what differs in addresses, ids
        # and numbers alone.
        text = re.sub(r'="[^"]*"|\b[0-9A-Za-z]{30}\b|[0-9]+', "", self.driver.page_source)
        with self._only_once(text) as is_new:
            if is_new:
                self._judge()

    def _judge(self) -> None:
        for width in WIDTHS:
            self._check_layout(width)
        with self._only_once(self.run(_STRUCTURE)) as is_new:
            if is_new:
                self.driver.execute_script(AXE.read_text("utf-8"))
                for screen in SCREENS:
                    self.sit_at(screen)
                    check_accessibility(self.driver, screen)
        self.sit_at(self.screen)

    @contextmanager
    def _only_once(self, words: str) -> Iterator[bool]:
        """Whether nothing with these words was judged yet, by any process. It is noted afterwards."""
        note = self._looked_over / hashlib.sha256(words.encode("utf-8")).hexdigest()
        yield not note.exists()
        note.touch()

    def _check_layout(self, width: int) -> None:
        self.resize(width)
        seen, visible, wanted = self.run(_WIDTHS)
        assert (seen, visible) == (width, wanted), f"{self.address} is too wide for {width} px"


#: When the page was begun to be loaded, which no two pages share.
_PAGE_IDENTITY = "return performance.timeOrigin"
_STATUS = "return performance.getEntriesByType('navigation')[0].responseStatus"
_WIDTHS = """
    const root = document.documentElement;
    return [innerWidth, root.clientWidth, root.scrollWidth];
"""
#: Whether the focus is where it is wanted. Until then, Tab moves it no further than to there.
_HOLD_FOCUS = """
    const [name, among] = arguments;
    const isThere = () => {
        const focused = document.activeElement;
        return focused.computedName === name && focused.matches(among);
    };
    removeEventListener('keydown', window.holdFocus, true);
    window.holdFocus = event => { if (event.key === 'Tab' && isThere()) event.preventDefault(); };
    if (!isThere()) addEventListener('keydown', window.holdFocus, true);
    return isThere();
"""
#: The page without its words: what axe-core judges by, but for the widths of texts. Of rows that are
#: alike, two are left.
_STRUCTURE = """
    const structure = element => {
        const attributes = [...element.attributes].map(({name, value}) =>
            ['class', 'role', 'type'].includes(name) ? `${name}=${value}` : name);
        const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const within = [...element.children].map(structure)
            .filter((part, i, all) => part !== all[i - 1] || part !== all[i - 2]);
        return `<${element.localName} ${attributes} ${hasText}>${within.join('')}</>`;
    };
    return structure(document.documentElement);
"""
_IS_FOCUS_VISIBLE = """
    const focused = document.activeElement, box = focused.getBoundingClientRect();
    return getComputedStyle(focused).outlineStyle !== 'none' && box.width > 0 && box.height > 0
        && box.top >= 0 && box.bottom <= innerHeight;
"""


# Accessibility.

# Without preload it asks for no style sheet, which the pages' policy would refuse. What has passed is
# not described, as that takes axe-core a third of its time.
_RUN_AXE = """
    const [type, values, done] = arguments;
    const options = {
        runOnly: {type, values}, preload: false, resultTypes: ['violations', 'incomplete'],
    };
    axe.run(document, options).then(
        ({violations, incomplete}) => done({violations, incomplete}), error => done(String(error)),
    );
"""

#: Brings to light what lies beyond the edge of a wide table.
_SCROLL_TO = "document.querySelector(arguments[0]).scrollIntoView({block: 'nearest', inline: 'start'})"
_SCROLL_BACK = """
    scrollTo(0, 0);
    for (const region of document.querySelectorAll('.table')) region.scrollLeft = 0;
"""


def check_accessibility(driver: webdriver.Chrome, screen: Screen) -> None:
    """Hold the page to axe-core's rules. A contrast that cannot be told is as bad as none.

    That is so of what has to be scrolled to; so it is scrolled to, and judged again.
    """
    if screen.scheme == "light":
        faults, undecided = _judged(driver, "tag", AXE_TAGS)
    else:
        faults, undecided = _judged(driver, "rule", AXE_COLOURS)
    while undecided and not faults:
        first = next(iter(undecided))
        driver.execute_script(_SCROLL_TO, first)
        faults, still = _judged(driver, "rule", ["color-contrast"])
        if first in still:
            faults.append(undecided[first])
        undecided = {target: said for target, said in undecided.items() if target in still}
    driver.execute_script(_SCROLL_BACK)
    assert not faults, "\n".join([f"{driver.current_url} at {screen}", *faults])


def _judged(driver: webdriver.Chrome, kind: str, values: list[str]) -> tuple[list[str], dict[str, str]]:
    """The faults that axe-core finds, and by their selectors the contrasts that it cannot tell."""
    results = driver.execute_async_script(_RUN_AXE, kind, values)
    assert isinstance(results, dict), results
    undecided = [rule for rule in results["incomplete"] if rule["id"] == "color-contrast"]
    faults, unknown = (
        {
            str(node["target"][0]): f"{rule['id']}: {node['target']}: {node['failureSummary']}"
            for rule in rules
            for node in rule["nodes"]
        }
        for rules in (results["violations"], undecided)
    )
    return list(faults.values()), unknown
