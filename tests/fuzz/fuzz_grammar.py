"""Requests, and what is done to them: values that parsers read wrongly, fields twice, broken framing.

All chance comes from one `random.Random`, so that a seed repeats it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from urllib.parse import quote_from_bytes

from attrs import define, field

Fields = list[tuple[bytes, bytes]]

#: A value, a name or a header that is read wrongly somewhere.
ODD: tuple[bytes, ...] = (
    b"", b" ", b"\t", b"0", b"-1", b"1", b"99999999999999999999", b"1e309", b"null", b"true", b"None",
    b"\x00", b"a\x00b", b"\r\n", b"a\r\nSet-Cookie: x=1", b"\n", b"\x1b[31m", b"\x7f", b"\x80",
    b"%", b"%%", b"%0", b"%00", b"%0d%0aX: y", b"%ff", b"%u0041", b"+", b"%2B", b"&", b"=", b";", b"#",
    b"\xff", b"\xfe\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    "İ".encode(), "ß".encode(), "ﬃ".encode(), "ﷺ".encode(), "e\u0301".encode(),
    ("a" + "\u0301" * 200).encode(),
    "\u212a".encode(), "\uff11\uff12\uff13".encode(), "\u2028".encode(), "😀".encode(),
    b"'", b'"', b"\\", b"`", b"' OR 1=1 --", b"a' UNION select NULL--", b"$(id)", b"{{7*7}}", b"{7}",
    b"%(x)s",
    b"<script>alert(1)</script>", b"</title><b>", b"\"><img src=x onerror=a()>", b"javascript:alert(1)",
    b"//evil.example", b"/\\evil.example", b"https://evil.example/", b"https:evil.example",
    b"\\\\evil.example",
    b"https://as.example@evil.example/", b"https://[::1/", b"https://app.example:99999/",
    b"///evil.example/..",
    b"../../../etc/passwd", b"..%2f..%2f", b"/oauth2/admin/", b"https://as.example/oauth2/login/",
    b"code", b"token", b"id_token", b"none", b"query", b"fragment", b"form_post", b"S256", b"plain",
    b"authorization_code", b"refresh_token", b"client_credentials", b"password",
    b"urn:ietf:params:oauth:x",
    b"user_info", b"user_info  verify", b"USER_INFO", b"user_info user_info", b"unknown", b"Accept",
    b"Decline",
    b"Basic", b"Bearer", b"bearer  x", b"Basic Og==", b"Basic =", b"Basic Zm9v", b"Basic /w==",
    b"Digest a=b",
    b"a" * 43, b"a" * 128, b"a" * 129, b"a" * 300, b"a" * 1100, b"a" * 5000, b"%41" * 400, b"a " * 600,
    b"&a=b" * 120, b"\xcc\x81" * 600,
)  # fmt: skip

NAMES: tuple[bytes, ...] = (
    b"client_id", b"client_secret", b"redirect_uri", b"response_type", b"response_mode", b"scope",
    b"state",
    b"code", b"code_challenge", b"code_challenge_method", b"code_verifier", b"grant_type",
    b"refresh_token",
    b"access_token", b"token", b"token_type_hint", b"request", b"request_uri", b"nonce", b"prompt",
    b"max_age",
    b"user_action", b"csrf_token", b"username", b"password", b"next", b"id", b"user", b"client",
    b"search",
    b"after", b"page", b"name", b"description", b"redirect_uris", b"image_url", b"scopes", b"email",
    b"admin",
    b"disabled", b"grant", b"lang", b"ui_locales", b"resource", b"__csrf_protection__", b"approve", b"q",
)  # fmt: skip

HEADERS: tuple[bytes, ...] = (
    b"Authorization", b"Cookie", b"Host", b"Content-Type", b"Content-Length", b"Content-Encoding",
    b"Accept",
    b"Accept-Language", b"Accept-Encoding", b"Origin", b"Referer", b"User-Agent", b"Forwarded",
    b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Prefix",
    b"X-Request-Id",
    b"If-None-Match", b"If-Modified-Since", b"Range", b"Expect", b"Connection", b"Upgrade", b"TE",
    b"Trailer",
    b"Transfer-Encoding", b"X-HTTP-Method-Override", b"Access-Control-Request-Method", b"Sec-Fetch-Site",
    b"DPoP", b"Proxy-Authorization", b"X-Original-URL",
)  # fmt: skip

HEADER_VALUES: tuple[bytes, ...] = (
    b"*", b"*/*", b"application/json", b"text/html;q=0.1, application/json", b"multipart/form-data",
    b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded; charset=utf-16",
    b"text/plain",
    b"application/x-www-form-urlencoded; charset=\"UTF-8\"", b"gzip", b"deflate, br", b"de",
    b"de-AT;q=x, *;q=0",
    b"x-klingon, " * 40, b"bytes=0-1", b"bytes=-", b"100-continue", b"close", b"keep-alive, Upgrade",
    b"websocket", b"h2c", b"chunked", b"identity", b"chunked, chunked", b"POST", b"null", b"W/\"x\"",
    b"Sat, 32 Foo 2026 99:99:99 GMT", b"for=192.0.2.9;proto=https", b"for=\"[2001:db8::1]:99\"",
    b"for=_x, for=",
    b"192.0.2.7, 10.0.0.1", b"[::1]:80", b"https", b"http,https", b"/auth", b"/../x", b"as.example",
    b"as.example, evil.example", b"evil.example:99999", b"session=; session=a", b"a=b; " * 210, b"=; ;=",
)  # fmt: skip

METHODS: tuple[bytes, ...] = (
    b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"get",
    b"PRI",
    b"G\x00T", b"", b"POST " * 3, b"M" * 200,
)  # fmt: skip

_UNRESERVED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

#: How the addresses end whose forms end something.
_ENDS = (
    b"/delete/",
    b"/logout/",
    b"/revoke/",
    b"/grants/",
    b"/account/",
    b"/login/",
    b"/secret/",
    b"/password/",
)


@define
class Request:
    """One HTTP request, in pieces. The values of fields are as they are meant, not yet encoded."""

    method: bytes
    path: bytes
    query: Fields = field(factory=list)
    headers: Fields = field(factory=list)
    form: Fields | None = None
    #: Sent instead of a form.
    body: bytes | None = None

    @property
    def ends_something(self) -> bool:
        """Whether it ends a login, a grant or what is registered, so that others fail after it."""
        return self.method == b"POST" and self.path.endswith(_ENDS)

    def copy(self) -> Request:
        """A request that can be changed without this one."""
        form = None if self.form is None else list(self.form)
        return Request(self.method, self.path, list(self.query), list(self.headers), form, self.body)

    def content(self) -> bytes | None:
        """The body, or None where there is none."""
        if self.body is not None or self.form is None:
            return self.body
        return urlencoded(self.form)

    def encoded(self) -> bytes:
        """The request as it travels, framed as it should be."""
        target = self.path + (b"?" + urlencoded(self.query) if self.query else b"")
        lines = [b"%b %b HTTP/1.1" % (self.method, target)]
        lines += [b"%b: %b" % header for header in self.headers]
        body = self.content()
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def urlencoded(fields: Fields) -> bytes:
    """Fields as a query or a form."""
    return b"&".join(_quoted(name) + b"=" + _quoted(value) for name, value in fields)


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="").encode()


class Mutator:
    """Makes requests of good ones, by a few changes each.

    :param chance: decides all.
    :param values: what the system knows now: identifiers, tokens, addresses. It is put into wrong
        places.
    """

    def __init__(self, chance: random.Random, values: Sequence[bytes] = ()) -> None:
        self.chance = chance
        self.values: Sequence[bytes] = values

    def mutated(self, request: Request) -> Request:
        """A copy with some changes; sometimes none."""
        changed = request.copy()
        changes: tuple[Callable[[Request], None], ...] = (
            self._change_field, self._change_field, self._change_field, self._repeat_field,
            self._drop_field,
            self._add_field, self._move_field, self._change_header, self._add_header, self._add_header,
            self._drop_header, self._change_method, self._change_path, self._change_body,
        )  # fmt: skip
        for _ in range(self.chance.choice((0, 1, 1, 1, 1, 2, 2, 3, 5))):
            self.chance.choice(changes)(changed)
        return request.copy() if self._is_logged(changed) else changed

    def _is_logged(self, request: Request) -> bool:
        """Whether a secret stands where the log repeats what was sent: in the identifier that a trusted
        proxy gives to a request, or a password, which looks like a name, as a scope or redirect URI.
        """
        given = b" ".join(value for name, value in request.headers if name.lower() == b"x-request-id")
        fields = (*request.query, *(request.form or ()))
        repeated = b" ".join(value for name, value in fields if name in (b"scope", b"redirect_uri"))
        passwords = [value for value in self.values if b" " in value]
        return any(value in given for value in self.values) or any(
            password in repeated for password in passwords
        )

    def odd(self) -> bytes:
        """A value that should not be there."""
        kind = self.chance.randrange(8)
        if kind < 5 or not self.values:
            return self.chance.choice(ODD)
        if kind < 7:
            return self.chance.choice(self.values)
        return bytes(self.chance.randrange(256) for _ in range(self.chance.randrange(24)))

    def bent(self, value: bytes) -> bytes:
        """A value that differs a little from a given one."""
        at = self.chance.randrange(len(value) + 1)
        kind = self.chance.randrange(6)
        if kind == 0:
            return value[:at]
        if kind == 1:
            return value[:at] + self.odd() + value[at:]
        if kind == 2:
            return value.swapcase()
        if kind == 3:
            return value[:at] + bytes([self.chance.randrange(256)]) + value[at + 1 :]
        return value + self.odd() if kind == 4 else self.odd()

    def _fields(self, request: Request) -> Fields:
        if request.form and (not request.query or self.chance.randrange(3)):
            return request.form
        return request.query

    def _change_field(self, request: Request) -> None:
        fields = self._fields(request)
        if fields:
            at = self.chance.randrange(len(fields))
            name, value = fields[at]
            if self.chance.randrange(8):
                fields[at] = name, self.bent(value)
            else:
                fields[at] = self.bent(name), value

    def _repeat_field(self, request: Request) -> None:
        fields = self._fields(request)
        if fields:
            name, value = self.chance.choice(fields)
            again = (name, self.chance.choice((value, self.odd())))
            fields.insert(self.chance.randrange(len(fields) + 1), again)

    def _drop_field(self, request: Request) -> None:
        fields = self._fields(request)
        if fields:
            del fields[self.chance.randrange(len(fields))]

    def _add_field(self, request: Request) -> None:
        fields = self._fields(request)
        fields.append((self.chance.choice(NAMES), self.odd()))

    def _move_field(self, request: Request) -> None:
        if request.form:
            request.query.append(request.form.pop(self.chance.randrange(len(request.form))))
        elif request.query:
            self._repeat_field(request)

    def _change_header(self, request: Request) -> None:
        if request.headers:
            at = self.chance.randrange(len(request.headers))
            name, value = request.headers[at]
            request.headers[at] = name, on_a_line(self.bent(value))

    def _add_header(self, request: Request) -> None:
        name = self.chance.choice(HEADERS)
        if name in (b"Content-Length", b"Transfer-Encoding"):
            # These change the framing, which is `broken`'s work.
            return
        value = self.chance.choice((*HEADER_VALUES, self.odd(), self.odd()))
        request.headers.append((name, on_a_line(value)))

    def _drop_header(self, request: Request) -> None:
        if request.headers:
            del request.headers[self.chance.randrange(len(request.headers))]

    def _change_method(self, request: Request) -> None:
        request.method = self.chance.choice(METHODS)

    def _change_path(self, request: Request) -> None:
        path = request.path
        at = self.chance.randrange(len(path) + 1)
        request.path = self.chance.choice((
            path.rstrip(b"/"), path + b"/", path + b"//", b"/" + path, b"//evil.example" + path,
            path.upper(),
            path.replace(b"/", b"//", 1), path + b"..", b"/.." + path, path + b";x=1", path + b"%00",
            path + b"%2f",
            path[:at] + b"%ff" + path[at:], path[:at] + b"%25" + path[at:], path.replace(b"o", b"%6f"),
            b"https://as.example" + path, b"https://evil.example" + path, b"http://[::1" + path, b"*",
            b"",
            path + b"index.html", path + b"?a?b", path + b"#x", path + b"a" * 5000,
        ))  # fmt: skip

    def _change_body(self, request: Request) -> None:
        body = request.content() or b""
        at = self.chance.randrange(len(body) + 1)
        request.body = self.chance.choice((
            b"", body[:at], body + b"&" + body,
            b"\x00" + body, body[:at] + bytes([self.chance.randrange(256)]),
            b"{}", b'{"grant_type": "authorization_code"}',
            b"--x\r\nContent-Disposition: form-data; name=a\r\n",
            b"&" * 99 + body, b"&" * 200, b"=&=&=", b"%" * 40, b"a" * 70_000, body.replace(b"=", b"%3D"),
            b"\x1f\x8b\x08" + body, body.replace(b"&", b";"),
        ))  # fmt: skip


def on_a_line(value: bytes) -> bytes:
    """A value without what ends a line: other bytes leave the framing of a request as it is."""
    return value.replace(b"\r", b"").replace(b"\n", b"")[:6000]


def broken(chance: random.Random, data: bytes) -> bytes:  # noqa: C901 (a list of ways)
    """A request whose framing or bytes were changed. It may be incomplete, or two requests."""
    head, _, body = data.partition(b"\r\n\r\n")
    at, lines = chance.randrange(len(data) + 1), head.split(b"\r\n")
    kind = chance.randrange(12)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + chance.choice(ODD) + data[at:]
    if kind == 3:
        return data.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"\x0b")), 1)
    if kind == 4:
        return data + data
    if kind == 5:
        return b"\r\n".join([*lines, _framing(chance), b"", b""]) + body
    if kind == 6:
        return _rechunked(chance, lines, body)
    if kind == 7:
        version = chance.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 x", b"http/1.1", b""))
        return data.replace(b"HTTP/1.1", version, 1)
    if kind == 8:
        many = [b"X-%d: y" % number for number in range(chance.choice((50, 101, 400)))]
        return b"\r\n".join([*lines, *many, b"", b""]) + body
    if kind == 9:
        size = chance.choice((100, 4000, 9000, 17_000))
        return b"\r\n".join([*lines, b"X: " + b"y" * size, b"", b""]) + body
    if kind == 10:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(64))) + data
    chance.shuffle(lines)
    return b"\r\n".join([*lines, b"", b""]) + body


def _framing(chance: random.Random) -> bytes:
    return chance.choice((
        b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: +1",
        b"Content-Length: 0x10", b"Content-Length: 1_0", b"Content-Length: 99999999999999999999",
        b"Content-Length: 1, 1", b"Content-Length:", b"Content-Length : 3",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked", b"Expect: 100-continue",
        b" folded", b"\tfolded: x", b": no name", b"no colon", b"X\x00Y: z", b"Host: evil.example",
    ))  # fmt: skip


def _rechunked(chance: random.Random, lines: list[bytes], body: bytes) -> bytes:
    """The body in chunks, which may be wrong."""
    kept = [line for line in lines if not line.lower().startswith(b"content-length")]
    size = chance.choice((
        b"%x" % len(body), b"%X;ext=1" % len(body), b"0%x" % len(body), b"-1", b"0x1",
        b"fffffffffffffffffff",
        b"", b"1_0", b" 1", b"%x" % (len(body) + 1), b"1\n", b"zz", b"5;" + b"e" * 2000,
    ))  # fmt: skip
    end = chance.choice(
        (
            b"\r\n0\r\n\r\n",
            b"\r\n0\r\nTrailer: x\r\n\r\n",
            b"0\r\n\r\n",
            b"\r\n00000\r\n\r\n",
            b"\n0\n\n",
        )
    )
    head = b"\r\n".join([*kept, b"Transfer-Encoding: chunked", b"", b""])
    return head + size + b"\r\n" + body + end
