"""The administration's page of grants: searched, listed, and ended; never a value of one."""

from __future__ import annotations

import pytest
from admin_driver import address, administrator, form_of, send
from web_driver import Answer, App, Browser, Form, System, assert_token_error

from djoauth2_twisted.credentials import digest


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def rows(page_of: Browser, **query: str) -> list[str]:
    """The grants that are listed, by the ids of their buttons."""
    page = page_of.get(address("grants", **query))
    assert page.status == 200
    return buttons(page)


def buttons(page: Answer) -> list[str]:
    found = page.page.elements
    return [str(a["value"]) for tag, a in found if tag == "button" and a.get("name") == "grant"]


def all_of(page_of: Browser, **query: str) -> Form:
    (form,) = [f for f in page_of.get(address("grants", **query)).page.forms if "all" in f.names]
    return form


def test_the_list_says_who_let_whom_do_what(
    system: System, app: App, alice: Browser, bob: Browser, root: Browser
) -> None:
    tokens = app.tokens(alice, scope="user_info verify")
    code = app.code(bob)
    page = root.get(address("grants"))
    for words in ("2 grants", "alice", "bob", "App", "user_info verify", "2023-11-14 22:13"):
        assert words in page.words
    assert page.words.count("not used yet") == 1, "bob's code was not exchanged"
    for value in (tokens["access_token"], tokens["refresh_token"], code, app.secret):
        assert value not in page.text
        assert digest(value).hex() not in page.text
    search = next(form for form in page.page.forms if form.method == "GET")
    assert (search.action, set(search.names)) == (address("grants"), {"user", "client"})


def test_grants_are_found_by_user_and_client(
    app: App, other_app: App, alice: Browser, bob: Browser, root: Browser
) -> None:
    for each in (app, other_app):
        for browser in (alice, bob):
            each.tokens(browser)
    assert len(rows(root)) == len(rows(root, user="", client="")) == 4
    of_alice, of_app = rows(root, user="alice"), rows(root, client=app.client_id)
    assert len(of_alice) == len(of_app) == 2
    both = rows(root, user="alice", client=app.client_id)
    assert set(both) == set(of_alice) & set(of_app)
    page = root.get(address("grants", user="alice", client=app.client_id))
    values = page.page.forms[0].values
    assert (values["user"], values["client"]) == ("alice", app.client_id)


@pytest.mark.parametrize(
    "name", ["Alicf", "alic", "%", "_lice", "al%", "\\", "'", '"', "*", "' OR 1=1--"]
)
def test_names_are_meant_as_they_are(app: App, alice: Browser, root: Browser, name: str) -> None:
    """DB-11: nothing stands for anything else, and an unknown name finds nothing."""
    app.tokens(alice)
    assert rows(root, user=name) == rows(root, client=name) == []
    page = root.get(address("grants", user=name))
    assert "0 grants" in page.words
    assert page.page.forms[0].values["user"] == name
    assert not [form for form in page.page.forms if form.method == "POST"]


@pytest.mark.parametrize("query", ["user=%ff", "client=%ff", "user=a&user=b", "page=x"])
def test_a_query_that_is_odd(app: App, alice: Browser, root: Browser, query: str) -> None:
    """U-01."""
    app.tokens(alice)
    assert root.get(f"{address('grants')}?{query}").status == 200


def test_revoking_one(app: App, alice: Browser, root: Browser) -> None:
    """AD-07: the refresh tokens go with it, and reuse is still seen."""
    tokens, other = app.tokens(alice), app.tokens(alice)
    first = rows(root)[0]
    gone = next(g for g in app.system.grants() if g.id == first)
    page = root.get(address("grants", user="alice"))
    form = page.form("grant")
    answer = send(root, form, grant=first)
    assert (answer.status, answer.location) == (303, address("grants", user="alice"))
    assert gone.id not in rows(root)
    ended = [t for t in (tokens, other) if app.system.call(t["access_token"]).status == 401]
    assert len(ended) == 1
    assert_token_error(app.refresh(ended[0]["refresh_token"]), 400, "invalid_grant")
    assert len(app.system.grants()) == 1
    assert send(root, form, grant=first).status == 303, "once more does no harm"
    events = [e for e in app.system.events() if e.action == "grant revoke"]
    assert [(e.subject, e.details["user"]) for e in events] == [(first, "alice")]


def test_two_grants_of_one_list(app: App, alice: Browser, root: Browser) -> None:
    """The list as it is after the browser's Back is still good for the other grant."""
    app.tokens(alice)
    app.tokens(alice)
    page = root.get(address("grants"))
    for grant_id in buttons(page):
        assert send(root, page.form("grant"), grant=grant_id).status == 303
    assert app.system.grants() == []


def test_revoking_all_of_a_user_or_client(
    app: App, other_app: App, alice: Browser, bob: Browser, root: Browser
) -> None:
    for each in (app, other_app):
        for browser in (alice, bob):
            each.tokens(browser)
    assert "Revoke all 2 grants" in root.get(address("grants", user="alice")).words
    answer = send(root, all_of(root, user="alice", client=app.client_id))
    assert (answer.status, answer.location) == (
        303,
        address("grants", user="alice", client=app.client_id),
    )
    assert len(app.system.grants()) == 3
    send(root, all_of(root, user="bob"))
    assert [grant.owner.username for grant in app.system.grants()] == ["alice"]
    send(root, all_of(root, client=other_app.client_id))
    assert app.system.grants() == []


def test_each_grant_names_its_user_and_client(app: App, alice: Browser, root: Browser) -> None:
    """There is no form that ends everybody's grants, nor one that can be turned into it."""
    app.tokens(alice)
    page = root.get(address("grants"))
    assert not [form for form in page.page.forms if "all" in form.names]
    form = all_of(root, user="alice")
    for where in ("", "?user=bob", "?user=alice&client=x", "?client=alice"):
        assert root.post(address("grants") + where, form.values).status in {400, 403}
    of_one = {**page.form("grant").values, "all": "yes"}
    for where in ("", "?user=alice", "?user=one"):
        assert root.post(address("grants") + where, of_one).status in {400, 403}
    assert len(app.system.grants()) == 1


def test_a_form_that_says_nothing(app: App, alice: Browser, root: Browser) -> None:
    app.tokens(alice)
    token = form_of(root.get(address("grants"))).values["csrf_token"]
    assert root.post(address("grants"), {"csrf_token": token}).status == 400
    assert len(app.system.grants()) == 1


def test_the_list_comes_in_pages(app: App, alice: Browser, bob: Browser, root: Browser) -> None:
    app.tokens(bob)
    for _ in range(26):
        app.system.advance(1)
        app.code(alice)
    page = root.get(address("grants", user="alice"))
    (onward,) = [a["href"] or "" for _, a in page.page.elements if a.get("rel") == "next"]
    assert onward.startswith("/oauth2/admin/grants/?user=alice&after=")
    first, second = (
        rows(root, user="alice"),
        buttons(root.get(onward)),
    )
    assert (len(first), len(second)) == (25, 1)
    assert len({*first, *second}) == 26


def test_a_client_that_is_gone(system: System, app: App, alice: Browser, root: Browser) -> None:
    """As with a store that lost it: its grants can still be seen and ended."""
    app.tokens(alice)
    del system.registry._clients[app.client_id]
    assert app.client_id in root.get(address("grants")).words
    send(root, all_of(root, client=app.client_id))
    assert system.grants() == []
