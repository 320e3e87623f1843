"""An API in a separate process, or on another machine, which asks the server about each access token.

Run it in the folder of the README's Quickstart, while its server runs. Register it as a resource server:

    djoauth2 client add --name API --resource-server
    export CLIENT_ID=... CLIENT_SECRET=...
    SSL_CERT_FILE=server.pem twistd -ny resource_server.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8444/api/me
"""

import os

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import IAccessToken, IntrospectionClient, OAuthGuard

app = Klein()


@app.route("/me")
def me(request: web.Request) -> str:
    return f"Hello, {IAccessToken(request).user.username}.\n"


verifier = IntrospectionClient(
    reactor, "https://localhost:8443", os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
)
root = resource.Resource()
root.putChild(b"api", OAuthGuard(app.resource(), verifier, scopes=("user_info",)))
application = service.Application("api")
strports.service("ssl:8444:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
