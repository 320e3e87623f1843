"""One guard in another: everything needs one scope, and a part of it a second one.

In the folder of the README's Quickstart, in the place of its server:

    mkdir -p files && echo "A letter." > files/letter.txt
    twistd -ny nested_guards.py
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/files/letter.txt
    curl --cacert server.pem -H "Authorization: Bearer $ACCESS_TOKEN" https://localhost:8443/files/diary
"""

from twisted.application import service, strports
from twisted.internet import reactor
from twisted.web import resource, static
from twisted.web import server as web

from djoauth2_twisted import AuthorizationServer, OAuthGuard

application = service.Application("nested")
server = AuthorizationServer.from_url(reactor, "sqlite:///djoauth2.db", issuer="https://localhost:8443")
server.setServiceParent(application)

files = static.File("files")
diary = static.Data(b"Dear diary.\n", "text/plain")
files.putChild(b"diary", OAuthGuard(diary, server, scopes=("write",)))

root = resource.Resource()
root.putChild(b"oauth2", server.resource())
root.putChild(b"files", OAuthGuard(files, server, scopes=("user_info",)))
strports.service("ssl:8443:interface=127.0.0.1", web.Site(root)).setServiceParent(application)
