"""What an answer in memory holds: status, headers, JSON, a redirect's parameters, a page's forms."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field, frozen
from twisted.web.http_headers import Headers


@define
class Form:
    """A form of a page.

    :param hidden: the hidden fields.
    :param names: of all fields and buttons.
    :param values: what a browser sends where no field was changed.
    """

    action: str
    method: str
    hidden: dict[str, str] = field(factory=dict)
    names: set[str] = field(factory=set)
    values: dict[str, str] = field(factory=dict)


class Page(HTMLParser):
    """An HTML page: its ``forms``, its ``elements`` with their attributes, and its ``text``."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._field = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and what it means for a form."""
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "form":
            self.forms.append(Form(found.get("action") or "", (found.get("method") or "GET").upper()))
        elif tag in {"input", "button", "textarea", "select"} and self.forms and found.get("name"):
            self.forms[-1].names.add(found["name"] or "")
            if tag == "input" and found.get("type") == "hidden":
                self.forms[-1].hidden[found["name"] or ""] = found.get("value") or ""
        if self.forms:
            self._read_value(tag, found, self.forms[-1].values)

    def _read_value(self, tag: str, found: dict[str, str | None], values: dict[str, str]) -> None:
        name, value = found.get("name") or "", found.get("value") or ""
        is_choice = found.get("type") in {"checkbox", "radio"}
        if tag == "input" and not is_choice:
            values[name] = value
        elif tag == "input" and "checked" in found:
            # Several boxes of one name, as several lines of one field.
            values[name] = f"{values[name]}\n{value}" if name in values else value
        elif tag in {"textarea", "select"}:
            self._field = name
            values[name] = ""
        elif tag == "option" and (not values[self._field] or "selected" in found):
            values[self._field] = value

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a field that has content."""
        if tag == "textarea":
            # HTML: a newline right after the start tag is not part of the value.
            values = self.forms[-1].values
            values[self._field] = values[self._field].removeprefix("\n")
        if tag in {"textarea", "select"}:
            self._field = ""

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)
        if self._field and self.lasttag == "textarea":
            self.forms[-1].values[self._field] += data


@frozen
class Answer:
    """An HTTP response."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, or None. A header that is sent twice is an error."""
        values = self.headers.getRawHeaders(name, [])
        assert len(values) <= 1, f"{name} is sent {len(values)} times"
        return values[0] if values else None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8")

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        assert self.header("content-type") == "application/json", self.text[:300]
        content = json.loads(self.body)
        assert isinstance(content, dict)
        return content

    @property
    def error(self) -> str:
        """The name of the error in a JSON body (RFC 6749, section 5.2)."""
        return str(self.json["error"])

    @property
    def location(self) -> str:
        """Where a redirect leads."""
        found = self.header("location")
        assert found is not None, f"{self.status} is not a redirect: {self.text[:300]}"
        return found

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters in the query of a redirect. One that is sent twice is an error."""
        pairs = parse_qsl(urlsplit(self.location).query, keep_blank_values=True, strict_parsing=True)
        assert len(dict(pairs)) == len(pairs), f"sent twice: {pairs}"
        return dict(pairs)

    @property
    def page(self) -> Page:
        """The body as an HTML page."""
        page = Page()
        page.feed(self.text)
        return page

    @property
    def words(self) -> str:
        """The text of an HTML page, with its white space joined."""
        return " ".join("".join(self.page.text).split())

    @property
    def is_login(self) -> bool:
        """Whether it is a page to log in at."""
        return any("password" in form.names for form in self.page.forms)

    @property
    def is_consent(self) -> bool:
        """Whether it is the page that asks the user for consent."""
        return self.status == 200 and any("user_action" in form.names for form in self.page.forms)

    def form(self, containing: str) -> Form:
        """The one form that has a field or button of this name."""
        found = [form for form in self.page.forms if containing in form.names]
        assert len(found) == 1, f"{self.status}, {len(found)} forms with {containing}: {self.text[:300]}"
        return found[0]
