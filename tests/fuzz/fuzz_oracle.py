"""What must be true of every answer and every log line, whatever was sent (U-01 to U-08)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

from fuzz_grammar import ODD
from twisted.logger import ILogObserver, formatEvent
from twisted.web.http_headers import Headers
from web_driver import Answer, Oracle, _dechunk
from zope.interface import implementer

#: The longest time that a request may take, in seconds.
MAX_SECONDS = 2.0

# Shorter values are found by chance.
_SHORTEST_SECRET = 8

_FOR_PEOPLE = tuple(f"/oauth2/{name}".encode() for name in ("admin", "account", "authorization", "log"))

#: Words that answers say, whatever was sent: the scope in a challenge, and what a parameter may be.
_SAID = tuple(value for value in ODD if re.fullmatch(rb"[A-Za-z_]{8,20}", value))

_ISSUED = re.compile(
    # A page may repeat the parameter `code` of a request. A redirect to a client has ours.
    rb'location: https?://[^\r]*[?&]code=([\w.~-]{20,})|"(?:access|refresh)_token": ?"([^"]+)"'
    rb'|set-cookie: [^=]+=([^;\s]{20,})|<code id="client_secret">([^<]+)',
    re.IGNORECASE,
)


class Fault(AssertionError):
    """A rule is broken. The text names the rule and what was sent."""


@lru_cache(1000)
def spellings(secret: str) -> frozenset[bytes]:
    """The ways in which a secret may be written."""
    raw = secret.encode()
    forms = {raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), raw.hex().encode()}
    return frozenset(forms | {base64.b64encode(raw)})


@lru_cache(2)
def _all_spellings(secrets: frozenset[str]) -> tuple[bytes, ...]:
    """The ways in which any of the secrets may be written that are long enough."""
    return tuple(
        form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in spellings(secret)
    )


def forget_secrets() -> None:
    """Forget the spellings of all secrets so far."""
    spellings.cache_clear()
    _all_spellings.cache_clear()


def leaked(secrets: frozenset[str], text: bytes, but_not: bytes = b"") -> list[str]:
    """The secrets in a text, except those that ``but_not`` has too, in whatever spelling."""
    # Nearly no text has any, and this first look is quick.
    if not any(map(text.__contains__, _all_spellings(secrets))):
        return []
    return [
        secret
        for secret in secrets
        if len(secret) >= _SHORTEST_SECRET
        if any(form in text for form in spellings(secret))
        if not any(form in but_not for form in spellings(secret))
    ]


def issued(output: bytes) -> set[str]:
    """The codes, tokens, cookies and client secrets that an answer gives out."""
    return {next(filter(None, found)).decode("latin-1") for found in _ISSUED.findall(output)}


@implementer(ILogObserver)
class Log:
    """What was logged since the last look, and whether anything has failed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failures: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        values = [f"{name}={value!r}" for name, value in event.items() if not name.startswith("log_")]
        self.lines.append(" ".join([formatEvent(event), *values]))
        if "log_failure" in event:
            self.failures.append(event["log_failure"].getTraceback())

    def check(self, secrets: frozenset[str]) -> None:
        """Judge what was logged, and forget it."""
        text, self.lines = "\n".join(self.lines), []
        failures, self.failures = self.failures, []
        if failures:
            raise Fault(f"U-08: a failure was logged\n{failures[0]}")
        if found := leaked(secrets, text.encode("utf-8", "surrogateescape")):
            line = next(line for line in text.splitlines() if found[0] in line)
            raise Fault(f"U-03: {found[0]} was logged: {line[:300]}")


def answers_in(output: bytes, to_head: bool) -> Iterator[Answer]:
    """The answers on a connection. What is no HTTP is a fault.

    :param to_head: whether the first request may be a HEAD, whose answer has no body.
    """
    while output:
        head, end, rest = output.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        if not end or not re.fullmatch(rb"HTTP/1\.[01] [1-5]\d\d [ -~]+", status):
            raise Fault(f"this is no answer: {output[:200]!r}")
        headers, code = Headers(), int(status.split(b" ")[1])
        for line in lines:
            if not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t -~\x80-\xff]*", line):
                raise Fault(f"this is no header: {line!r}")
            name, _, value = line.partition(b":")
            headers.addRawHeader(name, value.strip())
        body, output = _body(headers, rest, code, to_head)
        if code >= 200:
            yield Answer(code, headers, body)


def _body(headers: Headers, rest: bytes, status: int, to_head: bool) -> tuple[bytes, bytes]:
    """The body of an answer, and what is behind it."""
    length = headers.getRawHeaders("content-length")
    if status < 200 or status in (204, 304) or (to_head and rest[:7] in (b"", b"HTTP/1.")):
        return b"", rest
    if headers.getRawHeaders("transfer-encoding") == ["chunked"]:
        whole, end, rest = rest.partition(b"0\r\n\r\n")
        return _dechunk(whole + end), rest
    if length is None:
        return rest, b""
    if len(length) != 1 or len(rest) < int(length[0]):
        raise Fault(f"the answer says {length} bytes and has {len(rest)}")
    return rest[: int(length[0])], rest[int(length[0]) :]


class Judge:
    """Judges the output of connections.

    :param oracle: what the web tests hold every answer to; it knows the registered redirect URIs.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def check(self, sent: bytes, output: bytes, secrets: frozenset[str]) -> list[Answer]:
        """Judge what came back, and return the answers.

        :param secrets: what existed before the request.
        """
        line, _, rest = sent.partition(b"\n")
        target = line.split(b" ")[1] if line.count(b" ") > 1 else b""
        form = rest.partition(b"\r\n\r\n")[2]
        answers = list(answers_in(output, to_head=b"HEAD" in sent[:40]))
        path = unquote_to_bytes(re.sub(rb"^https?://[^/]*", b"", target))
        ours = len(answers) == 1 and path.startswith((b"/oauth2/", b"/api/user_info"))
        # Pages show again what their own forms have sent. Applications are told nothing that they sent.
        fields = b"" if path.startswith(_FOR_PEOPLE) else target.partition(b"?")[2] + b"&" + form
        fields = _without_words(fields)
        for answer in answers:
            try:
                self._oracle.check(answer, fields, ours=ours)
            except (AssertionError, ValueError) as error:
                raise Fault(str(error) or repr(error)) from error
        if found := leaked(secrets, _without_cookies(output), _may_echo(target, form, answers)):
            raise Fault(f"U-02: the answer shows {found[0]}")
        return answers


def _without_words(fields: bytes) -> bytes:
    """The fields without those whose value is a word that answers say, or a part of one."""
    kept = []
    for field in fields.split(b"&"):
        value = unquote_to_bytes(field.partition(b"=")[2])
        if not any(value in word for word in _SAID):
            kept.append(field)
    return b"&".join(kept)


def _may_echo(target: bytes, form: bytes, answers: Iterable[Answer]) -> bytes:
    """What answers may repeat. A login comes back to the same authorization request, with its state
    (RFC 6749, section 4.1.2), and a page shows again what its own form has sent. JSON repeats nothing.
    """
    if any(answer.header("content-type") == "application/json" for answer in answers):
        return b""
    return target + form


def _without_cookies(output: bytes) -> bytes:
    """An answer without its Set-Cookie lines, which send a browser its own session."""
    return re.sub(rb"(?i)\r\nset-cookie: [^\r]*", b"", output)
