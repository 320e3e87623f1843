"""A host application that logs people in itself, and one that mounts the endpoints one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import pytest
from jinja2 import TemplateNotFound
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.resource import Resource
from web_driver import Browser, System, assert_sent_back, assert_token_error, tokens_of, wait

from djoauth2_twisted import Settings
from djoauth2_twisted.authorization import make_authorization_endpoint
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.models import ResourceOwner
from djoauth2_twisted.views import access_token_endpoint
from djoauth2_twisted.web.deadline import LOGIN_DEADLINE

MakeSystem = Callable[..., System]


class Host:
    """A host application that knows its people by a header, and has a login page of its own."""

    def __init__(self, answer: Callable[[Any], Any] = lambda said: said) -> None:
        self._answer = answer
        self.asked_with: list[str] = []

    def __call__(self, request: Any, returning_to: str) -> Any:
        self.asked_with.append(returning_to)
        names = request.requestHeaders.getRawHeaders("x-host-session")
        if names:
            return self._answer(ResourceOwner(names[0], "Alice", "Liddell"))
        return self._answer(f"https://host.example/enter?then={quote(returning_to, safe='')}")


class Guest(Browser):
    """A browser that is logged in at the host, as it says."""

    def __init__(self, system: System, name: str | None) -> None:
        super().__init__(system)
        self.name = name

    def cookie(self, address: str) -> Any:
        known = [("X-Host-Session", self.name)] if self.name else []
        return [*super().cookie(address), *known]


@pytest.fixture(params=["at once", "by and by"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(succeed if request.param == "by and by" else lambda said: said)


@pytest.fixture
def hosted(make_system: MakeSystem, host: Host) -> System:
    return make_system(who=host)


class TestHostsLogin:
    """`who=`: a callable that says who is logged in, and where to log in."""

    def test_sends_strangers_to_the_hosts_page(self, hosted: System, host: Host) -> None:
        """And has them come back to the very same request."""
        app = hosted.add_client("App")
        request = app.address(state="a b;c%d")
        hosted.oracle.redirect_uris.clear()
        away = _unchecked(hosted, request)
        assert away.startswith("https://host.example/enter?then=")
        assert parse_qs(urlsplit(away).query)["then"] == [host.asked_with[-1]]
        hosted.oracle.redirect_uris.add(app.redirect_uri)
        alice, returning_to = Guest(hosted, "alice"), host.asked_with[-1]
        answer = alice.submit(alice.get(returning_to), "user_action", user_action="Accept")
        assert answer.parameters["state"] == "a b;c%d"
        assert answer.parameters["code"]

    def test_the_user_named_by_the_host_can_consent(self, hosted: System) -> None:
        app, alice = hosted.add_client("App"), Guest(hosted, "alice")
        # Whom the host has logged in, we cannot log out.
        assert "Use another account" not in app.ask(alice).words
        code = app.code(alice)
        token = tokens_of(app.exchange(code))["access_token"]
        (grant,) = hosted.grants()
        known = wait(hosted.registry.find_user("alice"))
        assert grant.owner == ResourceOwner("alice", "Alice", "Liddell", subject=known.subject)
        assert hosted.call(token).json["username"] == "alice"

    def test_refuses_a_form_of_another_user(self, hosted: System) -> None:
        """UI-08: who logs in as another at the host does not send the first one's consent."""
        app, guest = hosted.add_client("App"), Guest(hosted, "alice")
        page = app.ask(guest)
        guest.name = "bob"
        assert guest.submit(page, "user_action", user_action="Accept").status == 403
        assert hosted.grants() == []

    def test_refuses_a_form_without_our_cookie(self, hosted: System) -> None:
        """UI-04: what the host believes is not enough to consent."""
        app, guest = hosted.add_client("App"), Guest(hosted, "alice")
        page = app.ask(guest)
        guest.cookies.clear()
        assert guest.submit(page, "user_action", user_action="Accept").status == 403
        assert hosted.grants() == []

    def test_shows_the_applications(self, hosted: System) -> None:
        app, alice = hosted.add_client("App"), Guest(hosted, "alice")
        app.tokens(alice)
        page = alice.get("/oauth2/account/")
        assert "App" in page.words
        assert alice.remove(page).status == 303
        assert hosted.grants() == []

    def test_may_be_at_another_origin(self, hosted: System) -> None:
        """UI-18: where it has ended, our forms lead there, and a browser has to follow."""
        hosted.add_user("root", "an administrator's password", admin=True)
        root = Guest(hosted, "root")
        hosted.add_client("App").tokens(root)
        for address in ("/oauth2/account/", "/oauth2/admin/clients/add/"):
            policy = root.get(address).header("content-security-policy") or ""
            assert "default-src 'none'" in policy
            assert "form-action" not in policy

    def test_replaces_our_login_page(self, hosted: System, host: Host) -> None:
        """Our login page redirects a logged-in user to the page they wanted, and never elsewhere."""
        assert host.asked_with == []
        alice = Guest(hosted, "alice")
        assert (
            alice.get("/oauth2/login/?next=%2Foauth2%2Faccount%2F%3Fx").location == "/oauth2/account/?x"
        )
        assert alice.get("/oauth2/login/?next=https://evil.example").location == "/oauth2/account/"
        assert alice.get("/oauth2/logout/").status == 404
        assert alice.post("/oauth2/login/", {"username": "alice", "password": "x"}).status == 405

    def test_that_fails_is_an_error_of_ours(self, make_system: MakeSystem, logged_failures: Any) -> None:
        """And never a way in."""
        hosted = make_system(who=Host(lambda said: fail(RuntimeError("the host is broken"))))
        app = hosted.add_client("App")
        answer = hosted.send("GET", app.address(), faults=True, headers=[("X-Host-Session", "alice")])
        assert answer.status == 500
        assert logged_failures.take(RuntimeError)
        assert "the host is broken" not in answer.text

    @pytest.mark.parametrize("said", [None, True, b"/enter"])
    def test_that_says_neither_is_an_error_of_ours(
        self, make_system: MakeSystem, said: Any, logged_failures: Any
    ) -> None:
        """And the log says what was expected."""
        hosted = make_system(who=Host(lambda _: said))
        for address in ("/oauth2/account/", "/oauth2/login/"):
            assert hosted.send("GET", address, faults=True).status == 500
        logged = [failure.getErrorMessage() for failure in logged_failures.take(TypeError)]
        assert ["who= must return" in message for message in logged] == [True, True]

    def test_that_does_not_answer(self, make_system: MakeSystem, log: Any) -> None:
        """503 after a while, and one line; what it says later is not heard."""
        saying: list[Deferred[Any]] = []

        def ask(said: Any) -> Deferred[Any]:
            saying.append(Deferred())
            return saying[-1]

        hosted = make_system(who=Host(ask))
        app = hosted.add_client("App")
        for address in ("/oauth2/account/", app.address(), "/oauth2/login/"):
            lines = len(log.lines)
            sent = hosted.begin("GET", address, None, [("X-Host-Session", "alice")], faults=True)
            hosted.advance(LOGIN_DEADLINE)
            hosted.agent.flush()
            assert sent.answer.status == 503
            assert sum("did not answer within" in line for line in log.lines[lines:]) == 1
        for each, late in zip(saying, (ResourceOwner("alice"), "/enter", None), strict=True):
            each.callback(late)

    def test_that_gives_up_is_asked_no_more(self, make_system: MakeSystem, log: Any) -> None:
        """A client that hangs up cancels the question, which is no outage."""
        cancelled: list[object] = []
        hosted = make_system(who=Host(lambda _: Deferred(cancelled.append)))
        wire = hosted.wire()
        wire.send(b"GET /oauth2/account/ HTTP/1.1\r\nHost: as.example\r\n\r\n")
        wire.hang_up()
        assert len(cancelled) == 1
        hosted.advance(LOGIN_DEADLINE)
        assert "did not answer within" not in log

    def test_names_a_user_who_is_disabled_here(self, make_system: MakeSystem) -> None:
        """That user is out, on every page; the client gets an error."""
        hosted = make_system(Settings(remember_consent=True), who=Host())
        app, alice = hosted.add_client("App"), Guest(hosted, "alice")
        tokens, page = app.tokens(alice), app.ask(alice, scope="user_info verify")
        hosted.do(hosted.administration.edit_user("alice", disabled=True))
        assert hosted.call(tokens["access_token"]).status == 401
        assert app.refresh(tokens["refresh_token"]).error == "invalid_grant"
        assert app.ask(alice).parameters["error"] == "access_denied"
        answer = alice.submit(page, "user_action", user_action="Accept")
        assert answer.parameters["error"] == "access_denied"
        for address in ("/oauth2/account/", "/oauth2/admin/", "/oauth2/login/"):
            assert alice.get(address).status == 403
        assert hosted.grants() == []

    @pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", " alice", b"alice", 7])
    def test_names_what_cannot_be_kept(self, make_system: MakeSystem, name: Any, log: Any) -> None:
        """No login, no fault of ours, and one line that says why."""
        hosted = make_system(who=Host(lambda said: attrs.evolve(said, username=name)))
        app = hosted.add_client("App")
        answer = hosted.send("GET", app.address(), None, [("X-Host-Session", "alice")])
        assert answer.parameters["error"] == "access_denied"
        assert sum("returned no resource owner" in line for line in log.lines) == 1

    def test_gone_between_page_and_answer(self, make_system: MakeSystem) -> None:
        """Logged out at the host while the code is stored: no code is left."""
        answers = iter([True, True, False])
        hosted = make_system(who=Host(lambda said: said if next(answers) else "/enter"))
        app, alice = hosted.add_client("App"), Guest(hosted, "alice")
        page = app.ask(alice)
        assert alice.submit(page, "user_action", user_action="Accept").status == 400
        assert hosted.grants() == []


def _unchecked(system: System, address: str) -> str:
    """Where a request is sent, though that is neither ours nor a client's."""
    sent: Deferred[Any] = system.agent.request(b"GET", (system.origin + address).encode())
    locations: list[str] = []
    sent.addCallback(lambda response: locations.extend(response.headers.getRawHeaders("location")))
    (location,) = locations
    return location


def one_by_one(server: Any) -> Resource:
    """A site with the parts at places of its own, and the rest of the tree at another."""
    root = Resource()
    root.putChild(
        b"authorize",
        make_authorization_endpoint(
            server, authorization_endpoint_uri="/authorize", authorization_template_name="ask.html"
        ),
    )
    root.putChild(b"token", access_token_endpoint(server, token_endpoint_uri="/token"))
    root.putChild(b"rest", server.resource())
    root.putChild(b".well-known", server.well_known_resource())
    return root


class TestOneByOne:
    """`make_authorization_endpoint` and `access_token_endpoint`."""

    @pytest.fixture
    def parts(self, make_system: MakeSystem, tmp_path: Path) -> System:
        (tmp_path / "ask.html").write_text(
            "<h1>{{ client.name }}?</h1><form action='{{ form_action }}' method='POST'>{{ form }}"
            "<button name='user_action' value='Accept'>y</button></form>"
        )
        return make_system(root=one_by_one, prefix="/rest", templates=str(tmp_path))

    def test_single_endpoints_work_together(self, parts: System) -> None:
        app, alice = parts.add_client("App"), parts.browser("alice")
        query = app.address().partition("?")[2]
        page = alice.get(f"/authorize?{query}")
        assert "App?" in page.words
        assert page.form("user_action").action == f"/authorize?{query}"
        code = alice.submit(page, "user_action", user_action="Accept").parameters["code"]
        answer = parts.post(
            "/token/",
            {**app.code_form(code), "client_id": app.client_id, "client_secret": app.secret},
        )
        assert tokens_of(answer)

    def test_log_in_at_the_rest(self, parts: System) -> None:
        """No user is logged in: to the login page, and back to the part."""
        app, browser = parts.add_client("App"), Browser(parts)
        query = app.address().partition("?")[2]
        away = browser.get(f"/authorize/?{query}")
        assert away.location.startswith("/rest/login/?next=/authorize?")
        back = browser.log_in("alice", page=browser.follow(away))
        assert back.location == f"/authorize?{query}"
        assert "App?" in browser.follow(back).words

    def test_stand_in_the_metadata(self, parts: System) -> None:
        """MD-02: the metadata names where they are."""
        said = parts.send("GET", "/.well-known/oauth-authorization-server").json
        assert said["authorization_endpoint"] == "https://as.example/authorize"
        assert said["token_endpoint"] == "https://as.example/token"
        assert said["revocation_endpoint"] == "https://as.example/rest/revoke/"

    def test_refuse_as_in_the_tree(self, parts: System) -> None:
        app, alice = parts.add_client("App"), parts.browser("alice")
        assert alice.get("/authorize?client_id=x").status == 400
        assert alice.get("/authorize", method="PUT").status == 405
        query = app.address(response_type="token").partition("?")[2]
        assert_sent_back(alice.get(f"/authorize?{query}"), app, "unsupported_response_type")
        assert_token_error(parts.post("/token", {"grant_type": "password"}), 401, "invalid_client")
        assert parts.send("GET", "/token").header("allow") == "POST"
        assert parts.send("GET", "/token/below").status == 404

    def test_before_the_server_is_ready(self, make_system: MakeSystem) -> None:
        """503, as JSON for clients and as a page for people."""
        parts = make_system(root=one_by_one, started=False)
        answer = parts.send("POST", "/token", b"", faults=True)
        assert (answer.status, answer.error) == (503, "temporarily_unavailable")
        page = parts.send("GET", "/authorize", faults=True)
        assert page.status == 503
        assert (page.header("content-type") or "").startswith("text/html")

    def test_a_fault_of_ours_is_told_as_one(self, make_system: MakeSystem, logged_failures: Any) -> None:
        """A template that is not there: logged, and no traceback is sent."""
        parts = make_system(root=one_by_one, prefix="/rest")
        app, alice = parts.add_client("App"), parts.browser("alice")
        query = app.address().partition("?")[2]
        assert alice.get(f"/authorize?{query}", faults=True).status == 500
        assert logged_failures.take(TemplateNotFound)

    def test_send_to_a_page_of_the_hosts(self, make_system: MakeSystem) -> None:
        """`missing_redirect_uri`, as in DJOAuth2."""

        def root(server: Any) -> Resource:
            root = Resource()
            endpoint = make_authorization_endpoint(
                server, authorization_endpoint_uri="/authorize", missing_redirect_uri="/lost"
            )
            root.putChild(b"authorize", endpoint)
            return root

        parts = make_system(root=root)
        assert parts.send("GET", "/authorize?client_id=x").location == "/lost"

    @pytest.mark.parametrize("path", ["https://evil.example/authorize", "//evil.example/x", "x", ""])
    def test_single_endpoints_need_a_path(self, system: System, path: str) -> None:
        with pytest.raises(ConfigurationError):
            make_authorization_endpoint(system.server, authorization_endpoint_uri=path)
        with pytest.raises(ConfigurationError):
            access_token_endpoint(system.server, token_endpoint_uri=path)


@pytest.mark.parametrize("path", ["token", "revoke", "introspect"])
def test_not_ready_is_told_to_clients_in_json(make_system: MakeSystem, path: str) -> None:
    """HT-10: at the endpoints for clients, whatever they accept."""
    system = make_system(started=False)
    answer = system.send("POST", f"/oauth2/{path}/", b"", faults=True)
    assert (answer.status, answer.error) == (503, "temporarily_unavailable")
    assert answer.header("retry-after") is not None
