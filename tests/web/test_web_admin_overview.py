"""The administration's first page, and its plots."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import pytest
from admin_driver import ADMIN, PAGES, administrator, tables
from web_driver import START, Answer, App, Browser, System, wait

from djoauth2_twisted.web.admin import plots

HOUR = START // 3600
DAY = HOUR - HOUR % 24


@pytest.fixture
def root(system: System) -> Browser:
    return administrator(system)


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
    day, month, refused = tables(page)
    assert len(day) == 1 + 24
    assert day[0][:5] == ["Time", "Clients allowed", "Declined", "Codes exchanged", "Refreshes"]
    assert day[1] == ["23:00", "0", "0", "0", "7", "0", "0", "0", "0"]
    assert day[-2][4] == "50"
    assert day[-1][:2] + day[-1][-1:] == ["22:00", "3", "2"]
    assert len(month) == 1 + 30
    assert month[1][:1] + month[1][4:5] == ["2023-10-16", "11"]
    assert [row[4] for row in month[-2:]] == ["1007", "50"]
    assert [row[1:3] for row in refused[1:]] == [["0", "4"], ["2", "2"]]
    assert refused[1][0] == "Authorization: the user declined <code>access_denied</code>"
    words = [drawing.findtext("desc") for drawing in drawings(page)]
    assert [" ".join((each or "").split()) for each in words] == [
        "Clients allowed: 3. Refreshes: 57.",
        "Refusals: 2.",
        "Clients allowed: 3. Refreshes: 1068.",
        "Refusals: 6.",
    ]


def test_what_has_just_happened_is_there(app: App, alice: Browser, root: Browser) -> None:
    """What this process has counted and not yet written, once."""
    app.tokens(alice)
    app.exchange("nothing")
    for _ in range(2):
        day, month, refused = tables(root.get(ADMIN))
        for last in (day[-1], month[-1]):
            assert last[1:] == ["1", "0", "1", "0", "0", "2", "0", "1"]
        assert refused[1][1:3] == ["1", "1"]


def test_a_plot_can_be_heard_and_needs_no_style(system: System, root: Browser) -> None:
    """Title and description for those who do not see it; nothing that the policy forbids."""
    wait(system.registry.add_statistics({(HOUR, "refresh"): 1, (HOUR, "token/invalid_grant"): 2}))
    page = root.get(ADMIN)
    assert len(drawings(page)) == 4
    for drawing in drawings(page):
        assert drawing.get("role") == "img"
        named = (drawing.get("aria-labelledby") or "").split()
        assert [drawing.find(f"*[@id='{name}']") is not None for name in named] == [True, True]
        assert drawing.findtext("title")
        for element in drawing.iter():
            assert not {"style", "onload", "href"} & set(element.keys())


def test_nothing_is_drawn_of_what_has_not_happened(root: Browser) -> None:
    page = root.get(ADMIN)
    assert drawings(page) == []
    assert page.words.count("None yet.") == 5


def bars(line: plots.Line) -> list[tuple[int, int, int]]:
    """The left edge, the width and the height of each bar."""
    found = re.findall(r"M(\d+),0V(\d+)", line.path)
    assert "".join("M{},0V{}".format(*each) for each in found) == line.path
    return [(int(x) - line.width // 2, line.width, int(height)) for x, height in found]


@pytest.mark.parametrize(
    ("counts", "top"),
    [([0] * 24, 1), ([0, 1] * 12, 1), ([5] * 24, 5), ([7, *[0] * 23], 8), ([5001, *[1] * 29], 6000)],
)
def test_bars_stay_within_the_plot(counts: Sequence[int], top: int) -> None:
    """Each at its time, next to the bar of the other kind; the smallest can be seen."""
    drawn = plots.plot({"login": counts, "refresh": counts}, [f"{n:02}:00" for n in range(len(counts))])
    assert drawn.top == top
    slot = plots.WIDTH // len(counts)
    for index, line in enumerate(drawn.lines):
        found = bars(line)
        assert len(found) == sum(count > 0 for count in counts)
        places = [n for n, count in enumerate(counts) if count]
        for (x, width, height), place in zip(found, places, strict=True):
            assert place * slot < x
            assert x + width < (place + 1) * slot
            assert 1 <= height <= plots.HEIGHT
            assert height == max(1, round(plots.HEIGHT * counts[place] / top))
            assert (x - place * slot > slot // 2 - 1) == (index == 1)


def test_time_axis_has_a_mark_every_six_bars() -> None:
    hours = [f"{n:02}:00" for n in range(24)]
    assert plots.plot({"login": [1] * 24}, hours).marks == ["00:00", "06:00", "12:00", "18:00"]
    days = [f"2026-11-{n:02}" for n in range(1, 31)]
    marks = ["11-01", "11-07", "11-13", "11-19", "11-25"]
    assert plots.plot({"login": [1] * 30}, days).marks == marks


def test_overview_names_the_clients_of_refusals(app: App, other_app: App, root: Browser) -> None:
    """Those of this process, most refused first."""
    for _ in range(2):
        other_app.exchange("nothing")
    app.exchange("nothing")
    app.ask(root, client_id="nobody")
    *_, refused = tables(root.get(ADMIN))
    assert refused[0] == ["Reason", "The last day", "The last month", "Recent clients"]
    reasons = {re.sub("<.*?>", "", row[0]): re.sub("<.*?>", "", row[3]) for row in refused[1:]}
    assert reasons == {
        "Token: the code or refresh token is not valid invalid_grant": "Other (2), App (1)",
        "Authorization: the client or its redirect URI is not known missing_redirect_uri": "Unknown (1)",
    }


def test_pages_are_small(system: System, app: App, alice: Browser, root: Browser) -> None:
    """Under 30 kB all told, with lists that are full and numbers that are large."""
    kinds = ["authorization", "refresh", "login", *(f"token/{name}_{name}" for name in "abcdefghij")]
    many = {(HOUR - age, kind): 123_456 for age in range(720) for kind in kinds}
    wait(system.registry.add_statistics(many))
    for number in range(30):
        system.add_client(f"Client{number}", description="words " * 20)
        system.do(system.administration.add_scope(f"scope{number}", "words " * 20))
        app.tokens(alice)
    style = sum(len(root.get(f"/oauth2/{name}.css").body) for name in ("style", "admin"))
    for page in PAGES:
        name, question, query = page.partition("?")
        where = f"{ADMIN}{name}{question}{query.format(client=app.client_id)}"
        answer = root.get(where)
        assert answer.status == 200
        assert len(answer.body) + style < 30_000, page
