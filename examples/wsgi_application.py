"""A WSGI application (Flask, Django, ...) behind a guard, which passes on the user's name.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny wsgi_application.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/app/hello
"""

from typing import Any, cast
from wsgiref.types import StartResponse, WSGIEnvironment

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource, wsgi
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, IAccessToken, OAuthGuard


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Stands for yours."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"Hello, {environ['HTTP_X_FORWARDED_USER']}.\n".encode("latin-1")]


class WithUser(resource.Resource):
    """Names the user in a header. One that a client made up was removed by the guard."""

    isLeaf = True

    def __init__(self, inside: wsgi.WSGIResource) -> None:
        super().__init__()
        self.inside = inside

    def render(self, request: web.Request) -> Any:
        headers, body = request.requestHeaders, request.content
        assert body is not None  # Twisted has read it.
        headers.setRawHeaders("X-Forwarded-User", [IAccessToken(request).user.username])
        # WSGI applications read as much, and a chunked body comes without a length.
        headers.setRawHeaders("Content-Length", [str(body.seek(0, 2))])
        body.seek(0)
        return self.inside.render(request)


application = service.Application("wsgi")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

app = WithUser(wsgi.WSGIResource(reactor, cast(Any, reactor).getThreadPool(), hello))
root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"app", OAuthGuard(app, server, scopes=("user_info",)))
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
