"""``djoauth2 audit``."""

from __future__ import annotations

import time

import pytest
from command_line import NOW, CommandLine
from waiting import result_of

from djoauth2_twisted.cli.audit import moment_of
from djoauth2_twisted.models import Event


def add_event(
    djoauth2: CommandLine,
    number: int,
    *,
    time: int = NOW,
    actor: str = "carol",
    action: str = "scope add",
    subject: str = "read",
    **details: str,
) -> None:
    event = Event(f"{number:04}", time * 1000, actor, action, subject, "192.0.2.1", details)
    result_of(djoauth2.administration.registry.add_event(event))


def test_changes_are_listed_newest_first(djoauth2: CommandLine) -> None:
    add_event(djoauth2, 1, time=NOW)
    add_event(djoauth2, 2, time=NOW + 1, action="user edit", subject="alice", admin="yes", email="")
    assert djoauth2.json("audit") == [
        {
            "time": NOW + 1,
            "actor": "carol",
            "address": "192.0.2.1",
            "action": "user edit",
            "subject": "alice",
            "details": {"admin": "yes", "email": ""},
        },
        {
            "time": NOW,
            "actor": "carol",
            "address": "192.0.2.1",
            "action": "scope add",
            "subject": "read",
            "details": {},
        },
    ]
    assert djoauth2.done("audit").splitlines() == [
        "TIME                  BY     FROM       ACTION     OF     NEW VALUES",
        "2023-11-14T22:13:21Z  carol  192.0.2.1  user edit  alice  admin=yes, email=",
        "2023-11-14T22:13:20Z  carol  192.0.2.1  scope add  read",
    ]


def test_the_command_s_own_changes_are_listed_without_secrets(djoauth2: CommandLine) -> None:
    begun = int(time.time())
    djoauth2.done("user", "add", "alice", "--password-stdin", stdin="wonderland\n")
    (event,) = djoauth2.json("audit")
    assert (event["action"], event["subject"]) == ("user add", "alice")
    assert begun <= event["time"] <= time.time()
    assert "wonderland" not in djoauth2.done("audit")


def test_changes_by_and_to_a_user_are_found(djoauth2: CommandLine) -> None:
    add_event(djoauth2, 1, actor="Alice")
    add_event(djoauth2, 2, action="user delete", subject="alice")
    add_event(djoauth2, 3, action="grants revoke", subject="a-client", user="alice", client="a-client")
    add_event(djoauth2, 4, action="scope delete", subject="alice")
    add_event(djoauth2, 5, actor="ju\u0308rgen")
    found = djoauth2.json("audit", "--user", "ALICE")
    assert [(event["actor"], event["action"]) for event in found] == [
        ("Alice", "scope add"),
        ("carol", "user delete"),
        ("carol", "grants revoke"),
    ]
    assert [event["actor"] for event in djoauth2.json("audit", "--user", "j\xfcrgen")] == [
        "ju\u0308rgen"
    ]
    assert djoauth2.json("audit", "--user", "nobody") == []


def test_changes_since_a_time_are_found(djoauth2: CommandLine) -> None:
    for number in range(3):
        add_event(djoauth2, number, time=NOW + number)
    for since, count in (("2023-11-14T22:13:21Z", 2), (str(NOW + 2), 1), ("2023-11-14", 3), ("1h", 0)):
        assert len(djoauth2.json("audit", "--since", since)) == count


def test_more_changes_than_a_page_are_listed(djoauth2: CommandLine) -> None:
    for number in range(1001):
        add_event(djoauth2, number, time=NOW + number // 2)
    assert len(djoauth2.json("audit")) == 1001
    assert len(djoauth2.json("audit", "--since", str(NOW + 100))) == 801


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", NOW - 30),
        ("5m", NOW - 300),
        ("2h", NOW - 7200),
        ("7d", NOW - 7 * 86400),
        (str(NOW), NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14 22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14", NOW - NOW % 86400),
    ],
)
def test_a_time_is_a_date_a_number_or_an_age(text: str, seconds: int) -> None:
    assert moment_of(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "7w", "-1d", "2023-13-01", "9999999999999999999"])
def test_what_is_no_time_is_refused_with_an_example(djoauth2: CommandLine, text: str) -> None:
    said = djoauth2.fails("audit", f"--since={text}", status=2)
    assert f"{text!r} is not a time: write it like 2026-11-29" in said
