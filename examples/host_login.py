"""An application that logs people in itself, and is an authorization server for others beside.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny host_login.py

Open the Quickstart's address: the login page is this application's own.
"""

from urllib.parse import urlencode

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.models import ResourceOwner

app = Klein()


@app.route("/login", methods=["GET"])
def login(request):
    return '<form method="POST"><input name="name" aria-label="Name"><button>Log in</button></form>'


@app.route("/login", methods=["POST"])
def logged_in(request):
    # For an example, Twisted's sessions are enough, and to believe whoever types a name.
    request.getSession().name = request.args[b"name"][0].decode()
    then = request.args[b"then"][0]
    request.redirect(then if then.startswith(b"/oauth2/") else b"/app/login")


def who(request, returning_to):
    """Who is logged in; or else where to log in, to come back to that path."""
    name = getattr(request.getSession(), "name", None)
    return ResourceOwner(name) if name else "/app/login?" + urlencode({"then": returning_to})


application = service.Application("host")
issuer = "https://localhost:8443"
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer=issuer, who=who)
server.setServiceParent(application)
root = resource.Resource()
root.putChild(b"app", app.resource())
root.putChild(b"oauth2", server.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
