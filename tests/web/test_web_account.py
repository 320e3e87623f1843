"""My applications: what a user has granted, and how they remove it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred
from web_driver import (
    App,
    Browser,
    System,
    assert_token_error,
    encoded,
    post_bytes,
    wait,
)

from djoauth2_twisted import Settings
from djoauth2_twisted.models import Grant, GrantFilter, Page
from djoauth2_twisted.stores.memory import MemoryRegistry, MemoryTokenStore
from djoauth2_twisted.web.account import MAX_SHOWN

MakeSystem = Callable[..., System]

ACCOUNT = "/oauth2/account/"


def test_the_page_lists_granted_applications(
    app: App, other_app: App, alice: Browser, bob: Browser
) -> None:
    app.tokens(alice, scope="user_info verify")
    other_app.tokens(bob)
    words = alice.get(ACCOUNT).words
    assert "App" in words
    assert "what user_info is for" in words
    assert "what verify is for" in words
    assert "Other" not in words


def test_nothing_was_let_in(app: App, alice: Browser, bob: Browser) -> None:
    app.tokens(bob)
    assert "not allowed any application" in alice.get(ACCOUNT).words


def test_what_was_let_in_is_shown_and_removed_before_its_code_is_exchanged(
    app: App, alice: Browser
) -> None:
    """A grant can be withdrawn from the moment it is made."""
    code = app.code(alice)
    page = alice.get(ACCOUNT)
    assert "App" in page.words
    assert "what user_info is for" in page.words
    assert '<time datetime="2023-11-14">2023-11-14</time>, not used yet.' in page.text
    answer = alice.remove(page)
    assert "not allowed any application" in alice.follow(answer).words
    assert_token_error(app.exchange(code), 400, "invalid_grant")


def test_one_of_two_grants_was_used(app: App, alice: Browser) -> None:
    app.tokens(alice)
    app.code(alice)
    assert "last used on" in alice.get(ACCOUNT).words


def test_what_has_expired_is_not_shown(system: System, app: App, alice: Browser) -> None:
    """Also before it is deleted: it gives no access."""
    app.code(alice)
    (grant,) = system.grants()
    system.reactor.rightNow = float(grant.expires - 1)
    assert "App" in alice.get(ACCOUNT).words
    system.reactor.rightNow = float(grant.expires)
    assert system.grants() == [grant]
    assert "not allowed any application" in alice.get(ACCOUNT).words


def test_remove_ends_every_token_at_once(app: App, alice: Browser) -> None:
    tokens = app.tokens(alice)
    page = alice.get(ACCOUNT)
    answer = alice.remove(page)
    assert (answer.status, answer.location) == (303, ACCOUNT)
    assert app.system.call(tokens["access_token"]).status == 401
    assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert "not allowed any application" in alice.follow(answer).words
    assert alice.remove(page).status == 303, "once more does no harm"


def test_removal_is_asked_for(app: App, alice: Browser) -> None:
    """AC-01: the button that removes stands below a question, which is closed at first."""
    app.tokens(alice)
    page = alice.get(ACCOUNT)
    question = page.text.partition("<details>")[2].partition("</details>")[0]
    assert "<summary" in question
    assert "Its access to your account ends at once." in question
    assert question.count("<button") == page.text.count("<button") == 1


def test_picture_and_host_of_an_application_are_shown(system: System, alice: Browser) -> None:
    """Where it has no picture, the first letter of its name."""
    system.add_client("Plain").tokens(alice)
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    drawn = system.add_client("Drawn")
    system.do(system.administration.set_image(drawn.client_id, png))
    drawn.tokens(alice)
    page = alice.get(ACCOUNT)
    (picture,) = [found for tag, found in page.page.elements if tag == "img"]
    assert alice.get(str(picture["src"])).body == png
    assert picture["alt"] == ""
    assert "P Plain plain.example" in page.words
    assert "Drawn drawn.example" in page.words


class LateTokenStore(MemoryTokenStore):
    """A store that ends many grants when the test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on: Deferred[None] = Deferred()
        self.is_late = False

    def revoke_grants(self, *arguments: Any, **named: Any) -> Deferred[int]:
        end = super().revoke_grants
        if not self.is_late:
            return end(*arguments, **named)
        return self.go_on.addCallback(lambda _: end(*arguments, **named))


def test_a_removal_is_completed_after_the_browser_hangs_up(make_system: MakeSystem) -> None:
    """Many grants take many steps, and closing the page does not stop between two of them."""
    store = LateTokenStore()
    system = make_system(stores=(None, MemoryRegistry(), store))
    alice = system.browser("alice")
    token = system.add_client("App").tokens(alice)["access_token"]
    (form,) = alice.get(ACCOUNT).page.forms
    store.is_late = True
    wire = system.wire()
    cookie = f"Cookie: __Host-djoauth2={alice.secret}"
    wire.send(post_bytes(ACCOUNT, encoded(form.hidden), cookie))
    wire.hang_up()
    store.go_on.callback(None)
    assert system.call(token).status == 401


def test_one_entry_for_all_that_an_application_was_granted(
    app: App, other_app: App, system: System, alice: Browser
) -> None:
    """Granted twice, it is removed at once; another application stays."""
    first = app.tokens(alice, scope="user_info")
    system.advance(3 * 86400)
    alice.log_in("alice")
    second = app.tokens(alice, scope="verify")
    third = other_app.tokens(alice)
    page = alice.get(ACCOUNT)
    assert page.text.count("<section") == 2
    assert "what user_info is for user_info what verify is for verify" in page.words
    assert '<time datetime="2023-11-14">2023-11-14</time>, last used on' in page.text
    assert '<time datetime="2023-11-17">2023-11-17</time>.' in page.text
    form = next(form for form in page.page.forms if form.hidden["client_id"] == app.client_id)
    assert alice.post(ACCOUNT, form.hidden).status == 303
    for tokens in (first, second):
        assert_token_error(app.refresh(tokens["refresh_token"]), 400, "invalid_grant")
        assert system.call(tokens["access_token"]).status == 401
    assert system.call(third["access_token"]).status == 200


REMOVED = "The application was removed."


def test_the_removal_is_confirmed(app: App, alice: Browser) -> None:
    app.tokens(alice)
    page = alice.get(ACCOUNT)
    assert REMOVED not in page.words
    page = alice.follow(alice.remove(page))
    assert REMOVED in page.words
    (message,) = [found for _, found in page.page.elements if found.get("role")]
    assert message["role"] == "status"
    assert REMOVED not in alice.get(ACCOUNT).words


@pytest.mark.parametrize("text", ["1", "yes", "", "<script>", "You won"])
def test_the_confirmation_is_no_text_of_the_address(alice: Browser, text: str) -> None:
    words = alice.get(f"{ACCOUNT}?removed={quote(text)}").words
    assert REMOVED not in words
    assert "You won" not in words


def test_many_applications_are_shown_on_several_pages(system: System, alice: Browser) -> None:
    """A user of many applications sees all of them, each once."""
    for number in range(2 * MAX_SHOWN + 1):
        system.add_client(f"App{number}").tokens(alice)
    first = alice.get(ACCOUNT)
    assert len(first.body) + len(system.send("GET", "/oauth2/style.css").body) < 30_000
    page, seen, counts = first, set[str](), []
    while True:
        ids = [form.hidden["client_id"] for form in page.page.forms]
        assert not seen & set(ids)
        seen |= set(ids)
        counts.append(len(ids))
        links = {a["rel"]: a["href"] for tag, a in page.page.elements if tag == "a" and a.get("rel")}
        assert links.get("first") == (None if page is first else ACCOUNT)
        if "next" not in links:
            break
        page = alice.get(str(links["next"]))
    assert counts == [MAX_SHOWN, MAX_SHOWN, 1]
    answer = alice.remove(page)
    assert answer.status == 303
    page = alice.get(str(links["first"]))
    assert page.text.count("<section") == MAX_SHOWN


class CountingTokenStore(MemoryTokenStore):
    """A store that counts how much is read of it."""

    read = 0

    def grants(self, filter: GrantFilter, page: Page) -> Deferred[list[Grant]]:
        self.read += page.size
        return super().grants(filter, page)

    def clients_of(self, username: str, after: str, limit: int) -> Deferred[list[str]]:
        self.read += limit
        return super().clients_of(username, after, limit)


@pytest.mark.parametrize("many", [1, 3])
def test_a_page_reads_no_more_than_it_shows(make_system: MakeSystem, many: int) -> None:
    """However many grants the user has. Once it read them all, and answered 503 for 60,000."""
    store = CountingTokenStore()
    settings = Settings(max_grants_per_client=7)
    system = make_system(settings, stores=(None, MemoryRegistry(), store))
    alice = system.browser("alice")
    for number in range(MAX_SHOWN * many):
        app = system.add_client(f"App{number}")
        for _ in range(3):
            app.tokens(alice)
    store.read = 0
    assert alice.get(ACCOUNT).text.count("<section") == MAX_SHOWN
    assert store.read == MAX_SHOWN + 1 + 7 * MAX_SHOWN


def test_an_application_with_many_grants_is_on_one_page(
    app: App, other_app: App, system: System, alice: Browser
) -> None:
    """However many grants it has, it stands there once, with its first day, and hides no other."""
    for _ in range(MAX_SHOWN + 5):
        app.tokens(alice)
    system.advance(2 * 86400)
    alice.log_in("alice")
    app.tokens(alice)
    for _ in range(MAX_SHOWN + 5):
        app.code(alice)
    other_app.tokens(alice)
    page = alice.get(ACCOUNT)
    assert page.text.count("<section") == 2
    assert 'rel="next"' not in page.text
    assert "Allowed on 2023-11-14, last used on 2023-11-16." in page.words


def test_grants_beyond_one_batch(
    app: App, other_app: App, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djoauth2_twisted.paging.PAGE_SIZE", 2)
    for _ in range(4):
        app.tokens(alice)
    other_app.tokens(alice)
    assert alice.get(ACCOUNT).text.count("<section") == 2


@pytest.mark.parametrize(
    "after", ["-1", "x", "", "z" * 3000, "%ff", "%00", "%D9%A1", "1&after=2", "' OR 1"]
)
def test_a_page_that_cannot_be(app: App, alice: Browser, after: str) -> None:
    app.tokens(alice)
    assert alice.get(f"{ACCOUNT}?after={quote(after, safe='%&=')}").status == 200


def test_an_empty_page_leads_back(app: App, alice: Browser) -> None:
    app.tokens(alice)
    page = alice.get(f"{ACCOUNT}?after={'z' * 30}")
    assert "not allowed any application" not in page.words
    assert f'href="{ACCOUNT}" rel="first"' in page.text


def test_a_grant_that_is_gone_already_is_no_error(system: System, app: App, alice: Browser) -> None:
    """A client or scope of which only the grant is left is still there to be removed."""
    tokens = app.tokens(alice)
    wait(system.registry.delete_scope("user_info"))
    page = alice.get(ACCOUNT)
    assert "user_info" in page.words
    assert "what user_info is for" not in page.words
    wait(system.registry.delete_client(app.client_id))
    page = alice.get(ACCOUNT)
    assert "A deleted application" in page.words
    alice.remove(page)
    assert system.grants() == []
    assert system.call(tokens["access_token"]).status == 401


def test_a_page_that_was_open_for_too_long(system: System, app: App, alice: Browser) -> None:
    app.tokens(alice)
    page = alice.get(ACCOUNT)
    system.advance(3600)
    answer = alice.remove(page)
    assert answer.status == 403
    assert "This page has expired" in answer.words
    assert ACCOUNT in [each["href"] for tag, each in answer.page.elements if tag == "a"]
    assert len(system.grants()) == 1


def test_a_user_cannot_remove_the_applications_of_another(
    app: App, alice: Browser, bob: Browser
) -> None:
    token = app.tokens(alice)["access_token"]
    form = alice.get(ACCOUNT).form("client_id")
    answer = bob.post(ACCOUNT, form.hidden)
    assert answer.status == 403
    assert app.system.call(token).status == 200


@pytest.mark.parametrize("name", ["csrf_token", "client_id"])
@pytest.mark.parametrize("value", ["", "x", "\udcff"])
def test_a_form_that_is_not_ours(app: App, alice: Browser, name: str, value: str) -> None:
    """UI-04, UI-05."""
    token = app.tokens(alice)["access_token"]
    form = alice.get(ACCOUNT).form("client_id")
    assert alice.post(ACCOUNT, {**form.hidden, name: value}).status == 403
    assert app.system.call(token).status == 200


def test_without_a_login_the_page_sends_to_the_login(system: System, app: App, alice: Browser) -> None:
    app.tokens(alice)
    stranger = system.browser()
    for answer in (stranger.get(ACCOUNT), stranger.post(ACCOUNT, {"client_id": "x"})):
        assert answer.status == 303
        assert answer.location == "/oauth2/login/?next=/oauth2/account/"
    back = stranger.log_in("alice", page=stranger.follow(stranger.get(ACCOUNT)))
    assert "App" in stranger.follow(back).words


def test_a_client_that_is_gone(system: System, app: App, alice: Browser) -> None:
    """Its grants went with it."""
    app.tokens(alice)
    system.do(system.administration.delete_client(app.client_id))
    assert "not allowed any application" in alice.get(ACCOUNT).words


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(system: System, method: str) -> None:
    answer = system.send(method, ACCOUNT)
    assert (answer.status, answer.header("allow")) == (405, "GET, POST")


def test_without_tls(system: System) -> None:
    assert system.send("GET", f"http://as.example{ACCOUNT}").status == 400
