"""Hints that can be copied: a command in a message repeats the options that were given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import click
from click.core import ParameterSource

# A command without options of its own, as `djoauth2 database upgrade`.
_COMMAND = re.compile(r"`djoauth2 (?=[a-z])")

# A password in a URL: between the first colon after the scheme and the last @, or in the query.
_PASSWORD = re.compile(r"(?<=://)([^:@/]*:).*@")
_PASSWORD_PARAMETER = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&#]*", re.IGNORECASE)


def repeat_options(message: str, command: click.Command, arguments: Sequence[str]) -> str:
    """A message whose commands have the options that stood before the first command.

    Options of the environment are not repeated: they are still there. Passwords are left out.

    :param command: the command that has the options.
    :param arguments: the whole command line.
    """
    context = command.make_context("djoauth2", list(arguments), resilient_parsing=True)
    given: list[str] = []
    for parameter in command.get_params(context):
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params.get(name)
            if isinstance(value, str):
                given += [parameter.opts[-1], shlex.quote(without_password(value))]
    return _COMMAND.sub(lambda _: " ".join(["`djoauth2", *given, ""]), message)


def without_password(url: str) -> str:
    """A URL with ``***`` in the place of its password."""
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
