"""Whole chains of certificates, and sessions that a client resumes."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls_kit import KEYS, V2, V3, Listening, certificate, client_context, key_pem, listen
from twisted.python.usage import UsageError

from djoauth2_twisted.standalone.tls import TICKET_KEY_LIFETIME
from djoauth2_twisted.web.channel import IDLE_TIMEOUT

# Twisted's own reading of certificates, as of 26.10.
pytestmark = pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")

SIGNER = ec.generate_private_key(ec.SECP256R1())
ROOT = certificate("Root", key=SIGNER, ca=True)
BETWEEN = certificate("Between", key=SIGNER, issuer="Root", signer=SIGNER, ca=True)
LEAF = certificate("a.example", issuer="Between", signer=SIGNER)
KEY = key_pem(KEYS["ec"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trusting(root: bytes) -> ssl.SSLContext:
    """A client that trusts one root, and knows no certificate between."""
    context = ssl.create_default_context(cadata=root.decode())
    # Python 3.13 demands extensions that these certificates do not have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


class TestChain:
    """A client that knows the root alone verifies the certificate: the chain is sent."""

    @pytest.mark.parametrize(
        ("description", "files"),
        [
            (
                "ssl:443:privateKey=privkey.pem:certKey=fullchain.pem",
                {"privkey.pem": KEY, "fullchain.pem": LEAF + BETWEEN},
            ),
            ("ssl:443", {"server.pem": KEY + LEAF + BETWEEN}),
            ("ssl:443:privateKey=a.pem", {"a.pem": LEAF + BETWEEN + ROOT + KEY}),
            (
                "ssl:443:privateKey=privkey.pem:certKey=fullchain.pem",
                {"privkey.pem": KEY, "fullchain.pem": (LEAF + BETWEEN).replace(b"\n", b"\r\n")},
            ),
            (
                "ssl:443:privateKey=key.pem:certKey=cert.pem:extraCertChain=chain.pem",
                {"key.pem": KEY, "cert.pem": LEAF, "chain.pem": BETWEEN},
            ),
            (
                "ssl:443:privateKey=key.pem:certKey=fullchain.pem:extraCertChain=fullchain.pem",
                {"key.pem": KEY, "fullchain.pem": LEAF + BETWEEN},
            ),
            ("tls:.:port=443", {"privkey.pem": KEY, "fullchain.pem": LEAF + BETWEEN}),
            ("tls:.", {"a.pem": KEY + LEAF + BETWEEN + ROOT}),
        ],
        ids=[
            "certbot",
            "server.pem",
            "key last",
            "Windows lines",
            "chain apart",
            "twice",
            "folder",
            "root",
        ],
    )
    def test_the_whole_chain_is_sent(self, folder, description, files):
        for name, content in files.items():
            (folder / name).write_bytes(content)
        client = Listening(description).shake(trusting(ROOT))
        assert client.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(LEAF.decode())

    def test_without_its_chain_the_certificate_is_not_verified(self, folder):
        """So the tests above show something."""
        (folder / "server.pem").write_bytes(KEY + LEAF)
        with pytest.raises(ssl.SSLCertVerificationError):
            Listening("ssl:443").shake(trusting(ROOT))

    def test_the_chain_is_read_again_with_its_certificate(self, folder):
        listening = listen("ssl", folder, KEYS["ec"])
        (folder / "pems" / "a.pem").write_bytes(KEY + LEAF + BETWEEN)
        listening.port.look()
        listening.shake(trusting(ROOT))


VERSIONS = pytest.mark.parametrize("version", [V2, V3], ids=["1.2", "1.3"])


class Returning:
    """A client that comes back with its session."""

    def __init__(self, listening: Listening, version: Any, name: str = "a.example") -> None:
        self._listening, self._name = listening, name
        self._context = client_context(lowest=version, highest=version)
        self._session = self._shake(None).session
        assert self._session is not None

    def _shake(self, session: Any) -> ssl.SSLObject:
        return self._listening.shake(self._context, name=self._name, session=session)

    def resumes(self, at: Listening | None = None) -> bool:
        """Whether the session continues in a new connection, to this port or another."""
        self._listening = at or self._listening
        return bool(self._shake(self._session).session_reused)


class TestSessions:
    """TL-09: a client that returns needs no full handshake."""

    @VERSIONS
    @pytest.mark.parametrize("key", ["rsa", "ec"])
    @pytest.mark.parametrize("kind", ["ssl", "tls"])
    def test_a_session_is_resumed(self, folder, kind, key, version):
        client = Returning(listen(kind, folder, KEYS[key]), version)
        assert client.resumes()
        assert client.resumes()

    @VERSIONS
    def test_a_session_of_each_name_in_a_folder_is_resumed(self, folder, version):
        """Its contexts share the key of tickets: that of the first certificate."""
        for name, key in (("a.example", "ec"), ("b.example", "rsa")):
            pem = key_pem(KEYS[key]) + certificate(name, key=KEYS[key])
            (folder / f"{name}.pem").write_bytes(pem)
        listening = Listening(f"tls:{folder}:port=443")
        for name in ("a.example", "b.example", "unknown.example"):
            assert Returning(listening, version, name).resumes()

    @VERSIONS
    def test_after_certificates_are_read_again_sessions_end(self, folder, version):
        """So a client sees the new certificate, not a session with the old one."""
        listening = listen("ssl", folder, KEYS["ec"])
        client = Returning(listening, version)
        listening.port.reload()
        assert not client.resumes()
        assert Returning(listening, version).resumes()

    @VERSIONS
    @pytest.mark.parametrize("broken", [False, True])
    def test_the_key_of_tickets_is_renewed(self, folder, version, broken):
        """RFC 9325, section 3.4: also while the files cannot be read."""
        listening = listen("ssl", folder, KEYS["ec"])
        client = Returning(listening, version)
        if broken:
            (folder / "pems" / "a.pem").write_bytes(b"junk")
        listening.reactor.advance(TICKET_KEY_LIFETIME - 1)
        listening.port.look()
        assert client.resumes()
        listening.reactor.advance(1)
        listening.port.look()
        assert not client.resumes()
        assert Returning(listening, version).resumes()

    @VERSIONS
    def test_another_port_does_not_know_the_session(self, folder, version):
        listening = listen("ssl", folder, KEYS["ec"])
        client = Returning(listening, version)
        assert not client.resumes(Listening("ssl:444:privateKey=pems/a.pem"))


class TestHandshake:
    """What else is agreed upon, and how long it may take."""

    def test_no_protocol_but_http_1_1(self, folder):
        """HT-12: HTTP/2 is not offered, and a client that speaks nothing else is refused."""
        listening = listen("ssl", folder, KEYS["ec"])
        offers: Any = {None: None, ("h2", "http/1.1"): "http/1.1", ("http/1.1",): "http/1.1"}
        for offered, chosen in offers.items():
            context = client_context()
            context.set_alpn_protocols(offered or [])
            assert listening.shake(context).selected_alpn_protocol() == chosen
        context.set_alpn_protocols(["h2"])
        with pytest.raises(ssl.SSLError, match="ALERT"):
            listening.shake(context)

    @pytest.mark.parametrize("name", [None, "other.example", "127.0.0.1", "x" * 63 + ".example"])
    def test_a_certificate_is_shown_whatever_name_is_asked_for(self, folder, name):
        listening = listen("ssl", folder, KEYS["ec"])
        assert listening.shown(name) == listening.shown()

    @pytest.mark.parametrize("sent", [0, 1, None], ids=["nothing", "a byte now and then", "all but one"])
    def test_a_handshake_that_does_not_end_is_cut_off(self, folder, sent):
        """HT-06: no byte of a handshake moves its deadline."""
        listening = listen("ssl", folder, KEYS["ec"])
        server, transport = listening.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="a.example")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        if sent is None:
            server.dataReceived(hello[:-1])
        for second in range(IDLE_TIMEOUT):
            assert not transport.aborted
            if sent:
                server.dataReceived(hello[second : second + 1])
            listening.reactor.advance(1)
        assert transport.aborted
        assert transport.value() == b""

    def test_a_handshake_whose_last_step_does_not_come_is_cut_off(self, folder):
        """HT-06: the server has done its costly part then."""
        listening = listen("ssl", folder, KEYS["ec"])
        server, transport = listening.connect()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        server.dataReceived(outgoing.read())
        assert transport.value()
        listening.reactor.pump([1] * IDLE_TIMEOUT)
        assert transport.aborted

    def test_a_key_that_openssl_refuses_is_refused_at_the_start(self, folder):
        weak = rsa.generate_private_key(65537, 1024)
        (folder / "server.pem").write_bytes(key_pem(weak) + certificate("a.example", key=weak))
        with pytest.raises(UsageError, match="OpenSSL refuses the certificate: ee key too small"):
            Listening("ssl:443")
