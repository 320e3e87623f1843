"""Another server, at port 8000 of this machine, behind a guard, which passes on the user's name.

In the folder of the README's Quickstart, in the place of its server:

    mkdir -p files && python3 -m http.server 8000 --bind 127.0.0.1 --directory files
    twistd -ny reverse_proxy.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/behind/
"""

from typing import Any

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import proxy, resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, IAccessToken, OAuthGuard


class WithUser(resource.Resource):
    """Names the user in a header. One that a client made up was removed by the guard."""

    isLeaf = True

    def __init__(self, inside: resource.Resource) -> None:
        super().__init__()
        self.inside = inside

    def render(self, request: web.Request) -> Any:
        headers, body = request.requestHeaders, request.content
        assert body is not None  # Twisted has read it.
        headers.setRawHeaders("X-Forwarded-User", [IAccessToken(request).user.username])
        # Twisted passes the body on as it is, without regard to the client's headers.
        headers.setRawHeaders("Content-Length", [str(body.seek(0, 2))])
        headers.removeHeader("Transfer-Encoding")
        headers.removeHeader("Expect")
        return resource.getChildForRequest(self.inside, request).render(request)


application = service.Application("proxy")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

behind = WithUser(proxy.ReverseProxyResource("127.0.0.1", 8000, b""))
root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"behind", OAuthGuard(behind, server, scopes=("user_info",)))
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
