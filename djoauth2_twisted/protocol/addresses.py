"""Which network addresses count as one, for limits by address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: RFC 6177, section 2: a site of IPv6 gets at least one /64, all of whose addresses are its own to use.
PREFIX_BITS = 64

# Networks whose last 32 bits are the IPv4 address of the client: RFC 4291, section 2.5.5.2, as a socket
# for both families shows it; and RFC 6052, section 2.1, as a translator in front of us shows it.
_WITH_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


def throttle_address(host: str) -> str:
    """The throttle key of a client's address.

    An IPv4 address counts for itself, however it is written. An IPv6 address counts as its network of
    64 bits, ``2001:db8:0:1::/64``. Any other text, as the ``local`` of Unix sockets, stays as it is.

    :param host: a client's address, as `twisted.internet.address` has it.
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
