"""``djoauth2 certificate``."""

from __future__ import annotations

import errno
import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from command_line import CommandLine
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from djoauth2_twisted.cli.certificate import make_certificate, write_new
from djoauth2_twisted.errors import ConfigurationError


def names(host: str) -> tuple[list[str], list[str]]:
    certificate = x509.load_pem_x509_certificate(make_certificate(host))
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return found.get_values_for_type(x509.DNSName), addresses


@pytest.mark.parametrize(
    ("host", "dns_names", "addresses"),
    [
        ("localhost", ["localhost"], ["127.0.0.1", "::1"]),
        ("auth.example.test", ["auth.example.test"], []),
        ("a" * 63 + ".example", ["a" * 63 + ".example"], []),
        ("192.0.2.1", [], ["192.0.2.1"]),
        ("2001:db8::1", [], ["2001:db8::1"]),
    ],
)
def test_it_names_the_host(host: str, dns_names: list[str], addresses: list[str]) -> None:
    assert names(host) == (dns_names, [str(ip_address(address)) for address in addresses])


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "-a.example",
        "a..b",
        "localhost:8443",
        "https://a.example",
        "1.2.3.256",
        "b\xfccher",
        "a\n",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="not a DNS name or an IP address"):
        make_certificate(host)


def test_it_is_a_server_s_own_and_short_lived() -> None:
    certificate = x509.load_pem_x509_certificate(make_certificate("localhost"))
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert certificate.not_valid_before_utc < datetime.now(UTC)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime == timedelta(days=398)


def shake_hands(pem: Path, host: str, strict: bool) -> None:
    """A TLS handshake in memory, with the file as server's key and certificate, and as all trust."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pem)
    client_context = ssl.create_default_context(cafile=str(pem))
    if strict:
        client_context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version()


@pytest.mark.parametrize("strict", [False, True])
def test_it_serves_those_who_trust_it(tmp_path: Path, strict: bool) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(make_certificate("localhost"))
    for host in ("localhost", "127.0.0.1", "::1"):
        shake_hands(pem, host, strict)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(pem, "example.test", strict)


def test_it_is_written_for_its_owner_alone(
    djoauth2: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "server.pem" in djoauth2.done("certificate", "localhost")
    pem = tmp_path / "server.pem"
    assert pem.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in pem.read_bytes()
    other = tmp_path / "other.pem"
    printed = djoauth2.json("certificate", "::1", "--out", str(other))
    assert printed == {"host": "::1", "file": str(other)}
    assert b"CERTIFICATE" in other.read_bytes()


def test_nothing_is_overwritten(djoauth2: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "kept.pem"
    kept.write_text("precious")
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "nowhere.pem")
    for path in (kept, link):
        assert "exists already" in djoauth2.fails("certificate", "localhost", "--out", str(path))
    assert kept.read_text() == "precious"
    assert not link.exists()


def test_where_nothing_can_be_made(djoauth2: CommandLine, tmp_path: Path) -> None:
    out = str(tmp_path / "missing" / "server.pem")
    assert "No such file" in djoauth2.fails("certificate", "localhost", "--out", out)
    assert "not a DNS name" in djoauth2.fails("certificate", "a b", "--out", str(tmp_path / "x.pem"))
    djoauth2.fails("certificate", status=2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_filled_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.pem"
    real_open = os.open

    def open_full(name: str, flags: int, mode: int) -> int:
        os.close(real_open(name, flags, mode))
        return real_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_full)
    with pytest.raises(ConfigurationError, match=os.strerror(errno.ENOSPC)):
        write_new(str(path), b"content")
    assert not path.exists()
