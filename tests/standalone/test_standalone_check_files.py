"""The check of files: their readers, writers and owners."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from djoauth2_twisted.finding import Finding
from djoauth2_twisted.standalone.check.files import (
    has_private_key,
    judge_secret,
    judge_trusted,
    usual_owners,
)

OWNERS = usual_owners(None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users can enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def secret(folder: Path, mode: int) -> Path:
    path = folder / "key.pem"
    path.write_text("-----BEGIN " + "PRIVATE KEY-----")
    path.chmod(mode)
    return path


def said(findings: list[Finding]) -> list[tuple[str, str]]:
    """The weight and the fault of each finding."""
    assert all(each.mend for each in findings)
    return [(each.weight.name, each.fault) for each in findings]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_its_owner_is_good(folder: Path, mode: int) -> None:
    assert judge_secret(secret(folder, mode), OWNERS) == []


def test_a_secret_that_all_can_read_is_an_error(folder: Path) -> None:
    path = secret(folder, 0o644)
    assert said(judge_secret(path, OWNERS)) == [
        ("ERROR", f"every user of this machine can read {path}, which has secrets in it")
    ]
    assert judge_trusted(path, OWNERS) == []


def test_a_secret_that_a_group_can_read_is_a_note(folder: Path) -> None:
    [(weight, fault)] = said(judge_secret(secret(folder, 0o640), OWNERS))
    assert weight == "NOTE"
    assert fault.startswith("the group ")


def test_a_closed_folder_on_the_way_protects(folder: Path) -> None:
    """A user who cannot enter it cannot open the file."""
    path = secret(folder, 0o666)
    folder.chmod(0o700)
    assert judge_secret(path, OWNERS) == []
    folder.chmod(0o750)
    assert [weight for weight, _ in said(judge_secret(path, OWNERS))] == ["NOTE"]


def test_a_link_is_followed(folder: Path) -> None:
    """As certbot's to an archive: what it leads to counts."""
    closed = folder / "archive"
    closed.mkdir(mode=0o700)
    (folder / "link.pem").symlink_to(secret(closed, 0o644))
    assert judge_secret(folder / "link.pem", OWNERS) == []
    closed.chmod(0o755)
    assert [weight for weight, _ in said(judge_secret(folder / "link.pem", OWNERS))] == ["ERROR"]


def test_a_file_that_all_can_change_is_an_error(folder: Path) -> None:
    path = secret(folder, 0o602)
    assert said(judge_trusted(path, OWNERS)) == [
        ("ERROR", f"every user of this machine can change {path}")
    ]


def test_a_file_that_all_can_replace_is_an_error(folder: Path) -> None:
    path = secret(folder, 0o600)
    folder.chmod(0o777)
    [(weight, fault)] = said(judge_trusted(path, OWNERS))
    assert weight == "ERROR"
    assert f"since {folder} is open to all" in fault
    folder.chmod(0o1777)
    assert judge_trusted(path, OWNERS) == []


def test_a_file_of_another_user_is_a_warning(folder: Path) -> None:
    path = secret(folder, 0o600)
    owner = path.stat().st_uid
    [(weight, fault)] = said(judge_secret(path, {owner + 1}))
    assert weight == "WARNING"
    assert f"{path} belongs to " in fault
    assert {0, owner, 4711} <= usual_owners(4711)


def test_a_file_that_is_missing_is_left_to_its_reader(folder: Path) -> None:
    assert judge_secret(folder / "nowhere", OWNERS) == []
    assert judge_trusted(folder / "nowhere", OWNERS) == []
    assert not has_private_key(folder / "nowhere")


def test_a_private_key_is_found_in_a_file(folder: Path) -> None:
    path = secret(folder, 0o600)
    assert has_private_key(path)
    path.write_text("-----BEGIN CERTIFICATE-----")
    assert not has_private_key(path)
