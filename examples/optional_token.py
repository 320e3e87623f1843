"""A page for everyone; a user with an access token is greeted by name.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny optional_token.py
    curl --cacert server.pem https://localhost:8443/hello
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/hello
"""

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, IAccessToken, OAuthGuard


class Hello(resource.Resource):
    isLeaf = True

    def render_GET(self, request: web.Request) -> bytes:
        access_token = IAccessToken(request, None)
        name = "guest" if access_token is None else access_token.user.username
        return f"Hello, {name}.\n".encode()


application = service.Application("hello")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

hello = OAuthGuard(Hello(), server, scopes=("user_info",), optional=True)
root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"hello", hello)
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
