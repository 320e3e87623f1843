"""Running out of memory or threads, as the system says it, in a separate process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from djoauth2_twisted import credentials
from djoauth2_twisted.exhaustion import exhausted

#: Allows a process no more memory than it has, in code that runs in it.
LIMIT = """
import resource
def limit():
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + 24 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "x"), "memory"),
        (OSError(errno.EMFILE, "x"), "file descriptors"),
        (OSError(errno.ENFILE, "x"), "file descriptors"),
        (OSError(errno.ENOSPC, "x"), "disk space"),
        (RuntimeError("can't start new thread"), "threads"),
        (sa.exc.StatementError("x", None, None, MemoryError()), "memory"),
        (RuntimeError("another"), ""),
        (OSError(errno.ENOENT, "x"), ""),
        (OSError("x"), ""),
        (ValueError(), ""),
        (None, ""),
    ],
    ids=repr,
)
def test_error_says_what_the_system_has_run_out_of(error: Exception | None, lacking: str) -> None:
    assert exhausted(error) == lacking


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$argon2id$v=19$m=65536,t=3,p=4$AA$AA"])
def test_hash_that_cannot_be_read_is_no_lack_of_memory(stored: str) -> None:
    """No user has this password."""
    assert credentials.verify_password(stored, "a password") is False


def _run(
    code: str, folder: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", LIMIT + code, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_argon2_without_memory_raises_memory_error(tmp_path: Path) -> None:
    code = """
from djoauth2_twisted import credentials
stored = credentials.hash_password("a password")
limit()
for attempt in (credentials.hash_password, lambda sent: credentials.verify_password(stored, sent)):
    try:
        print(attempt("a password"))
    except MemoryError as error:
        print("MemoryError:", error)
"""
    result = _run(code, tmp_path)
    assert result.stdout.splitlines() == [b"MemoryError: Memory allocation error"] * 2, result.stderr


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_command_without_memory_for_a_password_says_so_in_one_line(tmp_path: Path) -> None:
    code = """
import sys
from djoauth2_twisted import credentials
from djoauth2_twisted.cli import main
hash_password = credentials.hash_password
def hash_limited(password):
    limit()
    return hash_password(password)
credentials.hash_password = hash_limited
main(sys.argv[1:])
"""
    result = _run(code, tmp_path, "user", "add", "alice", "--password-stdin", stdin=b"a password\n")
    assert result.returncode == 1
    line = b"djoauth2: Passwords cannot be hashed: the system is out of memory; try again later\n"
    assert (result.stdout, result.stderr) == (b"", line)
