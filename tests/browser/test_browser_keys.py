"""The administration's page of the keys that sign ID tokens; it is judged at every screen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from browser_kit import Person, Screen, running
from service_kit import Prepared, Server
from test_browser_admin import add_carol, open_admin

from djoauth2_twisted.protocol.key_states import MARGIN, MAX_AGE

ROTATE = "Let the next keys sign"

pytestmark = pytest.mark.parametrize("screen", [Screen(390, "light"), Screen(1280, "dark")], ids=str)


@pytest.fixture(scope="module")
def server(prepared_once: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with OpenID Connect."""
    prepared = prepared_once.copy_to(tmp_path_factory.mktemp("keys"))
    add_carol(prepared.folder)
    with running(prepared, variables={"DJOAUTH2_OPENID": "true"}) as server:
        yield server


def publish_long_ago(prepared: Prepared) -> None:
    """Let every cache of the key set have the keys."""
    with closing(sqlite3.connect(prepared.database)) as connection, connection:
        age = "UPDATE djoauth2_signing_key SET created = created - ?"
        connection.execute(age, (MAX_AGE + MARGIN,))


def keys(person: Person, state: str) -> set[str]:
    """The keys that the page shows in a state."""
    cells = "row => [...row.cells].map(cell => cell.textContent.trim())"
    rows = person.run(f"return [...document.querySelectorAll('tbody tr')].map({cells})")
    return {kid for kid, _, shown, _ in rows if shown == state}


def test_administrator_lets_the_next_keys_sign(person: Person, server: Server) -> None:
    """Not before every cache can have them. No private half is shown."""
    open_admin(person, server)
    person.press("Keys")
    coming, signing = keys(person, "published, and signs later"), keys(person, "signs")
    assert (len(coming), len(signing)) == (2, 2)
    person.press(ROTATE, status=400)
    assert "wait" in person.text
    publish_long_ago(server.prepared)
    person.open(f"https://localhost:{server.port}/oauth2/admin/keys/")
    person.press(ROTATE)
    assert person.heading == "Keys"
    assert keys(person, "signs") == coming
    assert signing <= keys(person, "signs no more, and is published for a while")
    assert len(keys(person, "published, and signs later")) == 2
    assert "private" not in person.text.lower()
