"""What an administrator does on the pages: each form is filled in and sent as a browser does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urljoin

from web_driver import ORIGIN, Answer, Browser, Form, System

ADMIN = "/oauth2/admin/"
PASSWORD = "an administrator's password"

#: Every page, and whether it has a form that is sent to it.
PAGES = {
    "": False,
    "clients": False,
    "clients/add": True,
    "client?id={client}": True,
    "client/secret?id={client}": True,
    "client/image?id={client}": True,
    "client/delete?id={client}": True,
    "scopes": False,
    "scopes/add": True,
    "scope?id=verify": True,
    "scope/delete?id=verify": True,
    "users": False,
    "users/add": True,
    "user?id=alice": True,
    "user/password?id=alice": True,
    "user/delete?id=alice": True,
    "grants?user=alice": True,
    "audit": False,
}


def administrator(system: System, name: str = "root", **fields: Any) -> Browser:
    """A browser in which an administrator is logged in."""
    system.add_user(name, PASSWORD, admin=True, **fields)
    browser = system.browser()
    assert browser.log_in(name, PASSWORD).status == 303
    return browser


def address(page: str, /, **query: str) -> str:
    """The address of an admin page."""
    said = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return f"{ADMIN}{page}/{'?' if said else ''}{said}"


def form_of(answer: Answer) -> Form:
    """The first form of a page that is sent with POST."""
    return next(form for form in answer.page.forms if form.method == "POST")


def send(
    browser: Browser, form: Form, headers: Sequence[tuple[str, str]] = (), /, **changes: str | None
) -> Answer:
    """Send a form as it stands, but for some fields; what is None is left out."""
    return browser.post(urljoin(ORIGIN, form.action), {**form.values, **changes}, headers)


def fill_in(browser: Browser, where: str, **changes: str | None) -> Answer:
    """Go to a page and send its form."""
    page = browser.get(where)
    assert page.status == 200, page.words
    return send(browser, form_of(page), **changes)


def secret_on(browser: Browser, answer: Answer) -> tuple[str, str]:
    """The id and the secret that the page shows which follows."""
    assert answer.status == 303, answer.words
    page = browser.follow(answer)
    shown = {}
    for name in ("client_id", "client_secret"):
        before, _, after = page.text.partition(f'<code id="{name}">')
        assert after, before
        shown[name] = after.partition("</code>")[0]
    browser.system.oracle.secrets.add(shown["client_secret"])
    return shown["client_id"], shown["client_secret"]


def upload(browser: Browser, where: str, content: bytes | None, **changes: str) -> Answer:
    """Send the form of a page with a file in it (RFC 7578)."""
    form = form_of(browser.get(where))
    fields = {**form.values, **changes}
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
        if name != "image"
    ]
    if content is not None:
        head = '--x\r\nContent-Disposition: form-data; name="image"; filename="../a.svg"\r\n'
        parts.append(head.encode() + b"Content-Type: text/html\r\n\r\n" + content + b"\r\n")
    return send_multipart(browser, urljoin(ORIGIN, form.action), b"".join(parts) + b"--x--\r\n")


def send_multipart(
    browser: Browser, where: str, body: bytes, kind: str = "multipart/form-data; boundary=x"
) -> Answer:
    """Send bytes as a form with files."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = [("Content-Type", kind), ("Cookie", cookie)]
    return browser.system.send("POST", where, body, headers)


def tables(page: Answer) -> list[list[list[str]]]:
    """The tables of a page, by their rows and cells. The end tags of rows and cells may be left out."""
    return [
        [
            [
                re.sub(r"</t[hd]>.*", "", cell, flags=re.S).strip()
                for cell in re.split(r"<t[hd][^>]*>", row.partition("</tbody>")[0])[1:]
            ]
            for row in re.split(r"<tr>", table)[1:]
        ]
        for table in re.findall(r"<table.*?>(.*?)</table>", page.text, re.S)
    ]
