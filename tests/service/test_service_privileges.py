"""A server that has given up its rights needs no file of the package, of its libraries or of Python."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from service_kit import (
    DJOAUTH2,
    ROOT,
    TWISTD,
    Application,
    Browser,
    Connection,
    Prepared,
    ask,
    run,
    wait_for,
    walk,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

USER, GROUP = "nobody", "nogroup"

#: Python without its own folder of packages.
BARE = (sys.executable, "-S", TWISTD[1], "-n", "--pidfile=")


@pytest.fixture(scope="module")
def locked() -> Iterator[Path]:
    """The package and all that it imports, in a folder that only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="djoauth2-locked-"))
    assert folder.stat().st_mode & 0o777 == 0o700
    site = Path(click.__file__).parent.parent
    try:
        shutil.copytree(site, folder / "site", ignore=_NOT_NEEDED, copy_function=_link)
        shutil.rmtree(folder / "site" / "djoauth2_twisted", ignore_errors=True)
        shutil.copytree(ROOT / "djoauth2_twisted", folder / "site" / "djoauth2_twisted")
        shutil.copytree(ROOT / "templates", folder / "site" / "djoauth2_twisted" / "templates")
        plugins = folder / "site" / "twisted" / "plugins"
        shutil.copy(ROOT / "twisted" / "plugins" / "djoauth2_plugin.py", plugins)
        yield folder / "site"
    finally:
        shutil.rmtree(folder)


_NOT_NEEDED = shutil.ignore_patterns("__pycache__", "mypy*", "selenium*", "babel*", "pip*", "trio*")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


@pytest.fixture
def prepared(prepared_once: Prepared) -> Iterator[Prepared]:
    """A certificate that only root may read, and a database of the other user's, where all may enter."""
    folder = Path(tempfile.mkdtemp(prefix="djoauth2-open-"))
    try:
        copy = prepared_once.copy_to(folder)
        run(*DJOAUTH2, "user", "edit", "alice", "--admin", folder=folder)
        folder.chmod(0o755)
        for path in (folder, copy.database):
            shutil.chown(path, USER, GROUP)
        copy.certificate.chmod(0o600)
        yield copy
    finally:
        shutil.rmtree(folder)


def test_everything_works_with_the_rights_gone(start, prepared: Prepared, locked: Path) -> None:
    """Every page in every language, the whole flow and an orderly end."""
    program = (*BARE, "--uid", USER, "--gid", GROUP)
    server = start(program=program, variables={"PYTHONPATH": str(locked)})
    assert Path(f"/proc/{server.process.pid}").stat().st_uid == prepared.database.stat().st_uid
    see_everything(server)
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.text(), server.text()


# What migrations after 0004 have added.
LATER_TABLES = ("token_place", "second_factor", "recovery_code", "signing_key", "subject", "logout")
LATER_COLUMNS = {
    "user": "folded namesake subject email_verified updated_at",
    "grant": "redirect_uri_sent nonce auth_time sid",
    "session": "auth_time address second_factor sid",
    "client": "id_token_alg post_logout_redirect_uris backchannel_logout_uri homepage_url privacy_url"
    " developer last_used",
}


def test_an_older_database_is_migrated_with_the_rights_gone(
    start, prepared: Prepared, locked: Path
) -> None:
    """The migrations, too, were read before."""
    with closing(sqlite3.connect(prepared.database)) as database, database:
        for index in ("user_folded", "user_namesake"):
            database.execute(f"DROP INDEX ix_djoauth2_{index}")
        for table in LATER_TABLES:
            database.execute(f"DROP TABLE djoauth2_{table}")
        for table, columns in LATER_COLUMNS.items():
            for column in columns.split():
                database.execute(f"ALTER TABLE djoauth2_{table} DROP COLUMN {column}")
        database.execute("UPDATE djoauth2_alembic_version SET version_num = '0004'")
    program = (*BARE, "--uid", USER, "--gid", GROUP)
    server = start(program=program, variables={"PYTHONPATH": str(locked)})
    walk(server)


def test_everything_works_where_the_package_is_gone(start, prepared: Prepared, locked: Path) -> None:
    """As for a moment during an upgrade, and without end after a `--chroot`."""
    copy = prepared.folder / "packages"
    shutil.copytree(locked, copy, copy_function=_link)
    server = start(program=BARE, variables={"PYTHONPATH": str(copy)})
    shutil.rmtree(copy)
    see_everything(server)
    assert server.stop() == -signal.SIGTERM
    assert "Traceback" not in server.text(), server.text()


PAGES = ("/", "login/", "logout/", "missing_redirect_uri/", "nothing/", "style.css")
ADMIN_PAGES = (
    *("", "clients/", "clients/add/", "scopes/", "scopes/add/", "users/", "users/add/", "grants/"),
    *("audit/", "user/?id=alice", "user/delete/?id=alice", "scope/?id=photos", "client/?id={client}"),
)


def see_everything(server) -> None:
    """Walk the whole flow, and see every page in every language."""
    walk(server)
    browser = Browser(server).log_in_as_user()
    admin = [f"admin/{page}".format(client=server.prepared.client_id) for page in ADMIN_PAGES]
    for language in ("en", "de"):
        for page in (*PAGES, "account/", *admin):
            headers = {**browser.headers, "Accept-Language": language}
            with closing(Connection(server)) as connection:
                answer = ask(connection, "GET", f"/oauth2/{page}", headers=headers)
            assert answer.status in {200, 400, 404}, (page, answer.text)
            assert page == "style.css" or answer.headers["content-language"] == language, page
            assert (answer.status == 200) == (page not in PAGES or "log" in page or ".css" in page), page
    # A name that no codec of the beginning reads, and a form that cannot be read.
    for host in ("xn--bcher-kva.example", "b\xfccher.example"):
        with closing(Connection(server)) as connection:
            connection.putrequest("GET", "/oauth2/login/", skip_host=True)
            connection.putheader("Host", host.encode("latin-1"))
            connection.endheaders()
            assert connection.getresponse().status in {200, 400}
    with Application(server) as application:
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"}
        application.token({"a": "b"}, {**application.headers, **kind})
        assert application.exchange("x").json["error"] == "invalid_grant"
    server.signal(signal.SIGHUP)
    wait_for(lambda: "cert" in server.text().rpartition("/oauth2/token/")[2], "a reload", server.text)
    assert server.is_healthy()
