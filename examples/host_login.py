"""An application that logs people in itself, and is also an authorization server for others.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny host_login.py

Open the Quickstart's address: the login page is this application's own.
"""

from typing import Any
from urllib.parse import quote

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.models import ResourceOwner

app = Klein()


@app.route("/login", methods=["GET", "POST"])
def login(request: web.Request) -> str:
    if request.method == b"POST":
        # For an example, Twisted's sessions are enough, and a name without a password.
        name, then = ((request.args or {}).get(field, [b""])[0] for field in (b"name", b"then"))
        session: Any = request.getSession()
        session.name = name.decode("utf-8", "replace")
        request.redirect(then if then.startswith(b"/oauth2/") else b"/app/login")
    # Browsers send a form in the encoding of its page.
    request.setHeader("Content-Type", "text/html; charset=utf-8")
    return '<form method="POST"><input name="name" aria-label="Name"><button>Log in</button></form>'


def who(request: web.Request, returning_to: str) -> ResourceOwner | str:
    """Who is logged in; or else where to log in, to come back to that path."""
    name = getattr(request.getSession(), "name", None)
    return ResourceOwner(name) if name else "/app/login?then=" + quote(returning_to)


application = service.Application("host")
issuer = "https://localhost:8443"
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer=issuer, who=who)
server.setServiceParent(application)
root = resource.Resource()
root.putChild(b"app", app.resource())
root.putChild(b"oauth2", server.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
