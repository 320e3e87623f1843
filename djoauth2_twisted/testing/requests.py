"""Requests that stay in memory, over the agent of `treq.testing`."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode

import treq
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface import implementer

from .answers import Answer

_T = TypeVar("_T")

#: The scheme and the host of the sites of tests.
ORIGIN = "https://as.example"

#: The header line of a form.
FORM = ("Content-Type", "application/x-www-form-urlencoded")

#: Header lines; the same name may stand in several.
Lines = Iterable[tuple[str, str]]

#: The fields of a form, or parameters. Those whose value is None are left out.
Fields = Mapping[str, str | None] | Iterable[tuple[str, str | None]]


def basic(client_id: str, client_secret: str) -> str:
    """The Authorization header of a client (RFC 6749, section 2.3.1): form-encoded, then base64."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")


def encoded(fields: Fields) -> bytes:
    """A form's body, without the fields whose value is None."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    present = [(name, value) for name, value in pairs if value is not None]
    return urlencode(present, encoding="utf-8", errors="surrogateescape").encode("ascii")


def result_of(deferred: Deferred[_T]) -> _T:
    """The result of a Deferred that has fired; raises its error where it failed.

    :raises AssertionError: it has not fired. Something waits for a thread, a network or the clock.
    """
    fired: list[Any] = []
    deferred.addBoth(fired.append)
    assert fired, "no answer yet: something waits for a thread, a network or the clock"
    if isinstance(fired[0], Failure):
        fired[0].raiseException()
    result: _T = fired[0]
    return result


@implementer(IBodyProducer)
class _Body:
    """A request's body, all at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class MemoryAgent(RequestTraversalAgent):
    """An IAgent whose requests go to a site in memory; see `treq.testing.RequestTraversalAgent`.

    :param site: a Site, or the resource at its root.
    """

    def __init__(self, site: Site | IResource) -> None:
        root = site.resource if isinstance(site, Site) else site
        super().__init__(root)  # type: ignore[no-untyped-call]
        if isinstance(site, Site):
            self._serverFactory = site


class MemorySite:
    """Sends requests to a resource, and reads the answers::

        site = MemorySite(OAuthGuard(resource, verifier, scopes=("user_info",)))
        assert site.get("/").status == 401

    :param site: a Site, or the resource at its root.
    :param origin: the scheme and the host of addresses that have none. The requests are https unless it
        says otherwise.
    """

    def __init__(self, site: Site | IResource, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.agent: Any = MemoryAgent(site)

    def request(
        self, method: str, address: str, body: bytes | None = None, headers: Lines = ()
    ) -> Deferred[Answer]:
        """Send a request whose answer may take its time. Call ``agent.flush()`` when it was written.

        :param address: a path with its query, or a whole URL.
        """
        given = Headers()
        for name, value in headers:
            given.addRawHeader(name.encode(), value.encode("utf-8", "surrogateescape"))
        producer = None if body is None else _Body(body)
        url = address if address.startswith(("http:", "https:")) else self.origin + address
        sent = self.agent.request(method.encode(), url.encode(), given, producer)
        answer: Deferred[Answer] = sent.addCallback(_read)
        return answer

    def send(self, method: str, address: str, body: bytes | None = None, headers: Lines = ()) -> Answer:
        """Send a request, and return the answer to it."""
        return result_of(self.request(method, address, body, headers))

    def get(self, address: str, *, token: str | None = None, headers: Lines = ()) -> Answer:
        """Send a GET request, with an access token where one is given."""
        return self.send("GET", address, None, _with_token(token, headers))

    def post(
        self, address: str, fields: Fields = (), *, token: str | None = None, headers: Lines = ()
    ) -> Answer:
        """Send a form, with an access token where one is given."""
        return self.send("POST", address, encoded(fields), [FORM, *_with_token(token, headers)])


def _with_token(token: str | None, headers: Lines) -> Lines:
    return headers if token is None else [("Authorization", f"Bearer {token}"), *headers]


def _read(response: IResponse) -> Deferred[Answer]:
    def answer(body: bytes) -> Answer:
        return Answer(response.code, response.headers, body)

    return treq.content(response).addCallback(answer)
