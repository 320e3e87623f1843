"""Addresses with an endpoint of their own, as plain resources; and how an endpoint answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..conf import Settings
from ..errors import NothingHere
from . import respond
from .error_response import ClientErrors, ErrorResponse, response_of
from .reading import has_hung_up, origin_of_request
from .respond import Response

_log = Logger()


def serve(request: Request, answering: Awaitable[Response], errors: ErrorResponse) -> None:
    """Answer a request. If the client hangs up, the work is cancelled.

    :param answering: makes the response.
    :param errors: makes the responses of its errors.
    """

    def fail(failure: Failure) -> None:
        if not has_hung_up(request):
            request.processingFailed(failure)
        elif not failure.check(CancelledError):
            _log.failure("A request failed after its client had gone", failure)

    answered = Deferred.fromCoroutine(response_of(answering, request, errors))
    request.notifyFinish().addErrback(lambda _: answered.cancel())
    answered.addCallback(lambda response: respond.write(request, response)).addErrback(fail)


class Endpoint(Resource):
    """One address outside the tree, with or without a slash at its end.

    :param answer: makes the response to a request.
    :param alone: whether every address below it answers 404.
    :param errors: makes the responses of its errors; by default `ClientErrors`.
    :param name: names the endpoint in metrics.
    """

    isLeaf = True

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        settings: Settings,
        alone: bool = True,
        errors: ErrorResponse | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self._answer = answer
        self._settings = settings
        self._alone = alone
        self.name = name
        self._errors = errors or ClientErrors(settings.realm)

    def render(self, request: Request) -> int:
        """Answer a request; see `serve`."""
        if self._settings.trusted_proxies:
            origin_of_request(request, self._settings.trusted_proxies)
        if self._alone and request.postpath not in ([], [b""]):
            return _nothing_here(request, self._errors)
        serve(request, self._answer(request), self._errors)
        return NOT_DONE_YET


class Folder(Resource):
    """A path above other addresses, which itself answers 404.

    :param errors: makes that response; by default `ClientErrors`.
    """

    def __init__(self, settings: Settings, errors: ErrorResponse | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._errors = errors or ClientErrors(settings.realm)

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Answer 404 for every child that was not put there."""
        return _Nothing(self._settings, self._errors)

    def render(self, request: IRequest) -> int:
        """Answer 404."""
        origin_of_request(request, self._settings.trusted_proxies)
        return _nothing_here(request, self._errors)


class _Nothing(Folder):
    isLeaf = True


def _nothing_here(request: IRequest, errors: ErrorResponse) -> int:
    return errors(request, NothingHere("there is nothing at this address")).render(request)
