"""Hints that can be copied: a command in a message repeats the options that were given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

# A command that opens the store and has no options yet, as `djoauth2 database upgrade`.
_COMMAND = re.compile(r"`djoauth2 (?=[a-z])(?!certificate |demo\b)")

# A password in a URL: between the first colon after the scheme and the last @, or in the query.
_PASSWORD = re.compile(r"(?<=://)([^:@/]*:).*@")
_PASSWORD_PARAMETER = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&#]*", re.IGNORECASE)


def repeat_options(message: str, options: Mapping[str, str]) -> str:
    """A message whose `djoauth2` commands that open the store have these options, without passwords.

    :param options: the values by the options' names, like ``--database``.
    """
    given = [f"{name} {shlex.quote(without_password(value))}" for name, value in options.items()]
    return _COMMAND.sub(lambda _: " ".join(["`djoauth2", *given, ""]), message)


def without_password(url: str) -> str:
    """A URL with ``***`` in the place of its password."""
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
