"""The access token judged by hand, where neither a guard nor a decorator fits.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny by_hand.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/app/alice
"""

from typing import Any

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.access_token import AccessTokenAuthenticator
from djoauth2_twisted.errors import DJOAuthError

application = service.Application("by-hand")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

authenticator = AccessTokenAuthenticator(server, scopes=("user_info",))
app = Klein()


@app.route("/<name>")
async def page(request: web.Request, name: str) -> Any:
    if name == "public":
        return "For everyone.\n"
    try:
        access_token = await authenticator.authenticate(request)
    except DJOAuthError as error:
        return authenticator.refuse(request, error)
    return f"{access_token.user.username} reads the page of {name}.\n"


root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"app", app.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
