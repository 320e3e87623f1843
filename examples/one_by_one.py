"""The endpoints of DJOAuth2 at other addresses, with another consent page.

In the folder of the README's Quickstart, in the place of its server:

    twistd -ny one_by_one.py

Open the Quickstart's address, with `/authorize` in the place of `/oauth2/authorization/`.
"""

from pathlib import Path

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.authorization import make_authorization_endpoint
from djoauth2_twisted.views import access_token_endpoint

Path("pages").mkdir(exist_ok=True)
Path("pages/let_in.html").write_text("""<!DOCTYPE html><title>Let in?</title>
<h1>{{ client.name }} would like to:</h1>
<ul>{% for scope in scopes %}<li>{{ scope.description }}</li>{% endfor %}</ul>
<form action="{{ form_action }}" method="POST">{{ form }}
<button name="user_action" value="Decline">No</button>
<button name="user_action" value="Accept">Yes</button>
</form>""")

application = service.Application("parts")
server = AuthorizationServer.from_url(
    reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443", templates="pages"
)
server.setServiceParent(application)
root = resource.Resource()
authorize = make_authorization_endpoint(
    server, authorization_endpoint_uri="/authorize", authorization_template_name="let_in.html"
)
root.putChild(b"authorize", authorize)
root.putChild(b"token", access_token_endpoint(server, token_endpoint_uri="/token"))
root.putChild(b"oauth2", server.resource())  # login, style sheet and all the rest
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
