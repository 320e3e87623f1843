"""The parsers keep their rules for any bytes (U-01); atheris goes deeper by hand."""

from __future__ import annotations

import pytest
from fuzz_grammar import HEADER_VALUES, ODD
from fuzz_parsers import PARSERS
from hypothesis import given
from hypothesis import strategies as st

_PIECES = st.lists(
    st.sampled_from((*ODD, *HEADER_VALUES, b"\n", b"\r\n", b"=", b"&", b" ", b":")), max_size=6
)
_BYTES = st.binary(max_size=200) | _PIECES.map(b"".join)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_keeps_its_rules(name: str) -> None:
    @given(_BYTES)
    def check(data: bytes) -> None:
        PARSERS[name](data)

    check()


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1=1 2\r\n",
        b"PROXY TCP4 \xff 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 x y z\r\n",
    ],
)
def test_a_proxy_header_that_cannot_be_read_closes_the_connection(header: bytes) -> None:
    """Without a traceback (TL-06): found by fuzzing."""
    PARSERS["proxy_header"](header)
