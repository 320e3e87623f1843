"""The check of files: who can read secrets, and who can change what the server believes."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from shlex import quote

from ...finding import Finding, error, note, warning


def judge_secret(path: Path, owners: Collection[int]) -> list[Finding]:
    """Judge a file that has a secret in it. One that cannot be seen is left to its reader.

    :param owners: the users that may own it, as numbers.
    """
    try:
        real = path.resolve(strict=True)
        return [*_judge_readers(path, real), *_judge_writers(path, real, owners)]
    except OSError:
        return []


def judge_trusted(path: Path, owners: Collection[int]) -> list[Finding]:
    """Judge a file or folder that everybody may read, and only its owner may change.

    :param owners: see `judge_secret`.
    """
    try:
        return list(_judge_writers(path, path.resolve(strict=True), owners))
    except OSError:
        return []


def has_private_key(path: Path) -> bool:
    """Whether a PEM file has a private key in it. False if it cannot be read."""
    try:
        return b"PRIVATE KEY-----" in path.read_bytes()
    except OSError:
        return False


def _judge_readers(path: Path, real: Path) -> Iterator[Finding]:
    status = real.stat()
    if status.st_mode & stat.S_IROTH and _can_reach(real, stat.S_IXOTH):
        fault = f"every user of this machine can read {path}, which has secrets in it"
        yield error(fault, f"Run `chmod o= {quote(str(path))}`")
    elif status.st_mode & stat.S_IRGRP and _can_reach(real, stat.S_IXOTH | stat.S_IXGRP):
        fault = f"the group {_group(status.st_gid)} can read {path}, which has secrets in it"
        yield note(fault, "Check that only the server's user and administrators are in that group")


def _judge_writers(path: Path, real: Path, owners: Collection[int]) -> Iterator[Finding]:
    status = real.stat()
    if status.st_mode & stat.S_IWOTH and _can_reach(real, stat.S_IXOTH):
        yield error(
            f"every user of this machine can change {path}", f"Run `chmod o-w {quote(str(path))}`"
        )
    for folder in real.parents:
        mode = folder.stat().st_mode
        # In a folder with the sticky bit, as /tmp, each file can be replaced by its owner alone.
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX and _can_reach(folder, stat.S_IXOTH):
            fault = f"every user of this machine can replace {path}, since {folder} is open to all"
            yield error(fault, f"Run `chmod o-w {quote(str(folder))}`")
            break
    if status.st_uid not in owners:
        fault = f"{path} belongs to {_user(status.st_uid)}, who can read and change it"
        yield warning(fault, "Give it to the server's user or to root by `chown`")


def _can_reach(path: Path, bits: int) -> bool:
    """Whether each folder on the way lets those pass whom one of the bits is for."""
    return all(folder.stat().st_mode & bits for folder in path.parents)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"the user {number}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def usual_owners(server: int | None) -> set[int]:
    """Who may own the server's files: root, this user, and the user that the server becomes.

    :param server: the number of that user; None if it stays this one.
    """
    return {0, os.geteuid(), *(() if server is None else (server,))}
