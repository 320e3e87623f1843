"""Authlib's client for Flask."""

import os
from typing import Any
from urllib.parse import urlencode

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session

BASE = os.environ["BASE"]

application = Flask(__name__)
application.secret_key = "a secret of the test"
provider = OAuth(application).register(
    "provider",
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)
# One browser visits, so one place is enough. Tokens do not fit into Flask's cookie.
kept: dict[str, Any] = {}


@application.get("/login")
def login() -> Any:
    return provider.authorize_redirect(f"{BASE}/callback")


@application.get("/callback")
def callback() -> Any:
    kept.update(provider.authorize_access_token())
    session["sub"] = kept["userinfo"]["sub"]
    return redirect("/me")


@application.get("/me")
def me() -> Any:
    return {"claims": kept["userinfo"], "user": provider.userinfo(token=kept)}


@application.get("/refresh")
def refresh() -> Any:
    metadata = provider.load_server_metadata()
    tokens = provider._get_oauth_client(**metadata).refresh_token(
        metadata["token_endpoint"], refresh_token=kept["refresh_token"]
    )
    kept.update(tokens)
    return {"claims": provider.parse_id_token(tokens, nonce=None)}


@application.get("/logout")
def logout() -> Any:
    asked = {
        "id_token_hint": kept["id_token"],
        "post_logout_redirect_uri": f"{BASE}/bye",
        "state": "the-state",
    }
    return redirect(f"{provider.load_server_metadata()['end_session_endpoint']}?{urlencode(asked)}")


@application.get("/bye")
def bye() -> Any:
    return {"state": request.args.get("state")}
