"""The parts of an endpoint string."""

from __future__ import annotations

import re

#: The beginning of an endpoint string with the PROXY protocol.
PROXY = "haproxy:"

_COLON = re.compile(r"(?<!\\):")


def behind_proxy(description: str) -> str:
    """The endpoint string behind the PROXY protocol, if it has that."""
    return description.removeprefix(PROXY)


def fields_of(text: str) -> list[str]:
    """What the colons of a text separate. A colon behind a backslash does not."""
    return _COLON.split(text)
