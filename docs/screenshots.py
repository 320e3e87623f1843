"""Makes the pictures of pages.md: ``python docs/screenshots.py``, where the browser's tests run."""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests" / name) for name in ("browser", "service")]

from browser_kit import ExampleApplication, Person, Screen, chromium, running, what_is_missing  # noqa: E402
from service_kit import DJOAUTH2, Prepared, prepare, run  # noqa: E402

from djoauth2_twisted.stores.sql import schema  # noqa: E402
from djoauth2_twisted.web.statistics import AUTHORIZATION, HOUR, REFRESH  # noqa: E402

WIDTHS = (360, 1280)

#: Pictures of those who are logged in, and where what they show is.
PAGES = {
    "applications": "/oauth2/account/",
    "administration": "/oauth2/admin/",
}

#: How often what was let in, refreshed and refused in a day that there never was, by the hour.
LET_IN = "0 0 0 0 1 0 2 5 9 7 8 12 10 9 14 11 8 9 6 7 4 3 1 1"
REFRESHED = "3 2 1 2 4 6 14 22 31 38 35 41 44 39 46 43 40 36 29 25 18 12 7 5"
REFUSED = "0 0 1 0 0 0 0 2 1 4 2 3 7 2 1 3 2 5 1 0 1 0 0 0"


def embellish(prepared: Prepared) -> None:
    """Give what the pictures show names as there may be."""
    named = ("--name", "Holiday Prints", "--description", "Prints your photos and sends them to you.")
    for command in (
        ("client", "edit", prepared.client_id, *named),
        ("scope", "edit", "user_info", "See your name and your e-mail address."),
        ("user", "edit", "alice", "--admin"),
    ):
        done = run(*DJOAUTH2, *command, folder=prepared.folder)
        assert done.returncode == 0, done.stderr


def fill_plots(prepared: Prepared) -> None:
    """Count what there never was: a month of such days, some busier than others."""
    hour = int(time.time()) // HOUR
    kinds = {AUTHORIZATION: LET_IN, REFRESH: REFRESHED, "token/invalid_grant": REFUSED}
    rows = [
        {"hour": hour - 24 * day - age, "kind": kind, "count": int(count) * (5 - day * 3 % 5)}
        for kind, counts in kinds.items()
        for day in range(30)
        for age, count in enumerate(reversed(counts.split()))
    ]
    engine = sa.create_engine(f"sqlite:///{prepared.database}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.statistics), rows)


def take_pictures(person: Person, name: str) -> None:
    """Keep what the person sees at every width, down to the end of the page, or of its first section."""
    for width in WIDTHS:
        person.resize(width)
        height = person.run(_HEIGHT)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        taken = person.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        path = DOCS / "images" / f"{name}-{width}.png"
        path.write_bytes(base64.b64decode(taken["data"]))
        print(path)


_HEIGHT = """
    const shown = document.querySelector('section') || document.body;
    return Math.ceil(shown.getBoundingClientRect().bottom + scrollY);
"""


def walk(person: Person, application: ExampleApplication) -> None:
    """Come to every page, and take its pictures."""
    server = application.server
    person.open(application.authorization_address())
    take_pictures(person, "login")
    person.log_in(server.prepared.username, server.prepared.password)
    take_pictures(person, "consent")
    person.press("Accept")
    for name, path in PAGES.items():
        person.open(f"https://localhost:{server.port}{path}")
        take_pictures(person, name)


def main(folder: Path) -> None:
    """Start a server, an application and a browser, and take the pictures."""
    prepared = prepare(folder)
    embellish(prepared)
    fill_plots(prepared)
    application = ExampleApplication(folder)
    try:
        with running(prepared) as server, chromium(application, prepared.certificate) as driver:
            application.serve(server)
            person = Person(driver, Screen(WIDTHS[-1], "light"))
            walk(person, application)
            person.leave()
    finally:
        application.stop()


if __name__ == "__main__":
    if missing := what_is_missing():
        sys.exit(missing)
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
