"""The throttle keys of network addresses."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: RFC 6177, section 2: an IPv6 site gets at least one /64, and can use all of its addresses.
PREFIX_BITS = 64

#: For how many addresses the key is remembered.
MAX_REMEMBERED = 10_000

# Networks whose last 32 bits are the client's IPv4 address: RFC 4291, section 2.5.5.2, for a socket of
# both families; and RFC 6052, section 2.1, for a translator in front of us.
_WITH_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


@lru_cache(MAX_REMEMBERED)
def throttle_address(host: str) -> str:
    """The throttle key of a client's address.

    The key of an IPv4 address is the address, in its usual form. The key of an IPv6 address is its
    network of 64 bits, like ``2001:db8:0:1::/64``. Any other text, like ``local``, is its own key.

    :param host: a client's address, as in `twisted.internet.address`.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    # This drops the zone of a link-local address: "%eth0".
    number = int(address)
    if any(IPv6Address(number) in network for network in _WITH_IPV4):
        return str(IPv4Address(number & 0xFFFFFFFF))
    return str(IPv6Network((number, PREFIX_BITS), strict=False))
