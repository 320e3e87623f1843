"""The administration's pages of scopes."""

from __future__ import annotations

import pytest
from admin_driver import address, administrator, fill_in, form_of, send
from web_driver import SCOPES, App, Browser, System, wait

from djoauth2_twisted.models import Scope

ADD = address("scopes/add")


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def names(system: System) -> list[str]:
    return [scope.name for scope in wait(system.registry.scopes())]


def test_a_scope_is_added_with_the_form(system: System, app: App, alice: Browser, root: Browser) -> None:
    answer = fill_in(root, ADD, name="photos", description="See your\r\nphotos")
    assert (answer.status, answer.location) == (303, address("scopes"))
    assert "photos" in root.follow(answer).words
    assert system.do(system.administration.scope("photos")) == Scope("photos", "See your\nphotos")
    assert "See your photos photos" in app.ask(alice, scope="photos").words


@pytest.mark.parametrize(
    ("name", "status"),
    [("", 400), ("two words", 400), ('a"b', 400), ("a\\b", 400), ("\xe4", 400), ("x" * 256, 400),
     ("verify", 409)],
)  # fmt: skip
def test_a_scope_that_does_not_fit_is_not_added(
    system: System, root: Browser, name: str, status: int
) -> None:
    answer = fill_in(root, ADD, name=name, description="Words")
    assert answer.status == status
    assert form_of(answer).values["description"] == "Words"
    assert form_of(answer).values["name"] == name
    assert names(system) == sorted(SCOPES)


def test_a_scope_is_edited_with_the_form(system: System, root: Browser) -> None:
    page = address("scope", id="verify")
    assert form_of(root.get(page)).values["description"] == "what verify is for"
    assert fill_in(root, page, description="New").status == 303
    assert system.do(system.administration.scope("verify")).description == "New"
    answer = fill_in(root, page, description="x" * 5000)
    assert answer.status == 400
    assert form_of(answer).values["description"] == "x" * 5000


def test_a_page_that_another_made_old(system: System, app: App, root: Browser) -> None:
    page = address("scope", id="verify")
    old = form_of(root.get(page))
    fill_in(root, page, description="What the other said")
    assert send(root, old, description="Mine").status == 409
    # Nothing is lost where both say the same.
    old = form_of(root.get(page))
    for _ in range(2):
        assert fill_in(root, page, description="Both say so").status == 303
    assert send(root, old, description="Both say so").status == 303


def test_deleting_a_scope_ends_its_grants(
    system: System, app: App, alice: Browser, root: Browser
) -> None:
    """It says how many grants end, and they do; an allow-list that is emptied allows nothing."""
    allowed = system.add_client("Allowed", scopes=("verify",))
    token = app.tokens(alice, scope="user_info verify")["access_token"]
    other = app.tokens(alice, scope="user_info")["access_token"]
    page = root.get(address("scope/delete", id="verify"))
    assert "1 grant ends at once" in page.words
    answer = send(root, form_of(page))
    assert (answer.status, answer.location) == (303, address("scopes"))
    assert "verify" not in names(system)
    assert system.call(token).status == 401
    assert system.call(other).status == 200
    kept = next(c for c in system.clients() if c.client_id == allowed.client_id)
    assert kept.scopes == ()
    assert send(root, form_of(page)).status == 303, "once more does no harm"


def test_the_list_comes_in_pages(system: System, root: Browser) -> None:
    for number in range(30):
        system.do(system.administration.add_scope(f"s{number:02}", ""))
    first, second = root.get(address("scopes")), root.get(address("scopes", after='["s24"]'))
    assert "s20" in first.words
    assert "s29" not in first.words
    assert "s24" not in second.words
    assert "s25" in second.words
    assert "s29" in second.words
    assert "verify" in second.words


@pytest.mark.parametrize("name", ["a&b=c", "a/b", "%41", "..", "#x?", "<b>", "'--", "urn:x:y"])
def test_names_of_any_characters(system: System, root: Browser, name: str) -> None:
    """DB-11: links and forms lead to the scope that is meant."""
    fill_in(root, ADD, name=name, description="Words")
    links = [a["href"] or "" for tag, a in root.get(address("scopes")).page.elements if tag == "a"]
    (edit,) = [link for link in links if link == address("scope", id=name).replace("%2F", "/")]
    assert fill_in(root, edit, description="New").status == 303
    assert system.do(system.administration.scope(name)).description == "New"
    assert fill_in(root, address("scope/delete", id=name)).status == 303
    assert names(system) == sorted(SCOPES)
