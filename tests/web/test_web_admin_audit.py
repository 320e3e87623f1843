"""The administration's page of the audit trail."""

from __future__ import annotations

import csv
import io
import re

import pytest
from admin_driver import address, administrator, fill_in, secret_on, tables
from web_driver import START, App, Browser, System, wait

from djoauth2_twisted.models import COMMAND_LINE, Event
from djoauth2_twisted.web.admin import audit_trail


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def test_each_change_is_told(system: System, root: Browser) -> None:
    """AD-08: who, what, when and from where."""
    system.advance(3600)
    added = fill_in(root, address("clients/add"), name="Album", redirect_uris="https://a.example/")
    secret_on(root, added)
    event = system.events()[0]
    assert (event.actor, event.action, event.address) == ("root", "client add", "127.0.0.1")
    page = root.get(address("audit"))
    (table,) = tables(page)
    assert table[0] == ["Time (UTC)", "Who", "From", "What", "Of", "Details"]
    when, who, where, what, whom, details = table[1]
    assert (when, where, what) == ("2023-11-14 23:13:20", event.address, "Client added")
    assert "root" in who
    assert f'href="{address("client", id=event.subject)}"' in whom
    assert ">Album<" in whom.replace("<bdi>", "").replace("</bdi>", "")
    assert details == "redirect_uris: <bdi>https://a.example/</bdi>"


def test_the_trail_comes_in_pages(system: System, root: Browser) -> None:
    for number in range(30):
        wait(
            system.registry.add_event(Event(f"e{number}", number, "x", "y", f"subject{number:02}", "z"))
        )
    newest = root.get(address("audit"))
    (onward,) = [a["href"] for tag, a in newest.page.elements if tag == "a" and a.get("rel") == "next"]
    older = root.get(str(onward))
    assert f'href="{address("audit")}" rel="first"' in older.text
    assert "subject05" not in newest.words
    assert "subject29" in newest.words
    assert "subject00" not in newest.words
    assert "subject00" in older.words


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "{{7*7}}", "\u202enimda", '"><b>'])
def test_the_trail_is_text(system: System, root: Browser, text: str) -> None:
    """AD-06."""
    wait(system.registry.add_event(Event("e", START * 1000, text, text, text, text, {text: text})))
    page = root.get(address("audit"))
    assert "49" not in page.words.replace("2023", "")
    assert {tag for tag, _ in page.page.elements} & {"script", "b"} == set()
    assert text in page.words


def test_empty_audit_trail_is_said(system: System, root: Browser) -> None:
    wait(system.registry.prune_events(2**60, 1000))
    assert "There are none here." in root.get(address("audit")).words


def test_time_that_is_no_date_is_shown_as_a_number(system: System, root: Browser) -> None:
    """U-01: for all that the database may contain."""
    wait(system.registry.add_event(Event("e", 10**18, "x", "y", "z", "a")))
    assert root.get(address("audit")).status == 200


def add_events(system: System, *events: Event) -> None:
    wait(system.registry.prune_events(2**60, 1000))
    for event in events:
        wait(system.registry.add_event(event))


DAY = 86_400_000


def subjects(root: Browser, **query: str) -> list[str]:
    """What the listed rows are about."""
    found = tables(root.get(address("audit", **query)))
    return [re.sub("<.*?>", "", row[4]) for table in found for row in table[1:]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["e", "d", "c", "b", "a"]),
        ({"who": "ROOT"}, ["d", "b", "a"]),
        ({"who": "carol"}, ["e", "c"]),
        ({"what": "scope"}, ["e", "b", "a"]),
        ({"what": "user"}, ["c"]),
        ({"what": "other"}, ["d"]),
        ({"what": "nothing"}, ["d"]),
        ({"who": "root", "what": "scope"}, ["b", "a"]),
        ({"since": "1970-01-03"}, ["e", "d", "c"]),
        ({"until": "1970-01-02"}, ["b", "a"]),
        ({"since": "1970-01-02", "until": "1970-01-03"}, ["c", "b"]),
        ({"since": "1970-01-02", "until": "1970-01-03", "who": "carol"}, ["c"]),
        ({"who": "dora"}, []),
    ],
    ids=str,
)
def test_trail_is_filtered_by_who_what_and_when(
    system: System, root: Browser, query: dict[str, str], found: list[str]
) -> None:
    """A day counts from its first moment to its last, in UTC."""
    add_events(
        system,
        Event("1", 0, "root", "scope add", "a", "127.0.0.1"),
        Event("2", DAY, "root", "scope edit", "b", "127.0.0.1"),
        Event("3", 3 * DAY - 1, "carol", "user add", "c", "127.0.0.1"),
        Event("4", 3 * DAY, "root", "keys rotate", "d", "127.0.0.1"),
        Event("5", 4 * DAY, "carol", "scope delete", "e", "127.0.0.1"),
    )
    assert subjects(root, **query) == found
    form = next(form for form in root.get(address("audit", **query)).page.forms)
    assert form.values["who"] == query.get("who", "")
    assert form.values["since"] == query.get("since", "")


def test_filter_stays_on_every_page_of_the_trail(system: System, root: Browser) -> None:
    """No row is left out, and none comes twice."""
    rows = [
        Event(f"e{n:03}", n // 4, ("root", "carol")[n % 2], "scope add", f"s{n:03}", "x")
        for n in range(120)
    ]
    add_events(system, *rows)
    seen: list[str] = []
    where: str | None = address("audit", who="carol")
    while where:
        page = root.get(where)
        seen += [re.sub("<.*?>", "", row[4]) for table in tables(page) for row in table[1:]]
        links = [a["href"] for tag, a in page.page.elements if tag == "a" and a.get("rel") == "next"]
        where = links[0] if links else None
    assert sorted(seen) == [f"s{n:03}" for n in range(1, 120, 2)]


def test_search_of_the_trail_is_bounded(
    system: System, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks through so many rows for a page, and then offers to go on."""
    monkeypatch.setattr(audit_trail, "STEP", 5)
    monkeypatch.setattr(audit_trail, "MAX_LOOKED_AT", 10)
    rows = [Event(f"e{n:03}", 1000 - n, "root", "scope add", f"s{n:03}", "x") for n in range(30)]
    add_events(system, *rows, Event("z", 1, "carol", "scope add", "found", "x"))
    page = root.get(address("audit", who="carol"))
    steps = 1
    while "found" not in page.words.replace("Nothing was found so far", ""):
        assert "Nothing was found so far." in page.words
        (onward,) = [a["href"] for tag, a in page.page.elements if tag == "a" and a.get("rel") == "next"]
        page, steps = root.get(str(onward)), steps + 1
    assert steps == 4


@pytest.mark.parametrize("day", ["x", "2026-13-01", "29.11.2026", "2026-11-29T00:00"])
def test_day_that_is_no_date_is_said_at_its_field(root: Browser, day: str) -> None:
    answer = root.get(address("audit", since=day))
    assert answer.status == 400
    assert "Write a day as 2026-11-29." in answer.words
    (field,) = [a for _, a in answer.page.elements if a.get("id") == "since"]
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "since-error")
    assert root.get(address("audit/csv", since=day)).status == 400


def test_command_line_is_told_apart_from_an_administrator(system: System, root: Browser) -> None:
    """A system user may have an administrator's name."""
    add_events(
        system,
        Event("1", 2, "root", "scope add", "a", "127.0.0.1"),
        Event("2", 1, "root", "scope add", "b", COMMAND_LINE),
    )
    (table,) = tables(root.get(address("audit")))
    page, command = table[1][1], table[2][1]
    assert f'href="{address("user", id="root")}"' in page
    assert "Command line" not in page
    assert "href" not in command
    assert "Command line" in command


def test_rows_of_grants_and_clients_have_names(
    app: App, other_app: App, alice: Browser, root: Browser
) -> None:
    """Also those of a client that is deleted, from the row that says so."""
    other_app.tokens(alice)
    for page in (
        address("grants", user="alice"),
        address("grants", client=app.client_id),
        address("client/delete", id=other_app.client_id),
    ):
        app.tokens(alice)
        app.system.advance(1)
        fill_in(root, page)
    table = tables(root.get(address("audit")))[0]
    said = [[re.sub("<.*?>", "", cell) for cell in row[3:]] for row in table[1:4]]
    assert said[0][:2] == ["Client deleted", "Other"]
    assert said[1][::2] == ["Grants revoked", "user: any; client: App"]
    assert said[2][::2] == ["Grants revoked", "user: alice; client: any"]


def exported(root: Browser, **query: str) -> list[list[str]]:
    answer = root.get(address("audit/csv", **query))
    assert answer.status == 200
    assert answer.header("content-type") == "text/csv; charset=utf-8"
    assert answer.header("content-disposition") == 'attachment; filename="audit.csv"'
    assert answer.header("cache-control") == "no-store"
    return list(csv.reader(io.StringIO(answer.text)))


def test_trail_is_exported_as_csv(system: System, root: Browser) -> None:
    """The rows that the filter lets through, each on one line."""
    details = {"description": 'a "b", c', "name": "ä"}
    add_events(
        system,
        Event("1", START * 1000, "root", "scope add", "a", "127.0.0.1", details),
        Event("2", 1000, "carol", "scope add", "b", COMMAND_LINE),
    )
    head, first, second = exported(root)
    assert head == ["time", "actor", "address", "action", "subject", "details"]
    assert first[:5] == ["2023-11-14T22:13:20Z", "root", "127.0.0.1", "scope add", "a"]
    assert first[5] == 'description=a "b", c; name=ä'
    assert second[:3] == ["1970-01-01T00:00:01Z", "carol", COMMAND_LINE]
    assert [row[4] for row in exported(root, who="carol")[1:]] == ["b"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1"])
def test_no_cell_of_the_export_is_a_formula(system: System, root: Browser, text: str) -> None:
    """OWASP, CSV Injection."""
    add_events(system, Event("1", 1000, text, text, text, text, {text: text}))
    assert exported(root)[1][1:] == [f"'{text}"] * 4 + [f"'{text}={text}"]


def test_export_says_where_it_ends_early(
    system: System, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "MAX_EXPORTED", 3)
    add_events(system, *(Event(str(n), n, "root", "scope add", str(n), "x") for n in range(5)))
    rows = exported(root)
    assert [row[4] for row in rows[1:4]] == ["4", "3", "2"]
    assert rows[4] == ["", "", "", "there are more rows: choose fewer days", "", ""]
    assert len(exported(root, until="1969-12-31")) == 1
