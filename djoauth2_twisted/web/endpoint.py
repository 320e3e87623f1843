"""Addresses outside the tree of Klein's routes, as plain resources."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from klein import Response
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..conf import Settings
from ..errors import NothingHere
from . import respond


class Endpoint(Resource):
    """One address outside the tree, with or without a slash at its end.

    :param alone: whether there is nothing below it.
    """

    isLeaf = True

    def __init__(
        self,
        answer: Callable[[Any], Coroutine[Any, Any, Response]],
        settings: Settings,
        alone: bool = True,
    ) -> None:
        super().__init__()
        self._answer = answer
        self._settings = settings
        self._alone = alone

    def render(self, request: Any) -> int:
        """Answer, unless the client hangs up before."""
        if self._alone and request.postpath not in ([], [b""]):
            return _nothing_here(request, self._settings)
        answering: Deferred[Response] = Deferred.fromCoroutine(self._answer(request))
        gone: list[Failure] = []

        def hang_up(reason: Failure) -> None:
            gone.append(reason)
            answering.cancel()

        def fail(failure: Failure) -> None:
            if not gone:
                request.processingFailed(failure)

        request.notifyFinish().addErrback(hang_up)
        answering.addCallback(lambda response: respond.write(request, response)).addErrback(fail)
        return NOT_DONE_YET


class Folder(Resource):
    """A place that has addresses below it and is none itself."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Nothing is below but what was put there."""
        return _Nothing(self._settings)

    def render(self, request: Any) -> int:
        """There is nothing here."""
        return _nothing_here(request, self._settings)


class _Nothing(Folder):
    isLeaf = True


def _nothing_here(request: Any, settings: Settings) -> int:
    error = NothingHere("there is nothing at this address")
    respond.write(request, respond.as_error(request, error, settings.realm))
    return NOT_DONE_YET
