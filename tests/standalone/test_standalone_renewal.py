"""A certificate that certbot renews: links move one by one, and the old pair stays until both fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls_kit import KEYS, Listening, certificate, key_pem
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.usage import UsageError

from djoauth2_twisted.protocol.forwarding import TrustedProxies
from djoauth2_twisted.standalone.endpoint_strings import HardenedEndpoint
from djoauth2_twisted.standalone.proxy_protocol import ProxyProtocolFactory

# Twisted's own reading of certificates, as of 26.10.
pytestmark = pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")

SIGNER = ec.generate_private_key(ec.SECP256R1())
# In parts, so that a scanner of secrets does not take it for a key.
JUNK = b"-----BEGIN " + b"PRIVATE KEY-----\nx\n-----END " + b"PRIVATE KEY-----"
DESCRIPTIONS = {
    "ssl": "ssl:443:privateKey=live/a/privkey.pem:certKey=live/a/fullchain.pem",
    "tls": "tls:live:port=443",
}


class Certbot:
    """The folders of certbot: ``live/`` with links to the newest files of ``archive/``."""

    def __init__(self, folder: Path) -> None:
        self.archive, self.live = folder / "archive" / "a", folder / "live" / "a"
        self.archive.mkdir(parents=True)
        self.live.mkdir(parents=True)
        (folder / "live" / "README").write_text("This directory contains your keys and certificates.")

    def write(self, number: int, kind: str) -> bytes:
        """Write a new pair into the archive. Returns its certificate."""
        made = certificate("a.example", key=KEYS[kind], issuer="Between", signer=SIGNER)
        chain = certificate("Between", key=SIGNER, ca=True)
        content = {
            "privkey": key_pem(KEYS[kind]),
            "cert": made,
            "chain": chain,
            "fullchain": made + chain,
        }
        for name, pem in content.items():
            (self.archive / f"{name}{number}.pem").write_bytes(pem)
        return made

    def move(self, number: int, *names: str) -> None:
        """Let links lead to the files of a number."""
        for name in names or ("privkey", "cert", "chain", "fullchain"):
            link = self.live / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/a/{name}{number}.pem")


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certbot:
    """The folders, with a pair."""
    monkeypatch.chdir(tmp_path)
    certbot = Certbot(tmp_path)
    certbot.write(1, "ec")
    certbot.move(1)
    return certbot


@pytest.fixture(params=["ssl", "tls"])
def listening(certbot: Certbot, request: pytest.FixtureRequest) -> Listening:
    """A port of each kind with that pair."""
    return Listening(DESCRIPTIONS[request.param])


def lines(logged: Sequence[LogEvent]) -> list[str]:
    """What the log says."""
    return [event["log_format"].format(**event) for event in logged]


def test_links_that_move_lead_to_the_new_pair(certbot: Certbot, listening: Listening) -> None:
    """F-35, TL-08: within the interval of looking, without a signal."""
    old, new = listening.shown(), certbot.write(2, "rsa")
    listening.port.look()
    assert listening.shown() == old
    certbot.move(2)
    with capturedLogs() as logged:
        listening.port.look()
    assert listening.shown() == new
    (line,) = lines(logged)
    assert line.endswith("the certificates were read again.")


@pytest.mark.parametrize("first", [("privkey",), ("cert", "fullchain")], ids=["key", "certificate"])
def test_the_old_pair_stays_until_both_links_have_moved(
    certbot: Certbot, listening: Listening, first: tuple[str, ...]
) -> None:
    """F-35: one line says so, and no handshake sees a wrong pair in between."""
    old, new = listening.shown(), certbot.write(2, "rsa")
    certbot.move(2, *first)
    with capturedLogs() as logged:
        for _ in range(3):
            listening.port.look()
            assert listening.shown() == old
    (line,) = lines(logged)
    assert line.endswith(". The previous certificates stay in use.")
    assert "\n" not in line
    certbot.move(2)
    listening.port.look()
    assert listening.shown() == new


def test_what_could_not_be_read_is_tried_again(
    certbot: Certbot, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-27: as when descriptors run out, where no file changes."""
    new = certbot.write(2, "rsa")
    certbot.move(2)

    def fail(path: Path) -> bytes:
        raise OSError(24, "Too many open files", str(path))

    with monkeypatch.context() as patched, capturedLogs() as logged:
        patched.setattr(Path, "read_bytes", fail)
        for _ in range(3):
            listening.port.look()
    (line,) = lines(logged)
    assert "Too many open files. The previous certificates stay in use." in line
    with capturedLogs() as logged:
        for _ in range(3):
            listening.port.look()
    (line,) = lines(logged)
    assert line.endswith("the certificates were read again.")
    assert listening.shown() == new


def test_another_fault_is_logged_too(certbot: Certbot, listening: Listening) -> None:
    """And after a signal, the same one again: who sends it wants an answer."""
    certbot.write(2, "rsa")
    certbot.move(2, "privkey")
    with capturedLogs() as logged:
        listening.port.look()
        (certbot.archive / "privkey2.pem").write_bytes(JUNK)
        listening.port.look()
        listening.port.look()
        listening.port.reload()
    first, second, third = lines(logged)
    assert first != second == third
    assert "privkey.pem cannot be read" in second


def test_a_chain_that_becomes_empty_changes_nothing(certbot: Certbot) -> None:
    files = "privateKey=live/a/privkey.pem:certKey=live/a/cert.pem:extraCertChain=live/a/chain.pem"
    listening = Listening(f"ssl:443:{files}")
    old = listening.shown()
    certbot.write(2, "rsa")
    (certbot.archive / "chain2.pem").write_bytes(b"")
    certbot.move(2)
    with capturedLogs() as logged:
        listening.port.look()
    (line,) = lines(logged)
    assert "there is no certificate in " in line
    assert line.endswith("chain.pem. The previous certificates stay in use.")
    assert listening.shown() == old


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_a_port_behind_a_proxy_has_its_certificates(certbot: Certbot, kind: str) -> None:
    """The PROXY protocol comes before TLS."""
    reactor = MemoryReactorClock()
    proxies = TrustedProxies.of(["192.0.2.1"])
    endpoint = HardenedEndpoint(reactor, f"haproxy:{DESCRIPTIONS[kind]}", proxies)
    endpoint.listen(Factory())
    (_, factory, *_), *_ = reactor.tcpServers
    assert isinstance(factory, ProxyProtocolFactory)
    assert isinstance(factory.wrappedFactory, TLSMemoryBIOFactory)
    assert endpoint.reload()


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_a_wrong_pair_is_refused_at_the_start(certbot: Certbot, kind: str) -> None:
    certbot.write(2, "rsa")
    certbot.move(2, "privkey")
    words = {
        "ssl": "the key and the certificate do not belong together",
        "tls": "the key of the certificate for a.example is missing",
    }
    with pytest.raises(UsageError) as caught:
        HardenedEndpoint(MemoryReactorClock(), DESCRIPTIONS[kind])
    assert str(caught.value) == f"--port {DESCRIPTIONS[kind]}: {words[kind]}"


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_a_folder_that_cannot_be_read_changes_nothing(
    certbot: Certbot, kind: str, tmp_path: Path
) -> None:
    listening = Listening(DESCRIPTIONS[kind])
    old = listening.shown()
    (tmp_path / "live").rename(tmp_path / "elsewhere")
    with capturedLogs() as logged:
        listening.port.look()
        listening.port.look()
    assert len(logged) == 1
    assert listening.shown() == old
    (tmp_path / "elsewhere").rename(tmp_path / "live")
    listening.port.look()
    assert listening.shown() == old
