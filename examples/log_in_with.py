"""An application whose users log in at the server ("Log in with ..."), by OpenID Connect.

In the folder of the README's Quickstart, whose server runs with `DJOAUTH2_OPENID=true`:

    djoauth2 client add --name "My application" --redirect-uri https://localhost:8445/callback \\
        --post-logout-redirect-uri https://localhost:8445/
    export CLIENT_ID=... CLIENT_SECRET=...
    SSL_CERT_FILE=server.pem twistd -ny log_in_with.py

Then open https://localhost:8445/. The application uses discovery, PKCE, a nonce, an ID token whose
signature and claims it checks, UserInfo, refresh and logout.
"""

import os
import secrets
import time
from hashlib import sha256
from html import escape
from typing import Any
from urllib.parse import urlencode

import treq
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64encode
from klein import Klein
from twisted.application import service, strports
from twisted.python.failure import Failure
from twisted.web import server as web
from twisted.web.iweb import IRequest

ISSUER = os.environ.get("ISSUER", "https://localhost:8443")
BASE = os.environ.get("BASE", "https://localhost:8445")
CLIENT = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
CALLBACK = f"{BASE}/callback"

app = Klein()
#: What is known of each browser, by the value of its cookie. A real application keeps it in a database.
logins: dict[bytes, dict[str, Any]] = {}


class LoginFailed(Exception):
    """The provider, or the browser, did not answer as it must."""


async def get(address: str, access_token: str = "") -> Any:
    """The JSON at an address."""
    headers: Any = {"Authorization": f"Bearer {access_token}"} if access_token else {}
    response: Any = await treq.get(address, headers=headers)
    if response.code != 200:
        raise LoginFailed(f"{address} answered {response.code}")
    return await response.json()


async def metadata() -> dict[str, Any]:
    """The provider's addresses (OpenID Connect Discovery, section 4)."""
    found: dict[str, Any] = await get(f"{ISSUER}/.well-known/openid-configuration")
    if found["issuer"] != ISSUER:
        raise LoginFailed("the issuer is another one")
    return found


async def ask_for_tokens(login: dict[str, Any], nonce: str | None, **form: str) -> None:
    """Keep the tokens that the token endpoint gives (RFC 6749, sections 4.1.3 and 6)."""
    found = await metadata()
    response: Any = await treq.post(found["token_endpoint"], data=form, auth=CLIENT)
    tokens = await response.json()
    if response.code != 200:
        raise LoginFailed(tokens["error_description"])
    login["claims"] = await judge(tokens["id_token"], found, nonce)
    login["tokens"] = tokens


async def judge(id_token: str, found: dict[str, Any], nonce: str | None) -> dict[str, Any]:
    """The claims of an ID token, if it is good (OpenID Connect Core, section 3.1.3.7)."""
    keys = KeySet.import_key_set(await get(found["jwks_uri"]))
    claims = jwt.decode(id_token, keys, algorithms=["RS256"]).claims
    rules = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": CLIENT[0]},
        sub={"essential": True},
        exp={"essential": True},
        now=lambda: int(time.time()),
    )
    rules.validate(claims)
    if claims.get("nonce") != nonce:
        raise LoginFailed("the nonce is another one")
    return claims


def login_of(request: web.Request) -> dict[str, Any]:
    """What is known of a browser; empty before it logs in."""
    return logins.get(request.getCookie(b"__Host-login") or b"", {})


def redirect(request: web.Request, address: str, **parameters: str) -> bytes:
    """Send the browser to an address."""
    request.setResponseCode(303)
    request.setHeader("Location", f"{address}?{urlencode(parameters)}" if parameters else address)
    return b""


@app.route("/")
def index(request: web.Request) -> str:
    login = login_of(request)
    if "user" not in login:
        return '<a href="/login">Log in</a>'
    name = escape(login["user"].get("name", login["user"]["sub"]))
    return f'Hello, {name}. <a href="/refresh">Refresh</a> <a href="/logout">Log out</a>'


@app.route("/login")
async def log_in(request: web.Request) -> bytes:
    verifier, key = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    login = {"verifier": verifier, "state": state, "nonce": nonce}
    logins[key.encode("ascii")] = login
    # The login must end in the browser in which it began.
    request.addCookie("__Host-login", key, path="/", secure=True, httpOnly=True, sameSite="lax")
    return redirect(
        request,
        (await metadata())["authorization_endpoint"],
        response_type="code",
        client_id=CLIENT[0],
        redirect_uri=CALLBACK,
        scope="openid profile email",
        state=state,
        nonce=nonce,
        code_challenge=urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).decode("ascii"),
        code_challenge_method="S256",
    )


@app.route("/callback")
async def finish(request: web.Request) -> bytes:
    login = login_of(request)
    arguments: Any = request.args
    answer = {name.decode(): values[0].decode() for name, values in arguments.items()}
    # RFC 9207, section 2.4: the answer of another server is refused.
    if not login or (answer.get("state"), answer.get("iss")) != (login["state"], ISSUER):
        raise LoginFailed("this browser did not ask for this answer")
    if "code" not in answer:
        raise LoginFailed(answer.get("error_description", "the answer has no code"))
    await ask_for_tokens(
        login,
        login["nonce"],
        grant_type="authorization_code",
        code=answer["code"],
        redirect_uri=CALLBACK,
        code_verifier=login["verifier"],
    )
    user = await get((await metadata())["userinfo_endpoint"], login["tokens"]["access_token"])
    # OpenID Connect Core, section 5.3.2: the answer may be used only if it is for the same subject.
    if user["sub"] != login["claims"]["sub"]:
        raise LoginFailed("the user is another one")
    login["user"] = user
    return redirect(request, f"{BASE}/")


@app.route("/refresh")
async def refresh(request: web.Request) -> bytes:
    login = login_of(request)
    if "tokens" in login:
        subject = login["claims"]["sub"]
        refresh_token = login["tokens"]["refresh_token"]
        await ask_for_tokens(login, None, grant_type="refresh_token", refresh_token=refresh_token)
        # OpenID Connect Core, section 12.2: the subject stays the same.
        if login["claims"]["sub"] != subject:
            raise LoginFailed("the user is another one")
    return redirect(request, f"{BASE}/")


@app.route("/logout")
async def log_out(request: web.Request) -> bytes:
    login = logins.pop(request.getCookie(b"__Host-login") or b"", {})
    if "tokens" not in login:
        return redirect(request, f"{BASE}/")
    return redirect(
        request,
        (await metadata())["end_session_endpoint"],
        id_token_hint=login["tokens"]["id_token"],
        post_logout_redirect_uri=f"{BASE}/",
    )


@app.handle_errors(LoginFailed)
def failed(request: IRequest, failure: Failure) -> bytes:
    request.setResponseCode(400)
    return f'The login failed: {escape(str(failure.value))}. <a href="/login">Try again</a>'.encode()


application = service.Application("log in with")
endpoint = f"ssl:{BASE.rpartition(':')[2]}:interface=127.0.0.1"
strports.service(endpoint, web.Site(app.resource())).setServiceParent(application)
