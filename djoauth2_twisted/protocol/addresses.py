"""Network addresses: their throttle keys, and which of them are public."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: RFC 6177, section 2: an IPv6 site gets at least one /64, and can use all of its addresses.
PREFIX_BITS = 64

#: For how many addresses the key is remembered.
MAX_REMEMBERED = 10_000

# RFC 3056, section 2: the 32 bits after the first 16 are an IPv4 address.
_6TO4 = IPv6Network("2002::/16")

# Networks whose last 32 bits are the client's IPv4 address: RFC 4291, section 2.5.5.2, for a socket of
# both families; and RFC 6052, section 2.1, for a translator in front of us.
_WITH_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

# RFC 4291, section 2.4, and IANA's registry: all addresses of the public internet that there are. What
# lies outside may stand for an IPv4 address, too, in a way that only this network knows (RFC 8215).
_GLOBAL_UNICAST = IPv6Network("2000::/3")


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


def is_public(host: str) -> bool:
    """Whether an IP address is one of the public internet, also where it stands for an IPv4 address.

    False for addresses of private networks, of this machine and of its link, for groups, and for what is
    no address.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        number = int(address)
        plain = IPv6Address(number)
        if any(plain in network for network in _WITH_IPV4):
            return is_public(str(IPv4Address(number & 0xFFFFFFFF)))
        if plain in _6TO4:
            return is_public(str(IPv4Address(number >> 80 & 0xFFFFFFFF)))
        if plain != address or plain not in _GLOBAL_UNICAST:
            # With a zone, it is an address of a link.
            return False
    return address.is_global and not address.is_multicast
