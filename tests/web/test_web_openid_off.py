"""Without the setting nothing differs: the answers are those that were recorded before there was it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web_driver import VERIFIER, Answer, App, Browser, System

from djoauth2_twisted import Settings

RECORDED = Path(__file__).with_name("answers_before_openid.json")

#: Parameters that mean something to OpenID Connect alone.
OF_OPENID = {
    "nonce": "n-0S6_WzA2Mj",
    "prompt": "none",
    "max_age": "0",
    "login_hint": "bob",
    "ui_locales": "de",
    "id_token_hint": "e30.e30.e30",
    "display": "popup",
    "acr_values": "1",
    "claims": "{}",
}

DOCUMENTS = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource/api/user_info",
)
APART = ("/oauth2/jwks/", "/oauth2/userinfo/", "/oauth2/end_session/", "/oauth2/admin/keys/")


def recorded(answer: Answer, hidden: dict[str, str]) -> dict[str, Any]:
    """An answer without what is random or a date. A page is recorded by its status and headers."""
    headers = [
        (name.decode().lower(), value.decode("latin-1"))
        for name, values in answer.headers.getAllRawHeaders()
        for value in values
    ]
    page = any(name == "content-type" and "html" in value for name, value in headers)
    left_out = {"date", "x-request-id", *(("content-length",) if page else ())}
    text = json.dumps(
        {
            "status": answer.status,
            "headers": sorted(each for each in headers if each[0] not in left_out),
            "body": "" if page else answer.body.decode(),
        }
    )
    for value, name in hidden.items():
        text = text.replace(value, f"<{name}>")
    text = re.sub(r"code=\w{30}", "code=<code>", text)
    text = re.sub(r"djoauth2(-\w+)?=[A-Za-z0-9_=.-]{20,}", r"djoauth2\1=<secret>", text)
    found: dict[str, Any] = json.loads(text)
    return found


class Recorder:
    """Asks every endpoint, with parameters and scopes of OpenID Connect among others."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.app = system.add_client("App")
        self.alice = system.browser("alice")
        self.answers: dict[str, Any] = {}
        self.hidden = {self.app.client_id: "client", self.app.secret: "secret"}

    def keep(self, name: str, answer: Answer) -> Answer:
        """Record an answer."""
        if answer.status == 200 and answer.header("content-type") == "application/json":
            for member in ("access_token", "refresh_token", "sub"):
                value = answer.json.get(member)
                if value is not None:
                    self.hidden[value] = member
        self.answers[name] = recorded(answer, self.hidden)
        return answer

    def run(self) -> dict[str, Any]:
        """All answers, by what was asked."""
        system, app, alice = self.system, self.app, self.alice
        for address in (*DOCUMENTS, *APART):
            for method in ("GET", "POST", "OPTIONS"):
                self.keep(f"{method} {address}", system.send(method, address))
        for scope in ("openid", "openid user_info", "user_info offline_access", "profile", "address"):
            self.keep(f"ask for {scope}", app.ask(alice, scope=scope, **OF_OPENID))
        self.keep("without state", app.ask(alice, state=None, **OF_OPENID))
        self.keep("not logged in", app.ask(system.browser(), **OF_OPENID))
        page = self.keep("consent", app.ask(alice, **OF_OPENID))
        answer = self.keep("accept", alice.submit(page, "user_action", user_action="Accept"))
        code = answer.parameters["code"]
        self.hidden[code] = "code"
        self.keep("wrong verifier", app.exchange(code, code_verifier=VERIFIER))
        first = self.keep("exchange", app.exchange(code, nonce="n")).json
        self.guarded(first["access_token"])
        refused = app.refresh(first["refresh_token"], scope="user_info offline_access")
        self.keep("refresh with another scope", refused)
        second = self.keep("refresh", app.refresh(first["refresh_token"])).json
        self.keep("refresh again", app.refresh(first["refresh_token"]))
        self.keep("call after that", system.call(second["access_token"]))
        self.keep("decline", app.authorize(alice, decision="Decline", **OF_OPENID))
        return self.answers

    def guarded(self, token: str) -> None:
        """Ask with an access token, and about it."""
        credentials = {"client_id": self.app.client_id, "client_secret": self.app.secret}
        self.keep("call", self.system.call(token))
        asked = self.system.post("/oauth2/introspect/", {"token": token, **credentials})
        self.keep("introspect", asked)
        self.keep("user info", self.system.call(token, address="/oauth2/userinfo/"))
        unknown = self.system.post("/oauth2/revoke/", {"token": "unknown", **credentials})
        self.keep("revoke", unknown)


def test_no_answer_differs(system: System) -> None:
    """Of any endpoint, for every request."""
    assert Recorder(system).run() == json.loads(RECORDED.read_text("utf-8"))


@pytest.mark.parametrize("scope", ["user_info", "user_info verify"])
def test_no_page_differs(make_system: Callable[..., System], scope: str) -> None:
    """By the parameters, on the consent page; or by what administrators see."""
    system = make_system()
    app, alice = system.add_client("App"), system.browser("alice")
    plain, other = app.ask(alice, scope=scope), app.ask(alice, scope=scope, **OF_OPENID)
    assert without_random(other) == without_random(plain)
    system.do(system.administration.edit_user("alice", admin=True))
    for page in (f"client/?id={app.client_id}", "user/?id=bob", "clients/add/", "users/add/", ""):
        text = alice.get(f"/oauth2/admin/{page}").text
        for word in ("id_token", "logout_uri", "post_logout", "email_verified", "/admin/keys/"):
            assert word not in text


def without_random(page: Answer) -> str:
    text = re.sub(r'name="csrf_token" value="[^"]*"', "", page.text)
    return re.sub(r'action="[^"]*"|href="[^"]*"', "", text)


def test_a_registered_scope_of_the_name_is_as_any_other(system: System, alice: Browser) -> None:
    """It gives no ID token."""
    app: App = system.add_client("App")
    system.do(system.administration.add_scope("openid", "as the operator says"))
    tokens = app.tokens(alice, scope="openid")
    assert "id_token" not in tokens
    assert system.call(tokens["access_token"], address="/oauth2/userinfo/").status == 404
    assert system.settings == Settings()
