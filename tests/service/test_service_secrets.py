"""Nothing that could be used is found in the database, the logs or the process list (U-03)."""

from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from service_kit import (
    FOREGROUND,
    Application,
    Browser,
    Connection,
    Server,
    ask,
    basic,
    challenge,
    code_form,
)

from djoauth2_twisted.credentials import random_string


def everything(server: Server) -> dict[str, bytes]:
    """What the database, the logs and the process list show, by where it stands."""
    folder = server.prepared.folder
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "server.pem"}
    assert {"djoauth2.db", "stdout.log", "stderr.log"} <= set(found)
    process = Path("/proc") / str(server.process.pid)
    if process.is_dir():
        found |= {name: (process / name).read_bytes() for name in ("cmdline", "environ")}
        assert b"djoauth2" in found["cmdline"]
        assert "djoauth2.db-wal" in found
    return found


def written(secret: str) -> set[bytes]:
    """The ways in which a secret may be written."""
    raw = secret.encode("utf-8")
    return {raw, quote(secret, safe="").encode(), base64.b64encode(raw), raw.hex().encode()}


def search(server: Server, secrets: dict[str, set[str]]) -> None:
    """See that no secret is found anywhere."""
    places = everything(server)
    leaks = [
        (kind, place)
        for kind, values in secrets.items()
        for value in values
        for place, content in places.items()
        if any(form in content for form in written(value))
    ]
    assert all(secrets.values())
    assert leaks == []


def use(server: Server) -> dict[str, set[str]]:
    """Use a server in all ways, good and bad; what is secret of that, by kind."""
    prepared = server.prepared
    browser, stranger = Browser(server), Browser(server)
    secrets = {
        "secret": {prepared.client_secret},
        "password": {prepared.password},
        "wrong password": {random_string(20)},
        "wrong secret": {random_string(30)},
        "wrong token": {random_string(30)},
        "verifier": {random_string(60)},
    }
    codes, access_tokens, refresh_tokens = (
        secrets.setdefault(kind, set()) for kind in ("code", "access token", "refresh token")
    )
    (wrong_password,), (wrong_secret,) = secrets["wrong password"], secrets["wrong secret"]
    (wrong_token,), (verifier,) = secrets["wrong token"], secrets["verifier"]

    assert stranger.log_in(prepared.username, wrong_password).status == 403
    # People type their password into the wrong field.
    assert stranger.log_in(wrong_password, prepared.username).status == 403
    browser.log_in_as_user()
    with Application(server) as application:
        for _ in range(3):
            code = browser.code(code_challenge=challenge(verifier), code_challenge_method="S256")
            codes.add(code)
            answers = [application.exchange(code, code_verifier=verifier)]
            answers.append(application.refresh(answers[0].json["refresh_token"]))
            for answer in answers:
                access_tokens.add(answer.json["access_token"])
                refresh_tokens.add(answer.json["refresh_token"])
            assert application.user_info(answer.json["access_token"]).status == 200
        # Reuse, wrong values, and secrets where none belong.
        assert application.exchange(code, code_verifier=verifier).status == 400
        assert application.refresh(answers[0].json["refresh_token"]).status == 400
        assert application.exchange(wrong_token).status == 400
        assert application.refresh(wrong_token).status == 400
        assert application.user_info(wrong_token).status == 401
        wrong = {"Authorization": basic(prepared.client_id, wrong_secret)}
        assert application.token(code_form(browser.code()), wrong).status == 401
    in_uris(server, prepared.client_secret, *codes, *access_tokens, *refresh_tokens, wrong_token)
    secrets["cookies and forms' tokens"] = browser.secrets | stranger.secrets
    secrets["credentials"] = {basic(prepared.client_id, prepared.client_secret).partition(" ")[2]}
    return secrets


def in_uris(server: Server, *values: str) -> None:
    """Send secrets in queries and Referers, where they do not belong (LG-01)."""
    names = ("code", "state", "access_token", "client_secret", "token", "password")
    paths = ("/oauth2/authorization/", "/oauth2/token/", "/api/user_info/", "/oauth2/login/", "/nowhere")
    with closing(Connection(server)) as connection:
        for value in values:
            query = urlencode(dict.fromkeys(names, value))
            referer = {"Referer": f"https://app.example/cb?code={value}"}
            for path in paths:
                assert ask(connection, "GET", f"{path}?{query}", headers=referer).status < 500


def test_a_server_and_all_that_it_leaves_show_no_secret(start):
    """While it runs, and after its end, when all is in the one file."""
    server = start(program=FOREGROUND)
    secrets = use(server)
    search(server, secrets)
    server.stop()
    search(server, secrets)
    assert "wrong password" not in server.text()
    # It was the right place to look in: what is no secret is found there.
    assert server.prepared.client_id.encode() in everything(server)["djoauth2.db"]
    assert "/oauth2/authorization/ 303" in server.text()


def test_a_server_that_is_killed_leaves_no_secret(start):
    """The log of the database is left beside it."""
    server = start(program=FOREGROUND)
    secrets = use(server)
    server.kill()
    assert "djoauth2.db-wal" in everything(server)
    search(server, secrets)


@pytest.mark.parametrize("name", ["djoauth2.db", "djoauth2.db-wal", "djoauth2.db-shm"])
def test_the_files_of_a_new_database_are_the_owner_s_alone(start, prepared, name):
    """Whatever the umask (LG-05)."""
    prepared.database.unlink()
    start()
    assert (prepared.folder / name).stat().st_mode & 0o777 == 0o600
