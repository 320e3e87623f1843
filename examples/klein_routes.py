"""Klein routes, each with its own scopes; the first argument is the access token.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny klein_routes.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/app/me
"""

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, oauth_scope
from djoauth2_twisted.models import AccessToken

application = service.Application("routes")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

app = Klein()


@app.route("/")
def anybody(request: web.Request) -> str:
    return "Hello, guest.\n"


@app.route("/me")
@oauth_scope("user_info", verifier=server)
def me(access_token: AccessToken, request: web.Request) -> str:
    return f"Hello, {access_token.user.username}.\n"


class Notes:
    app = Klein()

    @app.route("/<name>", methods=["PUT"])
    @oauth_scope("user_info", "write", verifier=server)
    async def write(self, access_token: AccessToken, request: web.Request, name: str) -> str:
        return f"{access_token.user.username} wrote {name}.\n"


root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"app", app.resource())
root.putChild(b"notes", Notes().app.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
