"""A server behind a proxy at which TLS ends, and which may remove the beginning of the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from web_driver import FORM, App, Sent, System, basic, wait

from djoauth2_twisted import OAuthGuard, Settings
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.events import RequestRefused
from djoauth2_twisted.server import AuthorizationServer
from djoauth2_twisted.web.reading import REQUEST_ID_LENGTH

#: The address of all requests in memory.
PEER = "127.0.0.1"
CLIENT, OTHER = "203.0.113.7", "203.0.113.8"
PREFIX = "/auth"


class Proxied(System):
    """A server behind a proxy. Its clients send https requests to addresses below the prefix."""

    client = CLIENT

    def __init__(self, embedded: bool, **named: Any) -> None:
        named = {"trusted_proxies": (PEER,), **named}
        super().__init__(
            embedded=embedded, prefix=f"{PREFIX}/oauth2", issuer=f"https://as.example{PREFIX}", **named
        )

    def begin(
        self,
        method: str,
        address: str,
        body: bytes | None = None,
        headers: Any = (),
        faults: bool = False,
    ) -> Sent:
        url = urlsplit(address if address.startswith("https:") else self.origin + address)
        assert url.scheme == "https"
        assert url.path.startswith(PREFIX + "/")
        forwarded = [
            ("X-Forwarded-For", self.client),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Prefix", PREFIX),
        ]
        inner = url._replace(scheme="http", path=url.path.removeprefix(PREFIX)).geturl()

        def check(answer: Any) -> Any:
            sent = b"&".join(filter(None, [body, url.query.encode()]))
            self.oracle.check(answer, sent, faults, ours=".well-known" not in url.path)
            return answer

        return Sent(self.request(method, inner, body, [*headers, *forwarded]).addCallback(check))


@pytest.fixture(params=[False, True], ids=["stand-alone", "embedded"])
def proxied(request: pytest.FixtureRequest, make_system: Callable[..., System]) -> Iterator[Proxied]:
    system = Proxied(request.param)
    yield system
    system.stop()


def test_flow_works_behind_a_proxy_that_ends_tls_and_strips_a_prefix(proxied: Proxied) -> None:
    app, browser = proxied.add_client("App"), proxied.browser("alice")
    tokens = app.exchange(app.code(browser)).json
    answer = proxied.send(
        "GET", f"{PREFIX}/api/user_info/", None, [("Authorization", f"Bearer {tokens['access_token']}")]
    )
    assert answer.json["username"] == "alice"


def test_links_forms_and_metadata_have_the_prefix(proxied: Proxied) -> None:
    app, browser = proxied.add_client("App"), proxied.browser("alice")
    page = app.ask(browser)
    assert page.form("user_action").action.startswith(f"{PREFIX}/oauth2/authorization/")
    assert f'href="{PREFIX}/oauth2/style.css' in page.text
    login = proxied.browser().get(app.address())
    assert login.location.startswith(f"{PREFIX}/oauth2/login/?next=/auth/oauth2/authorization/")
    metadata = proxied.send("GET", f"{PREFIX}/.well-known/oauth-authorization-server/auth").json
    assert metadata["token_endpoint"] == f"https://as.example{PREFIX}/oauth2/token/"


def test_answers_tell_browsers_to_keep_to_tls(proxied: Proxied) -> None:
    assert proxied.send("GET", f"{PREFIX}/oauth2/login/").header("strict-transport-security")


def test_limits_count_the_address_of_the_client(proxied: Proxied) -> None:
    app = proxied.add_client("App")

    def status() -> int:
        form = app.code_form("no code")
        wrong = ("Authorization", basic(app.client_id, "wrong"))
        return proxied.post(f"{app.prefix}/token/", form, [wrong]).status

    while status() == 401:
        pass
    assert status() == 429
    proxied.client = OTHER
    assert status() == 401


def test_log_and_audit_trail_have_the_address_of_the_client(proxied: Proxied) -> None:
    with capturedLogs() as events:
        proxied.browser("alice")
    assert any(event.get("address") == CLIENT for event in events)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-Proto", "http")],
        [("X-Forwarded-Proto", "https, http")],
        [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "https")],
        [("X-Forwarded-Proto", "https"), ("Forwarded", "proto=http")],
    ],
)
@pytest.mark.parametrize("path", ["/oauth2/token/", "/oauth2/login/", "/api/user_info/"])
def test_request_without_tls_at_the_proxy_is_refused(
    proxied: Proxied, path: str, headers: list[tuple[str, str]]
) -> None:
    """TL-05."""
    answer = wait(proxied.request("POST", f"http://as.example{path}", b"", [FORM, *headers]))
    assert answer.status == 400
    assert not answer.header("strict-transport-security")


@pytest.mark.parametrize("embedded", [False, True])
def test_headers_of_another_peer_are_not_believed(
    make_system: Callable[..., System], embedded: bool
) -> None:
    """TL-04."""
    system = make_system(embedded=embedded, trusted_proxies=("10.0.0.1",))
    headers = [
        ("X-Forwarded-For", CLIENT),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", f"for={CLIENT};proto=https"),
        ("X-Forwarded-Prefix", "/evil"),
    ]
    for path in ("/oauth2/token/", "/oauth2/login/", "/api/user_info/"):
        answer = wait(system.request("POST", f"http://as.example{path}", b"", [FORM, *headers]))
        assert answer.status == 400
    page = system.send("GET", "/oauth2/login/", None, headers)
    assert page.form("password").action == "/oauth2/login/"
    with capturedLogs() as events:
        system.browser("alice")
    assert not any(event.get("address") == CLIENT for event in events)


def test_problem_of_the_headers_is_named(proxied: Proxied) -> None:
    headers = [FORM, ("X-Forwarded-Proto", "https"), ("Forwarded", "proto=http")]
    answer = wait(proxied.request("POST", "http://as.example/oauth2/token/", b"", headers))
    assert answer.json["error"] == "invalid_request"
    assert "contradict" in answer.json["error_description"]


@pytest.mark.parametrize("lines", [[], [("X-Forwarded-For", CLIENT)]])
def test_protocol_that_the_proxy_has_not_sent_is_the_reason_in_the_log(
    proxied: Proxied, lines: list[tuple[str, str]]
) -> None:
    reasons = [_refused(proxied, lines), _refused(proxied, [*lines, ("X-Forwarded-Proto", "http")])]
    assert reasons == [
        "TLS is required: the trusted proxy sends neither X-Forwarded-Proto nor proto in Forwarded",
        "TLS is required",
    ]


def _refused(proxied: Proxied, headers: list[tuple[str, str]]) -> str:
    """The reason in the log for a request without TLS. The client's answer says less."""
    got: list[RequestRefused] = []
    proxied.server.events.subscribe(RequestRefused, got.append)
    answer = wait(proxied.request("POST", "http://as.example/oauth2/token/", b"", [FORM, *headers]))
    proxied.server.events.unsubscribe(RequestRefused, got.append)
    assert answer.json["error_description"] == "TLS is required"
    return got[0].reason


# The identifier of a request.


TOKEN = "/oauth2/token/"


def _refused_with(system: System, *lines: str) -> tuple[str, str]:
    """The identifier in the answer to a refused request with these identifiers, and its access line."""
    sent = [FORM, ("X-Forwarded-Proto", "https"), *(("X-Request-ID", line) for line in lines)]
    with capturedLogs() as events:
        answer = wait(system.request("POST", f"https://as.example{TOKEN}", b"", sent))
    assert answer.status == 401
    (access,) = [text for event in events if f" POST {TOKEN} 401 " in (text := formatEvent(event) or "")]
    return answer.header("X-Request-ID"), access


@pytest.mark.parametrize("identifier", ["4f9a1c2d", "x" * 64, "A.b_c-123"])
def test_identifier_of_a_trusted_proxy_is_taken(
    make_system: Callable[..., System], identifier: str
) -> None:
    in_answer, access = _refused_with(make_system(trusted_proxies=(PEER,)), identifier)
    assert in_answer == identifier
    assert access.endswith(f" [{identifier}]")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["1234567"],
        ["x" * 65],
        ["a b c d e"],
        ["12345678\u00e9"],
        ["<script>1"],
        ["12345678"] * 2,
    ],
)
def test_malformed_identifier_of_a_trusted_proxy_is_not_taken(
    make_system: Callable[..., System], lines: list[str]
) -> None:
    in_answer, access = _refused_with(make_system(trusted_proxies=(PEER,)), *lines)
    assert len(in_answer) == REQUEST_ID_LENGTH
    assert in_answer not in lines
    assert access.endswith(f" [{in_answer}]")


@pytest.mark.parametrize("proxies", [(), ("10.0.0.1",)], ids=["no proxies", "another proxy"])
def test_identifier_of_another_peer_is_not_taken(
    make_system: Callable[..., System], proxies: tuple[str, ...]
) -> None:
    in_answer, access = _refused_with(make_system(trusted_proxies=proxies), "4f9a1c2d")
    assert in_answer != "4f9a1c2d"
    assert access.endswith(f" [{in_answer}]")


def test_access_line_of_a_request_without_an_identifier_has_none(system: System) -> None:
    with capturedLogs() as events:
        assert system.send("GET", "/oauth2/style.css").status == 200
    (access,) = [text for event in events if " GET " in (text := formatEvent(event) or "")]
    assert "[" not in access


def test_guard_elsewhere_believes_the_proxies_of_its_settings(
    make_system: Callable[..., System],
) -> None:
    class Api(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            return b"here"

    def root(server: AuthorizationServer) -> Resource:
        top = Resource()
        top.putChild(b"oauth2", server.resource())
        settings = Settings(trusted_proxies=(PEER,))
        top.putChild(b"api", OAuthGuard(Api(), server, ("user_info",), settings))
        return top

    system = make_system(embedded=True, root=root)
    app: App = system.add_client("App")
    token = app.exchange(app.code(system.browser("alice"))).json["access_token"]
    headers = [("Authorization", f"Bearer {token}")]
    for more, status in (([], 400), ([("X-Forwarded-Proto", "https")], 200)):
        answer = wait(system.request("GET", "http://as.example/api", None, [*headers, *more]))
        assert answer.status == status


def test_name_that_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="trusted proxy 'everyone'"):
        Settings(trusted_proxies=("everyone",))
    with pytest.raises(ConfigurationError, match="it must be a list of texts"):
        Settings(trusted_proxies="10.0.0.0/8")
