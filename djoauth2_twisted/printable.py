"""Text that is safe to print: on a terminal, in a log and in the audit trail.

Names, addresses and the messages of drivers are not trusted. A control character could move the cursor
or change a terminal's colours. An invisible character could hide a part of a name.
"""

from __future__ import annotations

import re

# Our identifiers, secrets, codes and tokens have at least 22 letters and digits, and a code verifier at
# least 43 characters (RFC 7636, section 4.1). Few names have that many without a dot, slash or space.
_LIKE_A_SECRET = re.compile(r"[A-Za-z0-9]{22,}|[A-Za-z0-9_-]{43,}")


def printable(text: str) -> str:
    r"""A text on one line, with every character that is not printable as an escape, like ``\x1b``.

    Printable is what `str.isprintable` accepts: no control character, line break, lone surrogate, or
    invisible character that changes the direction of the text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines. Its line breaks are kept."""
    return "\n".join(map(printable, text.splitlines()))


def without_secrets(text: str) -> str:
    """A text that may repeat what a client has sent, with an ellipsis for all that may be a secret."""
    return _LIKE_A_SECRET.sub("\u2026", text)
