"""Strict parsing of ``application/x-www-form-urlencoded`` queries and forms (RFC 6749, appendix B)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache

from attrs import frozen

from .errors import InvalidRequest

#: The most fields of a query and form together. No request needs so many; reading more only costs time.
MAX_FIELDS = 100

#: The most ``%`` without an escape in one value. A careless client sends fewer.
MAX_BROKEN_ESCAPES = 16

# A "%" without two hexadecimal digits after it.
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@frozen
class Parameters:
    """The parameters of one request that were sent once and have a value.

    Bytes that are not UTF-8 become lone surrogates. So a value can be sent back byte for byte, and such
    a value never equals a stored one.
    """

    values: Mapping[str, str]
    #: Names that were sent more than once, with equal or different values.
    repeated: frozenset[str] = frozenset()

    def get(self, name: str) -> str | None:
        """A parameter's value, or None where it is absent, empty or repeated."""
        return self.values.get(name)

    def refuse_repeated(self) -> None:
        """Refuse a request with a repeated parameter.

        :raises InvalidRequest: a parameter was sent more than once.
        """
        # RFC 6749, sections 3.1 and 3.2: "Request and response parameters MUST NOT be included more
        # than once."
        if self.repeated:
            raise InvalidRequest("a parameter was sent more than once")


# A request usually has no query.
_NOTHING = Parameters({})


def parse(*sources: bytes, lists: Collection[str] = ()) -> Parameters:
    """Read the query and the form of one request as one set of parameters.

    Only ``&`` separates fields. A ``;`` is part of a value.

    :param lists: names that may be sent more than once. Their values are joined by line breaks.
    :raises InvalidRequest: there are more than `MAX_FIELDS` fields, or broken escapes.
    """
    if not any(sources):
        return _NOTHING
    values: dict[str, str] = {}
    seen: set[str] = set()
    repeated: set[str] = set()
    for name, value in _fields(sources):
        if name in lists:
            value = "\n".join(filter(None, (values.get(name), value)))
        else:
            (repeated if name in seen else seen).add(name)
        # RFC 6749, sections 3.1 and 3.2: "Parameters sent without a value MUST be treated as if they
        # were omitted from the request."
        if value:
            values[name] = value
    return Parameters(
        {name: values[name] for name in values if name not in repeated}, frozenset(repeated)
    )


def _fields(sources: Iterable[bytes]) -> Iterable[tuple[str, str]]:
    together = b"&".join(source for source in sources if source)
    if together.count(b"&") >= MAX_FIELDS:
        raise InvalidRequest("there are too many parameters")
    for pair in together.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield decode(name), decode(value)


def decode(encoded: bytes) -> str:
    """One name or value, form-decoded. A ``%`` without an escape stands for itself.

    :raises InvalidRequest: there are more than `MAX_BROKEN_ESCAPES` of these.
    """
    plain = encoded.replace(b"+", b" ")
    if b"%" not in plain:
        return plain.decode("utf-8", "surrogateescape")
    quoted, broken = _BROKEN.subn(b"=25", plain.replace(b"=", b"=3D"), count=MAX_BROKEN_ESCAPES + 1)
    if broken > MAX_BROKEN_ESCAPES:
        raise InvalidRequest("the percent-encoding is malformed")
    # Quoted-printable is the same escape, with "=" for "%" (RFC 2045, section 6.7), and is decoded in C:
    # urllib takes 10 ms for a form of 64 KiB.
    return binascii.a2b_qp(quoted.replace(b"%", b"=")).decode("utf-8", "surrogateescape")


def has_name(encoded: bytes, name: str) -> bool:
    """Whether a query or form has a parameter. Its name may be spelled with escapes.

    :param name: a name without a space or ``+``.
    """
    return _name_pattern(name).search(b"&" + encoded) is not None


@cache
def _name_pattern(name: str) -> re.Pattern[bytes]:
    spellings = (b"(?:%b|%%(?i:%02x))" % (re.escape(bytes([byte])), byte) for byte in name.encode())
    return re.compile(b"&" + b"".join(spellings) + rb"(?=[=&]|\Z)")
