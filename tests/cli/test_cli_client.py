"""``djoauth2 client``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from command_line import CommandLine
from waiting import result_of

from djoauth2_twisted.conf import Settings
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import Client, Image

CALLBACK = "https://app.example/callback"


def add(djoauth2: CommandLine, *options: str, name: str = "An app") -> Any:
    return djoauth2.json("client", "add", "--name", name, "--redirect-uri", CALLBACK, *options)


def test_a_client_is_added_with_all_that_was_said(djoauth2: CommandLine) -> None:
    djoauth2.done("scope", "add", "user_info", "Your name")
    added = add(
        djoauth2,
        *("--redirect-uri", "https://app.example/other"),
        *("--description", "It does things"),
        *("--image-url", "https://app.example/logo.png"),
        *("--homepage-url", "https://app.example/", "--privacy-url", "https://app.example/privacy"),
        *("--developer", "Example Corporation"),
        *("--scope", "user_info", "--scope", "user_info"),
    )
    secret = added.pop("client_secret")
    assert added == {
        "client_id": added["client_id"],
        "name": "An app",
        "description": "It does things",
        "homepage_url": "https://app.example/",
        "privacy_url": "https://app.example/privacy",
        "developer": "Example Corporation",
        "image_url": "https://app.example/logo.png",
        "redirect_uris": [CALLBACK, "https://app.example/other"],
        "scopes": ["user_info"],
        "resource_server": False,
        "disabled": False,
        "id_token_alg": "RS256",
        "post_logout_redirect_uris": [],
        "backchannel_logout_uri": "",
    }
    kept = djoauth2.find_client(added["client_id"])
    assert kept.secret_digest == digest(secret)
    assert kept.scopes == ("user_info",)


def test_without_scope_every_scope_may_be_asked_for(djoauth2: CommandLine) -> None:
    assert add(djoauth2)["scopes"] is None


def test_the_secret_is_printed_for_people_too(djoauth2: CommandLine) -> None:
    printed = djoauth2.done("client", "add", "--name", "An app", "--redirect-uri", CALLBACK)
    client_id, secret = (line.split()[-1] for line in printed.splitlines()[:2])
    assert djoauth2.find_client(client_id).secret_digest == digest(secret)


def test_a_resource_server_needs_no_redirect_uri(djoauth2: CommandLine) -> None:
    added = djoauth2.json("client", "add", "--name", "API", "--resource-server")
    assert added["resource_server"] is True
    assert added["redirect_uris"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "x"], "redirect URI"),
        (["--name", "", "--redirect-uri", CALLBACK], "name"),
        (["--name", "a\u202eb", "--redirect-uri", CALLBACK], "printable"),
        (["--name", "a\x1b[31mb", "--redirect-uri", CALLBACK], "printable"),
        (["--name", "a\nb", "--redirect-uri", CALLBACK], "printable"),
        (["--name", "a\udcffb", "--redirect-uri", CALLBACK], "not UTF-8"),
        (["--name", "x", "--redirect-uri", "http://app.example/callback"], "https"),
        (["--name", "x", "--redirect-uri", CALLBACK + "#top"], "fragment"),
        (["--name", "x", "--redirect-uri", "https://u@app.example/"], "user information"),
        (["--name", "x", "--redirect-uri", CALLBACK + "?state=x"], "must not have the parameter state"),
        (["--name", "x", "--redirect-uri", CALLBACK, "--redirect-uri", CALLBACK], "once"),
        (["--name", "x", "--redirect-uri", CALLBACK, "--description", "a\u202eb"], "description"),
        (["--name", "x", "--redirect-uri", CALLBACK, "--image-url", "javascript:x"], "image"),
        (["--name", "x", "--redirect-uri", CALLBACK, "--scope", "nope"], "no scope 'nope'"),
    ],
)
def test_a_bad_client_is_refused_whole(djoauth2: CommandLine, options: list[str], said: str) -> None:
    assert said in djoauth2.fails("client", "add", *options)
    assert djoauth2.json("client", "list") == []


def test_http_is_for_development(djoauth2: CommandLine) -> None:
    administration = attrs.evolve(djoauth2.administration, settings=Settings(ssl_only=False))
    added = CommandLine(administration).json(
        "client", "add", "--name", "x", "--redirect-uri", "http://localhost:8000/callback"
    )
    assert added["redirect_uris"] == ["http://localhost:8000/callback"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["client"],
        ["client", "nonsense"],
        ["client", "add"],
        ["client", "add", "--name", "x", "--colour", "red"],
        ["client", "add", "--name", "x", "stray"],
        ["client", "show"],
        ["client", "edit", "some-id"],
        ["client", "edit", "some-id", "--scope", "a", "--any-scope"],
        ["client", "edit", "some-id", "--scope", ""],
        ["client", "edit", "some-id", "--redirect-uri", "https://a.example/", "--no-redirect-uri"],
        ["client", "edit", "some-id", "--image", os.devnull, "--no-image"],
    ],
)
def test_misuse_is_two_and_names_the_help(djoauth2: CommandLine, arguments: list[str]) -> None:
    assert "--help`" in djoauth2.fails(*arguments, status=2)


def test_list_has_every_client_and_no_secret(djoauth2: CommandLine) -> None:
    registry = djoauth2.administration.registry
    for number in range(1100):
        result_of(registry.add_client(Client(f"id-{number:04}", f"App {number:04}", digest("secret"))))
    listed = djoauth2.json("client", "list")
    assert [client["client_id"] for client in listed] == [f"id-{number:04}" for number in range(1100)]
    assert not any("secret" in name for name in listed[0])
    assert len(djoauth2.done("client", "list").splitlines()) == 1101


def test_clients_are_searched_by_name_and_id(djoauth2: CommandLine) -> None:
    registry = djoauth2.administration.registry
    for number in range(600):
        result_of(registry.add_client(Client(f"id-{number:04}", f"App {number:04}", digest("secret"))))

    def found(text: str) -> list[str]:
        return [client["client_id"] for client in djoauth2.json("client", "list", "--search", text)]

    assert found("APP 0599") == found("D-0599") == ["id-0599"]
    assert len(found("app")) == 600
    assert found("nothing") == []
    assert len(djoauth2.done("client", "list", "--search", "0599").splitlines()) == 2


def test_of_many_redirect_uris_the_first_is_listed_and_all_are_shown(djoauth2: CommandLine) -> None:
    more = [f"{CALLBACK}/{number}" for number in range(9)]
    client_id = add(djoauth2, *(f"--redirect-uri={uri}" for uri in more))["client_id"]
    assert djoauth2.done("client", "list").splitlines()[1].endswith(f"An app  {CALLBACK} +9")
    shown = djoauth2.done("client", "show", client_id).splitlines()
    assert [line.split()[-1] for line in shown if CALLBACK in line] == [CALLBACK, *more]


def test_a_secret_is_shown_once(djoauth2: CommandLine) -> None:
    added = add(djoauth2)
    client_id, secret = added["client_id"], added["client_secret"]
    later = [
        djoauth2.done("client", "list"),
        djoauth2.done("client", "list", "--json"),
        djoauth2.done("client", "show", client_id),
        djoauth2.done("client", "show", client_id, "--json"),
        djoauth2.done("client", "edit", client_id, "--name", "Other"),
        djoauth2.done("client", "edit", client_id, "--name", "Other", "--json"),
    ]
    assert not any(secret in printed or digest(secret).hex() in printed for printed in later)


def test_what_a_terminal_would_obey_is_escaped(djoauth2: CommandLine) -> None:
    """Another program that writes to the database may be less strict."""
    hostile = Client("an-id", "a\x1b[2J\u202e\nb", digest("s"), description="line\r\n\x07")
    result_of(djoauth2.administration.registry.add_client(hostile))
    for printed in (
        djoauth2.done("client", "list"),
        djoauth2.done("client", "show", "an-id"),
        djoauth2.done("client", "list", "--json"),
    ):
        assert printed.replace("\n", "").isprintable()
    assert r"a\x1b[2J\u202e\nb" in djoauth2.done("client", "list")
    assert djoauth2.json("client", "show", "an-id")["name"] == hostile.name


def test_show_says_what_a_client_may(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    printed = djoauth2.done("client", "show", client_id)
    assert "every scope" in printed
    assert "enabled" in printed
    assert CALLBACK in printed


def test_edit_changes_what_is_named_and_nothing_else(djoauth2: CommandLine) -> None:
    added = add(djoauth2, "--description", "Old")
    edited = djoauth2.json("client", "edit", added["client_id"], "--name", "New")
    del added["client_secret"]
    assert edited == {**added, "name": "New"}
    assert djoauth2.json("client", "edit", added["client_id"], "--description", "")["description"] == ""


def test_edit_replaces_redirect_uris_and_scopes(djoauth2: CommandLine) -> None:
    for name in ("one", "two"):
        djoauth2.done("scope", "add", name, name)
    client_id = add(djoauth2, "--scope", "one")["client_id"]
    other = "https://other.example/"
    edited = djoauth2.json("client", "edit", client_id, "--scope", "two", "--redirect-uri", other)
    assert (edited["scopes"], edited["redirect_uris"]) == (["two"], [other])
    assert djoauth2.json("client", "edit", client_id, "--any-scope")["scopes"] is None
    assert djoauth2.find_client(client_id).scopes is None


def test_only_a_resource_server_can_lose_its_redirect_uris(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    edit = ("client", "edit", client_id, "--no-redirect-uri")
    assert "needs at least one redirect URI" in djoauth2.fails(*edit)
    assert djoauth2.find_client(client_id).redirect_uris
    assert djoauth2.json(*edit, "--resource-server")["redirect_uris"] == []


def test_edit_makes_a_resource_server_and_undoes_it(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    assert djoauth2.json("client", "edit", client_id, "--resource-server")["resource_server"]
    assert "resource server" in djoauth2.done("client", "list")
    edited = djoauth2.json("client", "edit", client_id, "--no-resource-server")
    assert edited["resource_server"] is False


def test_a_bad_edit_changes_nothing(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    before = djoauth2.find_client(client_id)
    djoauth2.fails("client", "edit", client_id, "--name", "New", "--redirect-uri", "http://x/")
    assert djoauth2.find_client(client_id) == before


def test_disabling_ends_what_was_issued(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    djoauth2.add_grant("mine", client_id=client_id)
    djoauth2.add_grant("other", client_id="other")
    djoauth2.done("client", "edit", client_id, "--name", "New")
    assert djoauth2.find_access_token("mine") is not None
    assert djoauth2.json("client", "edit", client_id, "--disable")["disabled"] is True
    assert djoauth2.find_access_token("mine") is None
    assert djoauth2.find_access_token("other") is not None
    assert djoauth2.json("client", "edit", client_id, "--enable")["disabled"] is False
    assert djoauth2.find_access_token("mine") is None


def test_a_new_secret_takes_the_place_of_the_old(djoauth2: CommandLine) -> None:
    added = add(djoauth2)
    rotated = djoauth2.json("client", "rotate-secret", added["client_id"])
    assert set(rotated) == {"client_id", "client_secret"}
    assert rotated["client_secret"] != added["client_secret"]
    kept = djoauth2.find_client(added["client_id"])
    assert kept.secret_digest == digest(rotated["client_secret"])
    printed = djoauth2.done("client", "rotate-secret", added["client_id"])
    secret = printed.splitlines()[1].split()[-1]
    assert djoauth2.find_client(added["client_id"]).secret_digest == digest(secret)


def test_deleting_ends_what_was_issued(djoauth2: CommandLine) -> None:
    client_id = add(djoauth2)["client_id"]
    djoauth2.add_grant("mine", client_id=client_id)
    djoauth2.add_grant("other", client_id="other")
    djoauth2.done("client", "delete", client_id)
    assert djoauth2.find_client(client_id) is None
    assert djoauth2.find_access_token("mine") is None
    assert djoauth2.find_access_token("other") is not None


@pytest.mark.parametrize(
    "arguments", [["show"], ["edit", "--disable"], ["rotate-secret"], ["delete"]], ids=lambda a: a[0]
)
def test_an_unknown_client_is_an_error(djoauth2: CommandLine, arguments: list[str]) -> None:
    verb, *options = arguments
    assert djoauth2.fails("client", verb, "no\nbody", *options) == r"there is no client 'no\nbody'"


def test_the_old_secret_may_stay_for_a_while(djoauth2: CommandLine) -> None:
    added = add(djoauth2)
    before, begun = djoauth2.find_client(added["client_id"]), int(time.time())
    djoauth2.json("client", "rotate-secret", added["client_id"], "--keep-old", "60")
    kept = djoauth2.find_client(added["client_id"])
    assert kept.previous_secret_digest == before.secret_digest
    assert begun + 60 <= kept.previous_secret_expires <= time.time() + 60
    assert "old secret  valid until" in djoauth2.done("client", "show", added["client_id"])
    djoauth2.json("client", "rotate-secret", added["client_id"])
    kept = djoauth2.find_client(added["client_id"])
    assert (kept.previous_secret_digest, kept.previous_secret_expires) == (None, None)
    assert "old secret" not in djoauth2.done("client", "show", added["client_id"])


@pytest.mark.parametrize("seconds", ["-1", "2592001", "soon"])
def test_the_time_of_an_old_secret_is_bounded(djoauth2: CommandLine, seconds: str) -> None:
    arguments = ("client", "rotate-secret", add(djoauth2)["client_id"], "--keep-old", seconds)
    assert "--help`" in djoauth2.fails(*arguments, status=2)


PNG = b"\x89PNG\r\n\x1a\n"


def image_of(djoauth2: CommandLine, client_id: str) -> Any:
    return result_of(djoauth2.administration.registry.find_image(client_id))


def test_a_picture_comes_and_goes(djoauth2: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    client_id = add(djoauth2, "--image", str(tmp_path / "a.png"))["client_id"]
    assert image_of(djoauth2, client_id) == Image("image/png", PNG)
    djoauth2.done("client", "edit", client_id, "--image", str(tmp_path / "b.gif"), "--name", "New")
    assert image_of(djoauth2, client_id) == Image("image/gif", b"GIF89a")
    assert djoauth2.find_client(client_id).name == "New"
    assert "uploaded" in djoauth2.done("client", "show", client_id)
    djoauth2.done("client", "edit", client_id, "--no-image")
    assert image_of(djoauth2, client_id) is None


def test_a_picture_that_is_none(djoauth2: CommandLine, tmp_path: Path) -> None:
    """Nothing is half-done."""
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "large.png").write_bytes(PNG + bytes(16 * 1024))
    client_id = add(djoauth2)["client_id"]
    before = djoauth2.find_client(client_id)
    for name, said in (("a.svg", "PNG"), ("large.png", "16 KiB")):
        image = ("--image", str(tmp_path / name))
        assert said in djoauth2.fails("client", "edit", client_id, "--name", "New", *image)
        added = ("client", "add", "--name", "x", "--redirect-uri", CALLBACK)
        assert said in djoauth2.fails(*added, *image)
    assert djoauth2.find_client(client_id) == before
    assert len(djoauth2.json("client", "list")) == 1
    missing = str(tmp_path / "missing")
    assert "missing" in djoauth2.fails("client", "edit", client_id, "--image", missing, status=2)
    assert djoauth2.fails("client", "edit", client_id, "--image", str(tmp_path), status=2)
    both = ("--no-image", "--image", str(tmp_path / "large.png"))
    assert "together" in djoauth2.fails("client", "edit", client_id, *both, status=2)
