"""The administration's first page, its plots, and the audit trail."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import pytest
from admin_driver import ADMIN, PAGES, address, administrator, fill_in, secret_on
from web_driver import START, Answer, App, Browser, System, wait

from djoauth2_twisted.models import Event
from djoauth2_twisted.web.admin import plots

HOUR = START // 3600
DAY = HOUR - HOUR % 24


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


def tables(page: Answer) -> list[list[list[str]]]:
    """The tables of a page, by their rows and cells."""
    return [
        [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            for row in re.findall(r"<tr>(.*?)</tr>", each, re.S)
        ]
        for each in re.findall(r"<table>(.*?)</table>", page.text, re.S)
    ]


def drawings(page: Answer) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(each)
        for each in re.findall(r'<svg class="plot".*?</svg>', page.text, re.S)
    ]


def test_the_overview_counts_clients_scopes_users_and_grants(
    app: App, other_app: App, alice: Browser, root: Browser
) -> None:
    app.tokens(alice)
    page = root.get(ADMIN)
    counts = re.findall(r"<dt>(?:<a[^>]*>)?(.*?)(?:</a>)?</dt><dd>(\d+)</dd>", page.text)
    assert dict(counts) == {
        "Clients": "2",
        "Scopes": "4",
        "Users": "3",
        "Administrators": "1",
        "Grants": "1",
        "Logins": "2",
    }


def test_plots_and_tables_show_the_same_statistics(system: System, root: Browser) -> None:
    """The same numbers in plots and tables, of the last day and of the last month."""
    counts = {
        (HOUR, "authorization"): 3,
        (HOUR, "token/invalid_grant"): 2,
        (HOUR - 1, "refresh"): 50,
        (HOUR - 23, "refresh"): 7,
        (HOUR - 24, "refresh"): 1000,
        (DAY - 29 * 24, "refresh"): 11,
        (DAY - 29 * 24 - 1, "refresh"): 5000,
        (HOUR - 24, "authorization/access_denied"): 4,
    }
    wait(system.registry.add_statistics(counts))
    page = root.get(ADMIN)
    day, refused_today, month, refused = tables(page)
    assert len(day) == 1 + 24
    assert day[0][:5] == ["Time", "Clients allowed", "Declined", "Codes exchanged", "Refreshes"]
    assert day[1] == ["23:00", "0", "0", "0", "7", "0", "0", "0", "0"]
    assert day[-2][4] == "50"
    assert day[-1][:2] + day[-1][-1:] == ["22:00", "3", "2"]
    assert refused_today[1:] == [["token/invalid_grant", "2"]]
    assert len(month) == 1 + 30
    assert month[1][:1] + month[1][4:5] == ["2023-10-16", "11"]
    assert [row[4] for row in month[-2:]] == ["1007", "50"]
    assert refused[1:] == [["authorization/access_denied", "4"], ["token/invalid_grant", "2"]]
    words = [drawing.findtext("desc") for drawing in drawings(page)]
    assert [" ".join((each or "").split()) for each in words] == [
        "Clients allowed: 3. Refreshes: 57.",
        "token/invalid_grant: 2.",
        "Clients allowed: 3. Refreshes: 1068.",
        "authorization/access_denied: 4. token/invalid_grant: 2.",
    ]


def test_what_has_just_happened_is_there(app: App, alice: Browser, root: Browser) -> None:
    """What this process has counted and not yet written, once."""
    app.tokens(alice)
    app.exchange("nothing")
    for _ in range(2):
        day, refused_today, month, _ = tables(root.get(ADMIN))
        for last in (day[-1], month[-1]):
            assert last[1:] == ["1", "0", "1", "0", "0", "2", "0", "1"]
        assert refused_today[1:] == [["token/invalid_grant", "1"]]


def test_a_plot_can_be_heard_and_needs_no_style(root: Browser) -> None:
    """Title and description for those who do not see it; nothing that the policy forbids."""
    page = root.get(ADMIN)
    assert len(drawings(page)) == 4
    for drawing in drawings(page):
        assert drawing.get("role") == "img"
        named = (drawing.get("aria-labelledby") or "").split()
        assert [drawing.find(f"*[@id='{name}']") is not None for name in named] == [True, True]
        assert drawing.findtext("title")
        for element in drawing.iter():
            assert not {"style", "onload", "href"} & set(element.keys())


def points(line: plots.Line) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in (pair.split(",") for pair in line.points.split(" "))]


@pytest.mark.parametrize(
    ("counts", "top"),
    [
        ([0, 0, 0], 1),
        ([0, 1, 0], 1),
        ([2, 1, 0], 2),
        ([3, 4, 5], 5),
        ([6, 0, 0], 10),
        ([5001, 1, 1], 10000),
    ],
)
def test_lines_stay_within_the_plot(counts: Sequence[int], top: int) -> None:
    drawn = plots.plot({"login": counts}, ["a", "b", "c"])
    assert drawn.top == top
    (line,) = drawn.lines
    found = points(line)
    bottom = plots.HEIGHT - plots.MARGIN
    assert [x for x, _ in found] == [plots.MARGIN, plots.WIDTH // 2, plots.WIDTH - plots.MARGIN]
    for (_, y), count in zip(found, counts, strict=True):
        assert y == round(plots.MARGIN + (bottom - plots.MARGIN) * (1 - count / top))
        assert plots.MARGIN <= y <= bottom


def test_rare_statistics_share_one_line() -> None:
    counts = {name: [number, 1] for number, name in enumerate("abcdefg")}
    kept = plots.most_frequent(counts, "others")
    assert kept == {"g": [6, 1], "f": [5, 1], "e": [4, 1], "d": [3, 1], "others": [3, 3]}
    few = {name: counts[name] for name in "abcde"}
    assert plots.most_frequent(few, "others") == few


def test_pages_are_small(system: System, app: App, alice: Browser, root: Browser) -> None:
    """Under 30 kB all told, with lists that are full and numbers that are large."""
    kinds = ["authorization", "refresh", "login", *(f"token/{name}_{name}" for name in "abcdefghij")]
    many = {(HOUR - age, kind): 123_456 for age in range(720) for kind in kinds}
    wait(system.registry.add_statistics(many))
    for number in range(30):
        system.add_client(f"Client{number}", description="words " * 20)
        system.do(system.administration.add_scope(f"scope{number}", "words " * 20))
        app.tokens(alice)
    style = len(root.get("/oauth2/style.css").body)
    for page in PAGES:
        name, question, query = page.partition("?")
        where = f"{ADMIN}{name}{question}{query.format(client=app.client_id)}"
        answer = root.get(where)
        assert answer.status == 200
        assert len(answer.body) + style < 30_000, page


# The audit trail.


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
    assert (when, where, what) == ("2023-11-14 23:13:20", event.address, "client add")
    assert "root" in who
    assert f'href="{address("client", id=event.subject)}"' in whom
    assert details.startswith("name: <bdi>Album</bdi>; "), "the id is there already"


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
    """U-01: whatever stands in the database."""
    wait(system.registry.add_event(Event("e", 10**18, "x", "y", "z", "a")))
    assert root.get(address("audit")).status == 200
