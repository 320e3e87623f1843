"""What the commands ask: on a terminal, or from standard input."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ..interfaces import MAX_COUNTED
from ..printable import printable
from .output import counted

if TYPE_CHECKING:
    from ..administration import Administration

#: How often a question looks for a signal, in seconds.
_LOOK = 0.1

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def on_terminal() -> bool:
    """Whether someone can be asked: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str) -> None:
    """Ask on the terminal whether to continue. The answer "no" is the default.

    :raises click.ClickException: the answer is no.
    :raises click.Abort: Ctrl-C, or the end of the input.
    """
    try:
        with _interruptible():
            agreed = click.confirm(printable(question), err=True)
    except click.Abort:
        click.echo(err=True)  # The cursor is behind the question.
        raise
    if not agreed:
        raise click.ClickException("nothing was changed")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the question. A reactor that runs would only note the signal.

    Python prints the end of the question and then reads, without a look at signals between them. So it
    could miss Ctrl-C until the answer. The alarm interrupts the reading, and Python looks.
    """
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGALRM: signal.signal(signal.SIGALRM, lambda *_: None),
    }
    signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


async def grants_in_words(administration: Administration, **which: str) -> str:
    """How many grants a change ends, in words.

    :param which: those of a user, client or scope, as `ITokenStore.count_grants` takes them.
    :raises ConfigurationError: the server keeps its tokens elsewhere.
    """
    # The grants of another token store are not those that end.
    administration.check_tokens()
    return in_words(await administration.tokens.count_grants(**which))


def in_words(number: int) -> str:
    """The number of grants that `ITokenStore.count_grants` has counted, in words."""
    return f"more than {MAX_COUNTED} grants" if number > MAX_COUNTED else counted(number, "grant")


def first_line(what: str, longest: int) -> str:
    """The first line of standard input, without its line break. Other white space is kept.

    :param what: what is read, like "password", for the errors.
    :param longest: how many characters are accepted.
    :raises click.ClickException: standard input cannot be read, or the line is too long or not UTF-8.
    """
    if sys.stdin is None:
        raise click.ClickException("standard input is closed")
    most = 8 * longest
    try:
        line: bytes = sys.stdin.buffer.readline(most)
    except OSError as error:
        raise click.ClickException(f"standard input cannot be read: {error.strerror}") from None
    if len(line) == most:
        raise click.ClickException(f"a {what} has at most {longest} characters")
    if line.endswith(b"\n"):
        line = line[:-1].removesuffix(b"\r")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise click.ClickException(f"the {what} is not UTF-8") from None
