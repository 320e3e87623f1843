"""What the command says where it is asked for help, or where a word is missing or mistyped."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner
from command_line import CommandLine

import djoauth2_twisted
from djoauth2_twisted.cli import main
from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.hints import repeat_options, without_password


def every_command(group: click.Group, *names: str) -> list[list[str]]:
    found = []
    for name, command in group.commands.items():
        found.append([*names, name])
        if isinstance(command, click.Group):
            found += every_command(command, *names, name)
    return found


def test_the_bare_command_prints_its_help(djoauth2: CommandLine) -> None:
    assert djoauth2.done() == djoauth2.done("--help")
    assert djoauth2.done().startswith("Usage: djoauth2 ")


def test_the_version_is_that_of_the_package(djoauth2: CommandLine) -> None:
    assert djoauth2.done("--version") == f"{djoauth2_twisted.__version__}\n"


@pytest.mark.process
@pytest.mark.parametrize("module", ["djoauth2_twisted", "djoauth2_twisted.cli"])
def test_the_package_can_be_run(module: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == f"{djoauth2_twisted.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clinet", "list"], "no such command 'clinet'. Did you mean 'client'?"),
        (["client", "lst"], "no such command 'lst'. Did you mean 'list'?"),
        (["client", "list", "--jsn"], "no such option '--jsn'. Did you mean '--json'?"),
        (["--databse", "x", "client", "list"], "no such option '--databse'. Did you mean '--database'?"),
        (["user", "remove", "alice"], "no such command 'remove'. Did you mean 'delete'?"),
        (["scope", "create", "read"], "no such command 'create'. Did you mean 'add'?"),
        (["token", "rm", "x"], "no such command 'rm'"),
        (["client", "list", "--database", "x"], "--database must stand right after `djoauth2`"),
        (["client"], "the command is missing: add, delete, edit, list, rotate-secret, show or try"),
        (["--database", "x"], "missing command"),
    ],
    ids=" ".join,
)
def test_a_mistyped_word_is_answered_with_the_right_one(
    djoauth2: CommandLine, arguments: list[str], said: str
) -> None:
    line = djoauth2.fails(*arguments, status=2)
    assert line.startswith(f"{said} (see `djoauth2")


@pytest.mark.parametrize("arguments", every_command(main), ids=" ".join)
def test_the_help_of_each_command_has_one_word_for_a_thing(
    djoauth2: CommandLine, arguments: list[str]
) -> None:
    """What is deleted is never "removed" or "taken away"."""
    text = djoauth2.done(*arguments, "--help").lower()
    for word in ("remove", "take away", "taken away", "drop ", "erase"):
        assert word not in text
    assert f"usage: djoauth2 {' '.join(arguments)} " in text


@attrs.define
class BrokenStore:
    """Stands where the commands expect a `djoauth2_twisted.cli.running.Store`."""

    error: Exception

    def run(self, action: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ([], "`djoauth2 database upgrade`"),
        (
            ["--database", "sqlite:///my auth.db"],
            "`djoauth2 --database 'sqlite:///my auth.db' database upgrade`",
        ),
        (
            ["--database=mysql://u:s3cr3t@h/d", "--token-store", "redis://:s3cr3t@h"],
            "`djoauth2 --database 'mysql://u:***@h/d' --token-store 'redis://:***@h' database upgrade`",
        ),
    ],
)
def test_a_hint_repeats_the_options_that_were_given(options: list[str], hint: str) -> None:
    error = ConfigurationError("the database has no schema yet: run `djoauth2 database upgrade`")
    result = CliRunner().invoke(main, [*options, "client", "list"], obj=BrokenStore(error))
    assert result.stderr == f"djoauth2: the database has no schema yet: run {hint}\n"


def test_options_of_the_environment_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJOAUTH2_DATABASE", "sqlite:///other.db")
    error = ConfigurationError("run `djoauth2 database upgrade`")
    result = CliRunner().invoke(main, ["client", "list"], obj=BrokenStore(error))
    assert result.stderr == "djoauth2: run `djoauth2 database upgrade`\n"


def test_a_hint_with_options_of_its_own_stays_as_it_is() -> None:
    message = "run `djoauth2 --database URL database upgrade`"
    assert repeat_options(message, {"--database": "x"}) == message


def test_a_command_without_a_store_gets_no_options_of_one() -> None:
    message = "Make one by `djoauth2 certificate localhost`, then `djoauth2 database upgrade`"
    assert repeat_options(message, {"--database": "x"}) == (
        "Make one by `djoauth2 certificate localhost`, then `djoauth2 --database x database upgrade`"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@ss:w@h/d", "postgresql://u:***@h/d"),
        ("postgresql:///d?host=h&password=s3cr3t&user=u", "postgresql:///d?host=h&password=***&user=u"),
        ("mysql://h/d?passwd=s3cr3t", "mysql://h/d?passwd=***"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    def run(**variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "djoauth2_twisted"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    assert "_DJOAUTH2_COMPLETE" in run(_DJOAUTH2_COMPLETE=f"{shell}_source")
    if shell == "bash":
        words = {"COMP_WORDS": "djoauth2 client ro", "COMP_CWORD": "2"}
        assert run(_DJOAUTH2_COMPLETE="bash_complete", **words).split() == ["plain,rotate-secret"]
