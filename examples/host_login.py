"""An application that logs people in itself, and is an authorization server for others beside.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny host_login.py

Open the Quickstart's address: the login page is this application's own.
"""

from urllib.parse import quote

from klein import Klein
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.models import ResourceOwner

app = Klein()


def page(request, form):
    # Browsers send a form in the encoding of its page.
    request.setHeader("Content-Type", "text/html; charset=utf-8")
    return f'<!DOCTYPE html><title>Host</title><form method="POST">{form}</form>'


def sent(request, field):
    return request.args.get(field, [b""])[0].decode("utf-8", "replace")


@app.route("/login", methods=["GET"])
def login(request):
    return page(request, '<input name="name" aria-label="Name"><button>Log in</button>')


@app.route("/login", methods=["POST"])
def logged_in(request):
    # For an example, Twisted's sessions are enough, and to believe whoever types a name.
    request.getSession().name = sent(request, b"name")
    then = sent(request, b"then")
    request.redirect(then.encode() if then.startswith("/oauth2/") else b"/app/login")


@app.route("/logout", methods=["GET"])
def logout(request):
    return page(request, "<button>Log out</button>")


@app.route("/logout", methods=["POST"])
def logged_out(request):
    request.getSession().expire()
    request.redirect(b"/app/login")


def who(request, returning_to):
    """Who is logged in; or else where to log in, to come back to that path."""
    name = getattr(request.getSession(), "name", None)
    return ResourceOwner(name) if name else "/app/login?then=" + quote(returning_to)


application = service.Application("host")
issuer = "https://localhost:8443"
server = AuthorizationServer.from_url(
    reactor, "sqlite:///djoauth2.db", issuer=issuer, who=who, logout="/app/logout"
)
server.setServiceParent(application)
root = resource.Resource()
root.putChild(b"app", app.resource())
root.putChild(b"oauth2", server.resource())
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
