"""What counts as one place on the network."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.protocol.addresses import throttle_address


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("", ""),
        ("192.0.2.1:443", "192.0.2.1:443"),
    ],
)
def test_the_place_of_an_address(host, place):
    assert throttle_address(host) == place


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_network_count_as_one(network, one, other):
    # The networks of IPv4 addresses are distinct.
    if network in (0, 0x0064_FF9B_0000_0000):
        network = 1
    place = throttle_address(str(IPv6Address((network << 64) + one)))

    assert place == throttle_address(str(IPv6Address((network << 64) + other)))
    assert place != throttle_address(str(IPv6Address((((network + 1) % 2**64) << 64) + one)))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_as_itself_in_a_socket_for_both_families(address):
    assert throttle_address(f"::ffff:{address}") == throttle_address(str(address)) == str(address)


@given(st.text())
def test_a_text_that_is_no_address_is_no_error(text):
    assert isinstance(throttle_address(text), str)
