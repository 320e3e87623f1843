"""Reading needs one scope, writing either of two, and no other method is let in.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny scopes_by_method.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/note
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" -d Hi https://localhost:8443/note
"""

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, OAuthGuard
from djoauth2_twisted.guard import any_of


class Note(resource.Resource):
    isLeaf = True
    text = b"Nothing yet.\n"

    def render_GET(self, request: web.Request) -> bytes:
        return self.text

    def render_POST(self, request: web.Request) -> bytes:
        assert request.content is not None  # Twisted has read it.
        self.text = request.content.read(200)
        return self.text


application = service.Application("note")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

scopes = {"GET": ("user_info",), "POST": any_of("write", "admin")}
root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"note", OAuthGuard(Note(), server, scopes))
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
