"""Makes the pictures of pages.md: ``python docs/screenshots.py``, where the browser's tests run."""

from __future__ import annotations

import base64
import re
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests" / name) for name in ("", "browser", "service")]

from browser_kit import ExampleApplication, Person, Screen, chromium, running, what_is_missing  # noqa: E402
from service_kit import DJOAUTH2, Prepared, prepare, run  # noqa: E402

from djoauth2_twisted.stores.sql import schema  # noqa: E402
from djoauth2_twisted.web.statistics import AUTHORIZATION, HOUR, REFRESH  # noqa: E402

SCREENS = [Screen(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]

#: Pictures of an administrator's pages, where they are, and the status of each. ``{}`` is a client's id.
PAGES = {
    "home": ("/", 200),
    "applications": ("/oauth2/account/", 200),
    "administration": ("/oauth2/admin/", 200),
    "clients": ("/oauth2/admin/clients/", 200),
    "client": ("/oauth2/admin/client/?id={}", 200),
    "scopes": ("/oauth2/admin/scopes/", 200),
    "users": ("/oauth2/admin/users/", 200),
    "grants": ("/oauth2/admin/grants/", 200),
    "audit": ("/oauth2/admin/audit/", 200),
    "not-found": ("/oauth2/nothing", 404),
    "refused": ("/oauth2/authorization/?client_id={}&redirect_uri=https://elsewhere.example/", 400),
    "logout": ("/oauth2/logout/", 200),
}

#: The look and the links of the site, as its operator sets them.
SITE = {
    "DJOAUTH2_SITE_NAME": "Example Cloud",
    "DJOAUTH2_SUPPORT_URL": "https://cloud.example/help",
    "DJOAUTH2_PRIVACY_URL": "https://cloud.example/privacy",
    "DJOAUTH2_RECOVERY_URL": "https://cloud.example/forgotten",
}

#: How often what was let in, refreshed and refused in a day that there never was, by the hour.
LET_IN = "0 0 0 0 1 0 2 5 9 7 8 12 10 9 14 11 8 9 6 7 4 3 1 1"
REFRESHED = "3 2 1 2 4 6 14 22 31 38 35 41 44 39 46 43 40 36 29 25 18 12 7 5"
REFUSED = "0 0 1 0 0 0 0 2 1 4 2 3 7 2 1 3 2 5 1 0 1 0 0 0"


def embellish(prepared: Prepared) -> None:
    """Give what the pictures show names as there may be."""
    named = (
        *("--name", "Holiday Prints", "--developer", "Example Prints Ltd"),
        *("--description", "Prints your photos and sends them to you."),
        *("--homepage-url", "https://app.example/", "--privacy-url", "https://app.example/privacy"),
    )
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
    """Keep what the person sees at every screen, down to the end of the page."""
    for screen in SCREENS:
        person.sit_at(screen)
        height = person.run("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": screen.width, "height": height, "scale": 1}
        taken = person.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        path = DOCS / "images" / f"{name}-{screen}.png"
        path.write_bytes(base64.b64decode(taken["data"]))
        print(path)


def walk(person: Person, application: ExampleApplication) -> None:
    """Come to every page, and take its pictures."""
    server = application.server
    person.open(application.authorization_address())
    take_pictures(person, "login")
    person.fill("Name", server.prepared.username)
    person.fill("Password", "a wrong one")
    person.send(status=403)
    take_pictures(person, "wrong-password")
    person.fill("Password", server.prepared.password)
    person.press("Log in")
    take_pictures(person, "consent")
    person.press("Accept")
    for name, (path, status) in PAGES.items():
        address = f"https://localhost:{server.port}{path.format(server.prepared.client_id)}"
        person.open(address, status)
        take_pictures(person, name)
    person.press("Log out")
    take_pictures(person, "logged-out")


def missing_pictures() -> list[str]:
    """The pictures that pages.md shows, and that are not there."""
    shown = re.findall(r'src="(images/[^"]+)"', (DOCS / "pages.md").read_text("utf-8"))
    return [name for name in shown if not (DOCS / name).is_file()]


def main(folder: Path) -> None:
    """Start a server, an application and a browser, and take the pictures."""
    prepared = prepare(folder)
    embellish(prepared)
    fill_plots(prepared)
    application = ExampleApplication(folder)
    try:
        with (
            running(prepared, variables=SITE) as server,
            chromium(application, prepared.certificate) as driver,
        ):
            application.serve(server)
            person = Person(driver, SCREENS[0])
            walk(person, application)
            person.leave()
    finally:
        application.stop()


if __name__ == "__main__":
    if missing := what_is_missing():
        sys.exit(missing)
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
    sys.exit(f"pages.md shows other pictures: {lacking}" if (lacking := missing_pictures()) else 0)
