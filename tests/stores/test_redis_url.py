"""The URLs of Redis are read as documented, and a wrong one is refused without its password."""

from __future__ import annotations

import pytest

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.stores.redis.url import Address, parse_url

LOCAL = (("127.0.0.1", 6379),)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1", Address("redis", LOCAL, "", "", 0, None, None)),
        ("redis://127.0.0.1:6379/3", Address("redis", LOCAL, "", "", 3, None, None)),
        ("rediss://[::1]:7000/", Address("rediss", (("::1", 7000),), "", "", 0, None, None)),
        ("redis://:p%40ss@127.0.0.1", Address("redis", LOCAL, "", "", 0, None, "p@ss")),
        ("redis://me:p%2Fss@127.0.0.1", Address("redis", LOCAL, "", "", 0, "me", "p/ss")),
        ("unix:///run/re%20dis.sock", Address("unix", (), "/run/re dis.sock", "", 0, None, None)),
        ("unix://me:pass@/run/r.sock?db=2", Address("unix", (), "/run/r.sock", "", 2, "me", "pass")),
        (
            "redis+sentinel://me:pass@a,b:5000/name/4",
            Address("redis+sentinel", (("a", 26379), ("b", 5000)), "", "name", 4, "me", "pass"),
        ),
    ],
)
def test_url_names_the_server_and_its_options(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "redis://:SECRET@",
        "redis://:SECRET@127.0.0.1:port",
        "redis://:SECRET@127.0.0.1/x",
        "redis://:SECRET@127.0.0.1/-1",
        "redis://:SECRET@127.0.0.1/0/0",
        "redis://:SECRET@127.0.0.1,127.0.0.2/0",
        "redis://:SECRET@127.0.0.1?db=1",
        "redis://:SECRET@[::1/0",
        "redis://user:1#SECRET@127.0.0.1/0",
        "redis://user:1/SECRET@127.0.0.1/0",
        "redis://user:1?SECRET@127.0.0.1/0",
        "redis+sentinel://:SECRET@127.0.0.1",
        "redis+sentinel://:SECRET@127.0.0.1/name/0/0",
        "redis+sentinel://:SECRET@127.0.0.1/name/x",
        "unix://:SECRET@",
        "unix://:SECRET@/run/redis.sock?db=x",
        "unix://:SECRET@/run/redis.sock?db",
        "unix://:SECRET@/run/redis.sock?other=1",
    ],
)
def test_wrong_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_url(url)
    assert "SECRET" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_password_is_not_shown() -> None:
    assert "SECRET" not in repr(parse_url("redis://me:SECRET@127.0.0.1"))
