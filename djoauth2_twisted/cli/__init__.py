"""The `djoauth2` command. Each group of commands has its own module; this one joins them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from .. import __version__
from ..conf import DEFAULT_DATABASE, OPTIONS, gather, read_file, source_of, text_of
from ..errors import ConfigurationError, DJOAuthError, RegistrationError
from ..exhaustion import exhausted
from ..hints import repeat_options
from .audit import audit
from .certificate import certificate
from .cleanup import cleanup
from .client import client
from .database import database
from .demo import demo
from .group import Group
from .keys import keys
from .output import close_output, complain, escape_what_cannot_be_encoded
from .running import Store
from .scope import scope
from .token import token
from .user import user

__all__ = ["main"]

ERROR = 1
MISUSE = 2


class Commands(Group):
    """The whole command. Its errors are one line on standard error, and never a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Without any, the help is printed."""
        return super().parse_args(ctx, args or ["--help"])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and exit: 0, 1 after an error, 2 after misuse."""
        escape_what_cannot_be_encoded()
        arguments = sys.argv[1:] if args is None else list(args)
        try:
            for argument in arguments:
                _check_encoding("argument", argument)
            status = super().main(arguments, prog_name or "djoauth2", complete_var, False, **extra)
        except Exception as error:
            status = self._report(error, arguments)
        sys.exit(status or 0)

    def invoke(self, context: click.Context) -> Any:
        """Run a command. An error about an option or setting names where the value comes from."""
        try:
            return super().invoke(context)
        except ConfigurationError as error:
            source = _source_of(error.about, context)
            raise ConfigurationError(f"{source}: {error}" if source else str(error)) from None

    def _options(self, arguments: Sequence[str]) -> dict[str, str]:
        """The options before the first command. Those of the environment are still there."""
        context = self.make_context("djoauth2", list(arguments), resilient_parsing=True)
        return {
            parameter.opts[-1]: value
            for parameter in self.params
            if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
            and isinstance(value := context.params.get(parameter.name or ""), str)
        }

    def _has_option(self, name: str) -> bool:
        return any(name in parameter.opts for parameter in self.params)

    def _report(self, error: Exception, arguments: Sequence[str]) -> int:
        """Print an error in one line, and return the exit status."""
        match error:
            case click.UsageError():
                command = error.ctx.command_path if error.ctx else "djoauth2"
                message = _uncapitalized(error.format_message())
                if isinstance(error, click.NoSuchOption) and self._has_option(error.option_name):
                    message = f"{error.option_name} must stand right after `djoauth2`"
                complain(f"{message} (see `{command} --help`)")
                return MISUSE
            case click.ClickException():
                complain(repeat_options(error.format_message(), self._options(arguments)))
            case click.Abort():
                complain("interrupted")
            case RegistrationError() | ConfigurationError() | DJOAuthError():
                complain(repeat_options(str(error), self._options(arguments)))
            # A full disk is that of the output.
            case _ if (lacking := exhausted(error)) and lacking != "disk space":
                complain(f"the system is out of {lacking}: try again later")
            case OSError():
                close_output()
                complain(f"the output cannot be written: {error.strerror or error}")
            case _:
                complain(
                    f"this is a fault of djoauth2, please report it: {type(error).__name__}: {error}"
                )
        return ERROR


def _source_of(name: str, context: click.Context) -> str:
    """Where the value of an option or setting comes from; empty for a default."""
    parameter = {"database": "url"}.get(name, name)
    if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
        return "--" + name.replace("_", "-")
    path = context.params.get("config") or ""
    # An error about the file itself may mean that it cannot be read.
    file = read_file(path) if path and name != "config" else {}
    return source_of(name, os.environ, path, file)


def _check_encoding(what: str, text: str) -> None:
    """Refuse bytes that are not UTF-8. No name or address contains them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise click.ClickException(f"the {what} {text!r} is not UTF-8") from None


def _uncapitalized(message: str) -> str:
    message = message.rstrip(".")
    return message[:1].lower() + message[1:]


@click.group(
    "djoauth2",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    metavar="FILE",
    envvar="DJOAUTH2_CONFIG",
    show_envvar=True,
    help="The server's own TOML file. The other options, and the environment, override it.",
)
@click.option(
    "--database",
    "url",
    metavar="URL",
    envvar="DJOAUTH2_DATABASE",
    show_default=DEFAULT_DATABASE,
    show_envvar=True,
    help="The server's database, as an SQLAlchemy URL.",
)
@click.option(
    "--token-store",
    metavar="URL",
    envvar="DJOAUTH2_TOKEN_STORE",
    show_envvar=True,
    help="Where grants and tokens are, if not in the database.",
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def main(context: click.Context, config: str | None, url: str | None, token_store: str | None) -> None:
    """Administer an OAuth 2.0 authorization server.

    A change takes effect at once, also for a server that is running. If the SQLite file does not exist,
    the first command that needs it creates it. To start the server, run `twistd -n djoauth2`.
    """
    _check_encoding("database's URL", url or "")
    _check_encoding("token store's URL", token_store or "")
    if context.obj is None:
        context.obj = _store(config, url, token_store)


def _store(config: str | None, url: str | None, token_store: str | None) -> Store:
    """The stores that the options name, or else the server's file.

    :raises ConfigurationError: the file cannot be read, or something in it is wrong.
    """
    file = read_file(config) if config else {}
    # Without a file, the environment is judged where its settings are used.
    chosen, _ = gather(OPTIONS, os.environ if config else {}, file)
    return Store(
        url or text_of("database", chosen.get("database")) or DEFAULT_DATABASE,
        token_store or text_of("token_store", chosen.get("token_store")),
        file,
    )


main.add_command(client)
main.add_command(scope)
main.add_command(user)
main.add_command(token)
main.add_command(audit)
main.add_command(database)
main.add_command(keys)
main.add_command(cleanup)
main.add_command(certificate)
main.add_command(demo)
