"""What sslyze, a scanner of TLS, finds at our port: nothing.

https://pypi.org/project/sslyze/. It needs an older release of cryptography than we use, so it has an
environment of its own, whose commands are on the path: see CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from service_kit import Prepared
from waiting import PATIENCE

#: Mozilla leaves out two strong curves because they are slow. OpenSSL has them by default, and pyOpenSSL
#: has no way to choose among them (26.4).
OTHER_CURVES = [
    f"tls_curves: TLS curves {{{curves}}} are supported, but should be rejected."
    for curves in ("'X448', 'secp521r1'", "'secp521r1', 'X448'")
]


class Authority:
    """A certificate authority, or one of those below it."""

    def __init__(self, name: str, above: Authority | None = None, host: bool = False) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now, signer = datetime.now(UTC), above or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=60))
            .add_extension(x509.BasicConstraints(not host, None), critical=True)
            .add_extension(_usage(host), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False
            )
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(purpose, False)
        self.pem = builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Its key, as it is in a file."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def _usage(host: bool) -> x509.KeyUsage:
    """What the key of a host may do, or that of an authority."""
    others = (
        "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only"
    )
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=not host,
        crl_sign=not host,
        **dict.fromkeys(others.split(), False),
    )


def scan(port: int, root: Path, results: Path) -> tuple[str, dict[str, Any]]:
    """Scan a port of this machine. What sslyze prints, and its results by subject."""
    program = shutil.which("sslyze")
    if program is None and not os.environ.get("CI"):
        pytest.skip("sslyze is not installed")
    assert program, "sslyze is not installed"
    command = [program, f"--json_out={results}", f"--certinfo_ca_file={root}"]
    command += [
        "--mozilla_config=intermediate",
        "--resum",
        "--early_data",
        f"localhost:{port}{{127.0.0.1}}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    (server,) = json.loads(results.read_text())["server_scan_results"]
    assert server["connectivity_status"] == "COMPLETED", done.stdout + done.stderr
    found = server["scan_result"]
    failed = [name for name, each in found.items() if each["status"] == "ERROR"]
    assert failed == [], done.stdout
    return done.stdout, {name: each["result"] for name, each in found.items()}


def accepted(found: dict[str, Any], version: str) -> set[str]:
    """The cipher suites that a version is accepted with."""
    suites = found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
    return {each["cipher_suite"]["name"] for each in suites}


def departures(printed: str) -> list[str]:
    """Where a server departs from Mozilla's configuration, by sslyze's verdict."""
    verdict = printed.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert "Compliant." in verdict or "Not compliant." in verdict, printed
    return re.findall(r"^ +\* (.+)$", verdict, re.MULTILINE)


def test_sslyze_finds_nothing(start, prepared: Prepared, tmp_path: Path) -> None:
    """TL-01, TL-02, TL-09: with Mozilla's intermediate configuration as the measure."""
    root = Authority("Root")
    between = Authority("Between", root)
    host = Authority("localhost", between, host=True)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "privkey.pem").write_bytes(host.key_pem())
    (tmp_path / "fullchain.pem").write_bytes(host.pem + between.pem)
    prepared.certificate.write_bytes(root.pem)
    server = start(ports=("ssl:0:privateKey=privkey.pem:certKey=fullchain.pem:interface=127.0.0.1",))
    printed, found = scan(server.port, tmp_path / "root.pem", tmp_path / "results.json")

    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert accepted(found, version) == set()
    assert accepted(found, "tls_1_2")
    assert accepted(found, "tls_1_3")
    for name in accepted(found, "tls_1_2"):
        assert name.startswith("TLS_ECDHE_ECDSA_WITH_")
        assert "_GCM_" in name or "_CHACHA20_POLY1305_" in name

    (deployed,) = found["certificate_info"]["certificate_deployments"]
    assert len(deployed["received_certificate_chain"]) == 2
    assert deployed["received_chain_has_valid_order"]
    assert deployed["verified_certificate_chain"]

    resumption = found["session_resumption"]
    assert resumption["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    assert not found["tls_compression"]["supports_compression"]
    assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert found["session_renegotiation"]["supports_secure_renegotiation"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    assert found["tls_extended_master_secret"]["supports_ems_extension"]
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert "NOT_VULNERABLE" in found["robot"]["robot_result"]
    assert "localhost" in printed
    assert "Traceback" not in server.text()
    assert set(departures(printed)) <= set(OTHER_CURVES), printed
