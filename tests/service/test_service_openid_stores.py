"""OpenID Connect where the tokens are in Redis: a login from its beginning to both ends."""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from attrs import define, field
from joserfc import jwt
from joserfc.jwk import KeySet
from servers import POSTGRESQL, WITH_POSTGRESQL
from service_kit import (
    DJOAUTH2,
    Application,
    Browser,
    Connection,
    Prepared,
    Server,
    ask,
    bearer,
    run,
)
from store_kit import redis_options, sql_options
from waiting import PATIENCE, wait_for

from djoauth2_twisted.protocol.logout import EVENT

BYE = "https://app.example/bye"


class Receiver:
    """The client's address for logout tokens, at a port of this machine."""

    def __init__(self, prepared: Prepared) -> None:
        self.got: list[str] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode("ascii")
                got.append(parse_qs(body)["logout_token"][0])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(prepared.certificate)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.address = f"https://localhost:{self._http.server_address[1]}/bye"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@define
class World:
    """A server, its client's address for logout tokens, and the command line beside it."""

    prepared: Prepared
    options: tuple[str, ...]
    receiver: Receiver
    variables: dict[str, str]
    server: Server = field(init=False)

    def start(self) -> None:
        self.server = Server.start(self.prepared, *self.options, variables=self.variables)
        self.server.wait_until_ready()

    def command(self, *words: str) -> None:
        """Administer on the command line."""
        folder, variables = self.prepared.folder, self.variables
        done = run(*DJOAUTH2, *self.options, *words, folder=folder, variables=variables)
        assert done.returncode == 0, done.stderr

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        answer = ask(Connection(self.server), "GET", path, headers=headers)
        assert answer.status == 200, answer.text
        return answer.json

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that the server has signed."""
        keys = KeySet.import_key_set(self.get("/oauth2/jwks/"))
        return jwt.decode(token, keys, algorithms=["RS256"]).claims

    def logout_token(self, number: int) -> dict[str, Any]:
        """The claims of a logout token, once it has come."""
        wait_for(lambda: len(self.receiver.got) >= number, "a logout token", self.server.text)
        claims = self.claims(self.receiver.got[number - 1])
        assert claims["aud"] == self.prepared.client_id
        assert claims["events"] == {EVENT: {}}
        return claims


REGISTRIES: dict[str, Callable[[Prepared, ExitStack], tuple[str, ...]]] = {
    "sqlite": lambda prepared, stack: (),
    "postgresql": partial(sql_options, POSTGRESQL),
}


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.engine), WITH_POSTGRESQL])
def world(request: pytest.FixtureRequest, prepared: Prepared) -> Iterator[World]:
    key_file = prepared.folder / "keys"
    key_file.touch(0o600)
    key_file.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    variables = {
        "DJOAUTH2_OPENID": "true",
        "DJOAUTH2_OPENID_KEY_FILE": str(key_file),
        "DJOAUTH2_OPENID_PRIVATE_LOGOUT_ADDRESSES": "true",
        "SSL_CERT_FILE": str(prepared.certificate),
    }
    with ExitStack() as stack:
        registry = REGISTRIES[request.param](prepared, stack)
        receiver = Receiver(prepared)
        stack.callback(receiver.stop)
        options = (*registry, *redis_options(prepared, stack))
        found = World(prepared, options, receiver, variables)
        uris = ("--backchannel-logout-uri", receiver.address, "--post-logout-redirect-uri", BYE)
        found.command("client", "edit", prepared.client_id, *uris)
        found.start()
        stack.callback(found.server.kill)
        yield found
        assert "Traceback" not in found.server.text(), found.server.text()
        assert "Unhandled" not in found.server.text(), found.server.text()


def answer_of(browser: Browser, **more: str) -> dict[str, str]:
    """What the client gets without a page being shown."""
    answer = browser.get(browser.address("s", scope="openid", prompt="none", **more))
    assert answer.status == 303, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.location).query).items()}


def test_login_with_tokens_in_redis(world: World) -> None:
    browser = Browser(world.server).log_in_as_user()
    code = browser.code(scope="openid email", nonce="a nonce")
    with Application(world.server) as application:
        issued = application.exchange(code).json
        first = world.claims(issued["id_token"])
        assert (first["nonce"], first["aud"]) == ("a nonce", world.prepared.client_id)
        known = world.get("/oauth2/userinfo/", bearer(issued["access_token"]))
        assert known["sub"] == first["sub"]
        refreshed = application.refresh(issued["refresh_token"]).json
        second = world.claims(refreshed["id_token"])
        assert "nonce" not in second
        assert [second[name] for name in ("sub", "auth_time", "sid")] == [
            first[name] for name in ("sub", "auth_time", "sid")
        ]
        # Consent is remembered: it is found in Redis.
        assert application.exchange(answer_of(browser)["code"]).status == 200
        # A refresh token that is used again ends its grant, and with it the access token.
        assert application.refresh(issued["refresh_token"]).json["error"] == "invalid_grant"
        headers = bearer(refreshed["access_token"])
        assert ask(Connection(world.server), "GET", "/oauth2/userinfo/", headers=headers).status == 401
        sent = {"id_token_hint": refreshed["id_token"], "post_logout_redirect_uri": BYE, "state": "x"}
        gone = browser.get(f"/oauth2/end_session/?{urlencode(sent)}")
        assert (gone.status, gone.location) == (303, f"{BYE}?state=x")
    assert answer_of(browser)["error"] == "login_required"
    told = world.logout_token(1)
    assert (told["sub"], told["sid"]) == (first["sub"], first["sid"])


def test_command_that_ends_grants_in_redis_tells_the_client(world: World) -> None:
    """The server sends what the command has kept in the database."""
    browser = Browser(world.server).log_in_as_user()
    with Application(world.server) as application:
        issued = application.exchange(browser.code(scope="openid")).json
        world.command("token", "revoke", "--user", "alice")
        assert application.refresh(issued["refresh_token"]).json["error"] == "invalid_grant"
    told = world.logout_token(1)
    assert told["sub"] == world.claims(issued["id_token"])["sub"]
    assert "sid" not in told


def test_second_factor_that_the_command_resets_tells_the_client(world: World) -> None:
    """The login ends, and its clients get logout tokens. Its grants do not end."""
    browser = Browser(world.server).log_in_as_user()
    with Application(world.server) as application:
        issued = application.exchange(browser.code(scope="openid")).json
        world.command("user", "reset-second-factor", "alice")
        assert answer_of(browser)["error"] == "login_required"
        assert application.refresh(issued["refresh_token"]).status == 200
    told = world.logout_token(1)
    first = world.claims(issued["id_token"])
    assert (told["sub"], told["sid"]) == (first["sub"], first["sid"])
