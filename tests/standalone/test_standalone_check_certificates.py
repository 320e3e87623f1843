"""The check of certificates: time, chain and names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from djoauth2_twisted.finding import Finding
from djoauth2_twisted.standalone.check.certificates import judge_chain, judge_names

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEYS = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "between", "own")}


def certify(
    owner: str,
    issuer: str,
    *,
    days: int = 200,
    left: int = 150,
    names: tuple[str, ...] = ("as.example",),
) -> x509.Certificate:
    """A certificate that is valid for some days, of which some are left."""
    ends = NOW + timedelta(days=left)
    extensions: list[Any] = [x509.DNSName(name) for name in names if not name[0].isdigit()]
    extensions += [x509.IPAddress(ip_address(name)) for name in names if name[0].isdigit()]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, owner)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(KEYS[owner].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=days))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=owner != "own", path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(extensions), critical=False)
    )
    return builder.sign(KEYS[issuer], hashes.SHA256())


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts our root."""
    root = crypto.X509.from_cryptography(certify("root", "root"))

    def trust(context: SSL.Context) -> None:
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(root)

    monkeypatch.setattr(SSL.Context, "set_default_verify_paths", trust)


def said(findings: list[Finding]) -> list[tuple[str, str]]:
    """The weight and the fault of each finding."""
    assert all(each.mend for each in findings)
    return [(each.weight.name, each.fault) for each in findings]


def judge(*chain: x509.Certificate) -> list[tuple[str, str]]:
    return said(judge_chain("--port ssl:443", chain, NOW))


@pytest.mark.usefixtures("trusted")
class TestTime:
    """A third of the lifetime, at most 30 days, at least 7 days before the end."""

    @pytest.mark.parametrize(
        ("days", "left", "is_warned"),
        [
            (398, 30, False),
            (398, 29, True),
            (90, 30, False),
            (90, 29, True),
            (45, 15, False),
            (45, 14, True),
            (10, 7, False),
            (10, 6, True),
            (6, 6, True),
        ],
    )
    def test_the_end_comes_near(self, days: int, left: int, is_warned: bool) -> None:
        found = judge(certify("own", "root", days=days, left=left))
        assert [weight for weight, _ in found] == ["WARNING"] * is_warned

    def test_the_end_has_passed(self) -> None:
        found = judge(certify("own", "root", left=-1))
        fault = "--port ssl:443: the certificate of own has expired on 2026-11-28"
        assert found == [("ERROR", fault)]

    def test_the_begin_has_not_come(self) -> None:
        [(weight, fault)] = judge(certify("own", "root", days=10, left=11))
        assert weight == "WARNING"
        assert "valid only from 2026-11-30 00:00 UTC" in fault

    def test_a_certificate_between_ends_too(self) -> None:
        between = certify("between", "root", left=3)
        [(weight, fault)] = judge(certify("own", "between"), between)
        assert weight == "WARNING"
        assert "the certificate of between expires on 2026-12-02" in fault


class TestChain:
    """Whether clients find the way to a root."""

    @pytest.mark.usefixtures("trusted")
    def test_a_whole_chain_is_good(self) -> None:
        assert judge(certify("own", "between"), certify("between", "root")) == []

    @pytest.mark.usefixtures("trusted")
    def test_a_certificate_between_is_missing(self) -> None:
        """As where a fullchain.pem is named, of which the first certificate alone is sent."""
        [(weight, fault)] = judge(certify("own", "between"))
        assert weight == "WARNING"
        assert fault == "--port ssl:443: the chain that is sent ends at own, which is of between"

    @pytest.mark.usefixtures("trusted")
    def test_the_certificates_between_are_of_another(self) -> None:
        [(weight, fault)] = judge(certify("own", "between"), certify("root", "root"))
        assert weight == "WARNING"
        assert "ends at own" in fault

    def test_a_private_root_that_is_sent_is_good(self) -> None:
        chain = certify("own", "between"), certify("between", "root"), certify("root", "root")
        assert judge(*chain) == []

    def test_a_root_that_is_not_known_here_is_told(self) -> None:
        [(weight, fault)] = judge(certify("own", "between"), certify("between", "root"))
        assert weight == "WARNING"
        assert "ends at between, which is of root" in fault

    def test_a_self_signed_certificate_is_a_note(self) -> None:
        assert judge(certify("own", "own")) == [
            ("NOTE", "--port ssl:443: the certificate of own is self-signed")
        ]


class TestNames:
    """RFC 9525, section 6."""

    @pytest.mark.parametrize(
        ("names", "host"),
        [
            (("as.example",), "as.example"),
            (("other.example", "AS.example"), "as.EXAMPLE"),
            (("*.example",), "as.example"),
            (("192.0.2.1",), "192.0.2.1"),
        ],
    )
    def test_one_certificate_for_the_host_is_enough(self, names: tuple[str, ...], host: str) -> None:
        others = [certify("own", "root", names=("elsewhere.example",))]
        assert judge_names([others, [certify("own", "root", names=names)]], host, False) == []

    @pytest.mark.parametrize(
        ("names", "host"),
        [
            (("as.example",), "as.example.net"),
            (("*.example",), "deep.as.example"),
            (("*.example",), "example"),
            (("as.example",), "192.0.2.1"),
        ],
    )
    def test_no_certificate_for_the_host_is_a_warning(self, names: tuple[str, ...], host: str) -> None:
        chains = [[certify("own", "root", names=names)]]
        fault = f"no certificate is for {host}, the host of the issuer"
        assert said(judge_names(chains, host, False)) == [("WARNING", fault)]
        assert said(judge_names(chains, host, True)) == [("NOTE", fault)]

    def test_without_tls_there_is_no_name(self) -> None:
        assert judge_names([], "as.example", False) == []
