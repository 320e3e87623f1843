"""Confirmation on a terminal before something is deleted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from waiting import PATIENCE

from djoauth2_twisted.cli import client, scope, token, user
from djoauth2_twisted.interfaces import MAX_COUNTED

MODULES = {"client": client, "scope": scope, "token": token, "user": user}


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for noun in MODULES:
        monkeypatch.setattr(sys.modules[f"djoauth2_twisted.cli.{noun}"], "on_terminal", lambda: True)


def add_client(djoauth2: CommandLine) -> str:
    added = djoauth2.json("client", "add", "--name", "An app", "--redirect-uri", "https://app.example/")
    client_id: str = added["client_id"]
    djoauth2.add_grant("a", client_id=client_id)
    djoauth2.add_grant("b", client_id=client_id)
    return client_id


def add_scope(djoauth2: CommandLine) -> str:
    djoauth2.done("scope", "add", "user_info", "Your name")
    djoauth2.add_grant("a")
    djoauth2.add_grant("b", scopes=("other",))
    return "user_info"


def add_user(djoauth2: CommandLine) -> str:
    djoauth2.done("user", "add", "alice", "--password-stdin", stdin="wonderland\n")
    return "alice"


KINDS = [
    ("client", add_client, "Delete the client 'An app' ({})? This ends 2 grants."),
    ("scope", add_scope, "Delete the scope 'user_info'? This ends 1 grant."),
    ("user", add_user, "Delete the user 'alice'? This ends 0 grants."),
]


@pytest.mark.parametrize(("noun", "add", "question"), KINDS, ids=[kind[0] for kind in KINDS])
def test_deleting_asks_and_names_what_ends(
    djoauth2: CommandLine, noun: str, add: Callable[[CommandLine], str], question: str
) -> None:
    name = add(djoauth2)
    for answer in ("n\n", "\n"):
        refused = djoauth2(noun, "delete", name, stdin=answer)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"{question.format(name)} [y/N]: ")
        assert refused.stderr.endswith("djoauth2: nothing was changed\n")
    assert len(djoauth2.json(noun, "list")) == 1
    ended = djoauth2(noun, "delete", name, stdin="")
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (1, "djoauth2: interrupted")
    assert len(djoauth2.json(noun, "list")) == 1
    agreed = djoauth2(noun, "delete", name, stdin="y\n")
    assert (agreed.exit_code, agreed.stdout) == (0, f"The {noun} {name} is deleted.\n")
    assert djoauth2.json(noun, "list") == []


@pytest.mark.parametrize(("noun", "add", "question"), KINDS, ids=[kind[0] for kind in KINDS])
def test_yes_asks_nothing(
    djoauth2: CommandLine, noun: str, add: Callable[[CommandLine], str], question: str
) -> None:
    djoauth2.done(noun, "delete", add(djoauth2), "--yes")
    assert djoauth2.json(noun, "list") == []


@pytest.mark.parametrize("noun", ["client", "scope", "user"])
def test_what_is_not_there_is_not_asked_about(djoauth2: CommandLine, noun: str) -> None:
    assert djoauth2.fails(noun, "delete", "nope") == f"there is no {noun} 'nope'"


@pytest.mark.parametrize(("noun", "add", "question"), KINDS, ids=[kind[0] for kind in KINDS])
def test_without_a_terminal_nothing_is_asked(
    djoauth2: CommandLine,
    noun: str,
    add: Callable[[CommandLine], str],
    question: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    djoauth2.done(noun, "delete", add(djoauth2))


def test_revoking_all_grants_asks(djoauth2: CommandLine) -> None:
    djoauth2.add_grant("a")
    refused = djoauth2("token", "revoke", "--all", stdin="n\n")
    assert refused.exit_code == 1
    assert "Revoke all grants of all users? This ends 1 grant. [y/N]: " in refused.stderr
    assert djoauth2.find_access_token("a") is not None
    djoauth2.done("token", "revoke", "--all", "--yes")
    assert djoauth2.find_access_token("a") is None


def test_more_grants_than_are_counted() -> None:
    from djoauth2_twisted.cli.asking import in_words

    assert in_words(MAX_COUNTED) == f"{MAX_COUNTED} grants"
    assert in_words(MAX_COUNTED + 1) == f"more than {MAX_COUNTED} grants"


def on_a_terminal(folder: Path, answer: bytes | int) -> tuple[int, str]:
    """Delete the scope "read" on a terminal. Returns the exit status and what standard error shows.

    :param answer: what is typed, or the signal that is sent.
    """
    ours, theirs = pty.openpty()
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-m", "djoauth2_twisted", "scope", "delete", "read"],
        cwd=folder,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    shown = b""
    while not shown.endswith(b"[y/N]: "):
        shown += process.stderr.read(1)
    if isinstance(answer, bytes):
        os.write(ours, answer)
    else:
        process.send_signal(answer)
    _, rest = process.communicate(timeout=PATIENCE)
    os.close(ours)
    os.close(theirs)
    return process.returncode, (shown + rest).decode()


@pytest.mark.process
def test_a_question_on_a_real_terminal(tmp_path: Path) -> None:
    def djoauth2(*arguments: str) -> str:
        command = [sys.executable, "-m", "djoauth2_twisted", *arguments]
        result = subprocess.run(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        return result.stdout

    djoauth2("scope", "add", "read", "Reads")
    assert on_a_terminal(tmp_path, b"n\n")[0] == 1
    # Sent once: it may arrive while the question is printed, or while the answer is waited for.
    for _ in range(3):
        status, shown = on_a_terminal(tmp_path, signal.SIGINT)
        assert (status, shown.splitlines()[-1]) == (1, "djoauth2: interrupted")
    assert "read" in djoauth2("scope", "list")
    assert on_a_terminal(tmp_path, b"y\n")[0] == 0
    assert "read" not in djoauth2("scope", "list")
