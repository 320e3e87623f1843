"""Reads a plain request in one step: one that arrives whole, in one piece, and without rare features.

Nearly all requests are plain. Twisted reads a request line by line, which takes longer than the guard's
check and its answer. This module makes the same request object from a plain request. A request that has
a rare feature, or that could be read in more than one way, is left to Twisted's parser.
"""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from twisted.web.http_headers import Headers

if TYPE_CHECKING:
    from .site import LimitedRequest

#: The longest name of a header, in bytes. Twisted remembers 10,000 names until the process ends.
MAX_NAME_LENGTH = 128

#: The longest request that is read in one step, in bytes.
MAX_LENGTH = 4096

# RFC 9112, sections 3 and 5, but stricter: the method has capital letters, the target is a path, and
# there are 64 lines at most. A value has no control character but the tab (RFC 9110, section 5.5).
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELD = rb"(%b{1,%d}):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n" % (_TOKEN, MAX_NAME_LENGTH)
_FIELD_IN_HEAD = _FIELD.translate(None, b"()")
_HEAD = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.1\r\n((?:%b){0,64})\r\n" % _FIELD_IN_HEAD)
_FIELDS = re.compile(_FIELD)

# The channel has to act on these, not only to read them.
_RARE = frozenset((b"Transfer-Encoding", b"Expect", b"Upgrade"))


class PlainRequest(NamedTuple):
    """What was read.

    :param headers: the values by name, as `Headers` has them.
    :param body: empty if there is none.
    """

    method: bytes
    uri: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes

    def fill(self, request: LimitedRequest) -> None:
        """Give a new `LimitedRequest` its headers and its body."""
        # `Headers` has no public way to take names that are encoded already, and would take longer than
        # all the rest of the reading.
        request.requestHeaders._rawHeaders = self.headers
        request.content = BytesIO(self.body)
        request.received = len(self.body)
        if b"Cookie" in self.headers:
            request.parseCookies()


def read_plain(data: bytes) -> PlainRequest | None:
    """Read a whole request; None if these bytes are not exactly one, or if it is not plain."""
    if len(data) > MAX_LENGTH or (head := _HEAD.match(data)) is None:
        return None
    headers: dict[bytes, list[bytes]] = {}
    for name, value in _FIELDS.findall(head[3]):
        headers.setdefault(_spelled(name), []).append(value.strip(b" \t"))
    body = data[head.end() :]
    if not _RARE.isdisjoint(headers) or len(headers.get(b"Host", ())) > 1:
        return None
    # The length is compared as text, so that there is no other way to read it.
    lengths = headers.get(b"Content-Length")
    if body if lengths is None else lengths != [b"%d" % len(body)]:
        return None
    return PlainRequest(head[1], head[2], headers, body)


@lru_cache(1024)
def _spelled(name: bytes) -> bytes:
    """The name of a header as `Headers` spells it."""
    headers = Headers()
    headers.addRawHeader(name, b"")
    (spelled,) = (name for name, _ in headers.getAllRawHeaders())
    return spelled
