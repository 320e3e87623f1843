"""TLS at the ports that we open, by real handshakes in memory, and certificates read again."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls_kit import KEYS, V2, Listening, certificate, encrypted_pem, key_pem, listen
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.usage import UsageError

from djoauth2_twisted.errors import ConfigurationError
from djoauth2_twisted.protocol.forwarding import NO_PROXIES
from djoauth2_twisted.standalone.endpoint_strings import HardenedEndpoint
from djoauth2_twisted.standalone.folder import read_folder
from djoauth2_twisted.standalone.tls import HardeningReactor, unreachable
from djoauth2_twisted.stores.sql.engines import engine_of

# Twisted's own reading of certificates, as of 26.10.
pytestmark = pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestEncrypted:
    """OpenSSL would ask for the password, and wait for it."""

    @pytest.mark.parametrize("how", ["PKCS 8", "traditional", "mislabelled"])
    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    def test_an_encrypted_key_is_refused_at_once(self, folder: Path, kind: str, how: str) -> None:
        """One line says that it is encrypted, and how to decrypt it."""
        path = folder / "my key.pem"
        path.write_bytes(encrypted_pem(KEYS[kind], how) + certificate("a.example", key=KEYS[kind]))
        with pytest.raises(UsageError) as caught:
            HardenedEndpoint(MemoryReactorClock(), "ssl:443:privateKey=my key.pem")
        assert str(caught.value) == (
            f"--port ssl:443:privateKey=my key.pem: the key in {path} is encrypted: decrypt it with "
            f"`openssl pkey -in '{path}' -out key.pem`, and name key.pem"
        )

    def test_an_encrypted_key_in_a_folder_is_refused_at_once(self, folder: Path) -> None:
        (folder / "all").mkdir()
        pem = encrypted_pem(KEYS["ec"], "PKCS 8") + certificate("a.example")
        (folder / "all" / "a.pem").write_bytes(pem)
        with pytest.raises(UsageError, match=r"a\.pem is encrypted: decrypt it with `openssl pkey -in "):
            HardenedEndpoint(MemoryReactorClock(), "tls:all:port=443")

    @pytest.mark.parametrize("name", ["certKey", "extraCertChain", "dhParameters"])
    def test_another_encrypted_file_is_refused_at_once(self, folder: Path, name: str) -> None:
        (folder / "key.pem").write_bytes(key_pem(KEYS["ec"]) + certificate("a.example"))
        kind = b"DH PARAMETERS" if name == "dhParameters" else b"CERTIFICATE"
        pem = encrypted_pem(KEYS["ec"], "traditional").replace(b"EC PRIVATE KEY", kind)
        (folder / "other.pem").write_bytes(pem)
        with pytest.raises(UsageError, match=r"other\.pem is encrypted"):
            HardenedEndpoint(MemoryReactorClock(), f"ssl:443:privateKey=key.pem:{name}=other.pem")

    def test_an_encrypted_key_beside_the_certificate_is_refused_at_once(self, folder: Path) -> None:
        """Twisted looks for the key there first."""
        (folder / "key.pem").write_bytes(key_pem(KEYS["ec"]))
        pem = encrypted_pem(KEYS["ec"], "PKCS 8") + certificate("a.example")
        (folder / "cert.pem").write_bytes(pem)
        with pytest.raises(UsageError, match=r"cert\.pem is encrypted"):
            HardenedEndpoint(MemoryReactorClock(), "ssl:443:privateKey=key.pem:certKey=cert.pem")

    def test_a_key_that_is_encrypted_later_changes_nothing(self, folder: Path) -> None:
        """The log tells of it, and nothing waits."""
        (folder / "key.pem").write_bytes(key_pem(KEYS["ec"]) + certificate("a.example"))
        listening = Listening("ssl:443:privateKey=key.pem")
        (folder / "key.pem").write_bytes(encrypted_pem(KEYS["ec"], "PKCS 8") + certificate("a.example"))
        with capturedLogs() as logged:
            listening.port.reload()
        assert "is encrypted" in str(logged[0]["reason"])
        listening.shake()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u@127.0.0.1/x?sslcert=cert.pem&sslkey=key.pem",
            "mysql://u@127.0.0.1/x?ssl_cert=cert.pem&ssl_key=key.pem",
        ],
    )
    def test_an_encrypted_key_for_a_database_is_refused_at_once(self, folder: Path, url: str) -> None:
        (folder / "key.pem").write_bytes(encrypted_pem(KEYS["ec"], "PKCS 8"))
        with pytest.raises(ConfigurationError, match=r"^the key in key\.pem is encrypted: "):
            engine_of(url)


@pytest.fixture(params=["ssl", "tls"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds of descriptions."""
    kind: str = request.param
    return kind


class TestHandshakes:
    """TL-01, TL-02: what a port agrees to."""

    @pytest.mark.parametrize(
        ("key", "ciphers"),
        [
            ("rsa", "AES128-SHA"),
            ("rsa", "AES128-GCM-SHA256"),
            ("rsa", "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES128-SHA256"),
            ("rsa", "DHE-RSA-AES128-GCM-SHA256"),
            ("ec", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256"),
            ("ec", "ECDHE-ECDSA-AES128-CCM"),
        ],
    )
    def test_bad_ciphers_are_refused(self, kind, folder, key, ciphers):
        listening = listen(kind, folder, KEYS[key])
        with pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|handshake failure"):
            listening.shake(ciphers=ciphers, highest=V2)

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    def test_old_versions_are_refused(self, kind, folder, version):
        listening = listen(kind, folder, KEYS["rsa"])
        with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|protocol version"):
            listening.shake(lowest=version, highest=version)

    @pytest.mark.parametrize("key", ["rsa", "ec"])
    @pytest.mark.parametrize("ciphers", ["ECDHE+AESGCM", "ECDHE+CHACHA20", "ALL"])
    def test_good_ones_are_taken(self, kind, folder, key, ciphers):
        client = listen(kind, folder, KEYS[key]).shake(ciphers=ciphers, highest=V2)
        assert client.version() == "TLSv1.2"
        name, *_ = client.cipher() or ("",)
        assert name.startswith("ECDHE-")
        assert name.rpartition("-")[2] in ("SHA256", "SHA384", "POLY1305")
        assert client.compression() is None

    @pytest.mark.parametrize("key", ["rsa", "ec"])
    def test_the_newest_version(self, kind, folder, key):
        client = listen(kind, folder, KEYS[key]).shake()
        assert (client.version(), client.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")

    def test_a_method_of_ones_own_opens_nothing(self, folder):
        """Whatever ssl: is described with."""
        (folder / "server.pem").write_bytes(key_pem(KEYS["rsa"]) + certificate("a", key=KEYS["rsa"]))
        with pytest.warns(DeprecationWarning, match="Passing method"):
            listening = Listening("ssl:443:sslmethod=TLS_METHOD")
        for limits in (
            {"ciphers": "AES128-SHA", "highest": V2},
            {"lowest": V2.TLSv1, "highest": V2.TLSv1},
        ):
            with pytest.raises(ssl.SSLError):
                listening.shake(**limits)

    def test_tls_of_another_kind_is_not_opened(self):
        """A plugin's, whose certificates cannot be reached."""
        below: Any = MemoryReactorClock()
        reactor = HardeningReactor(below, unreachable, NO_PROXIES)
        with pytest.raises(ConfigurationError, match="use ssl: or tls:"):
            reactor.listenSSL(443, None, object())
        other: Any = TLSMemoryBIOFactory.__new__(TLSMemoryBIOFactory)
        other.wrappedFactory = None
        for listen_so in (
            lambda: reactor.listenTCP(443, other),
            lambda: reactor.listenUNIX("socket", other),
            lambda: reactor.adoptStreamPort(3, None, other),
        ):
            with pytest.raises(ConfigurationError, match="use ssl: or tls:"):
                listen_so()


class TestReload:
    """TL-08, F-35: certificates that are read again."""

    def test_new_handshakes_get_the_new_certificate(self, kind, folder, monkeypatch):
        """From whatever folder the process has gone to."""
        listening = listen(kind, folder, KEYS["ec"])
        new = certificate("a.example", "new.example", key=KEYS["rsa"])
        (folder / "pems" / "a.pem").write_bytes(key_pem(KEYS["rsa"]) + new)
        monkeypatch.chdir("/")
        assert listening.shown() != new
        listening.port.reload()
        assert listening.shown() == new

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            key_pem(KEYS["ec"]),
            key_pem(KEYS["rsa"]) + certificate("a.example"),
            (key_pem(KEYS["ec"]) + certificate("a.example"))[:-100],
            key_pem(KEYS["ec"]) + certificate("a.example", days=-1),
            None,
        ],
        ids=["empty", "key alone", "mismatch", "truncated", "expired", "gone"],
    )
    def test_bad_ones_change_nothing(self, kind, folder, content):
        """But for one line in the log."""
        listening = listen(kind, folder, KEYS["ec"])
        old = listening.shown()
        (folder / "pems" / "a.pem").unlink()
        if content is not None:
            (folder / "pems" / "a.pem").write_bytes(content)
        with capturedLogs() as logged:
            listening.port.reload()
        (line,) = [event["log_format"].format(**event) for event in logged]
        assert line.startswith(f"--port {kind}:")
        assert line.endswith("The previous certificates stay in use.")
        assert "\n" not in line
        assert listening.shown() == old

    def test_renewed_certificates_are_noticed(self, kind, folder):
        """F-35: certbot moves the links that lead to the files."""
        listening = listen(kind, folder, KEYS["ec"])
        link, second = folder / "pems" / "a.pem", folder / "second"
        new = certificate("a.example", key=KEYS["rsa"])
        second.write_bytes(key_pem(KEYS["rsa"]) + new)
        listening.port.look()
        assert listening.shown() != new
        link.unlink()
        link.symlink_to(second)
        listening.port.look()
        assert listening.shown() == new

    def test_files_that_have_not_changed_are_not_read(self, kind, folder):
        listening = listen(kind, folder, KEYS["ec"])
        with capturedLogs() as logged:
            for _ in range(3):
                listening.port.look()
        assert logged == []

    def test_bad_renewal_is_logged_once(self, kind, folder):
        listening = listen(kind, folder, KEYS["ec"])
        old = listening.shown()
        (folder / "pems" / "a.pem").write_bytes(b"junk")
        with capturedLogs() as logged:
            for _ in range(3):
                listening.port.look()
        assert len(logged) == 1
        assert listening.shown() == old

    def test_a_port_without_certificates(self):
        listening = Listening("tcp:80")
        with capturedLogs() as logged:
            listening.port.reload()
        assert logged == []

    @pytest.mark.parametrize(
        "description",
        [
            "ssl:443",
            "ssl:443:server.pem",
            "ssl:port=443:certKey=server.pem",
            r"ssl:443:server.pem:server.pem:extraCertChain=with\:colon.pem",
        ],
    )
    def test_files_are_found_however_they_are_written(self, folder, monkeypatch, description):
        monkeypatch.chdir(folder)
        for name in ("server.pem", "with:colon.pem"):
            (folder / name).write_bytes(key_pem(KEYS["ec"]) + certificate("a.example"))
        listening = Listening(description)
        monkeypatch.chdir("/")
        listening.port.reload()
        assert (
            listening.shown()
            == (folder / "server.pem").read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2]
        )


class TestFolder:
    """tls: with a folder."""

    def test_each_name_gets_its_own(self, folder):
        """In any case; a wildcard; and the first file's for all others."""
        made = {}
        for file, names in (
            ("a", ["a.example"]),
            ("b", ["b.example", "*.b.example"]),
            ("c", ["c.example"]),
        ):
            key = ec.generate_private_key(ec.SECP256R1())
            made[file] = certificate(*names, key=key)
            (folder / f"{file}.pem").write_bytes(key_pem(key) + made[file])
        listening = Listening(f"tls:{folder}:port=443")
        for name, file in (
            ("a.example", "a"),
            ("B.example", "b"),
            ("www.b.example", "b"),
            ("deep.www.b.example", "a"),
            ("c.example", "c"),
            ("unknown.example", "a"),
            (None, "a"),
        ):
            assert listening.shown(name) == made[file]

    def test_an_unknown_name_does_not_read_the_folder_again(self, folder, monkeypatch):
        """A stranger would have it read for each handshake."""
        listening = listen("tls", folder, KEYS["ec"])
        monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("the folder was read"))
        for _ in range(3):
            listening.shake(name="unknown.example")

    def test_the_one_that_lasts_longest(self, folder):
        """Where a renewal is beside what it renews."""
        pems = [certificate("a.example", days=days) for days in (5, 50, 20)]
        for number, pem in enumerate(pems):
            (folder / f"{number}.pem").write_bytes(key_pem(KEYS["ec"]) + pem)
        assert Listening(f"tls:{folder}:port=443").shown() == pems[1]

    def test_a_chain_is_sent_with_its_certificate(self, folder):
        signer = KEYS["rsa"]
        leaf = certificate("a.example", issuer="Between", signer=signer)
        between = certificate("Between", key=signer, issuer="Root", signer=signer)
        root = certificate("Root", key=signer)
        (folder / "a.pem").write_bytes(key_pem(KEYS["ec"]) + leaf)
        (folder / "chain.pem").write_bytes(between + root)
        names = [each.subject.rfc4514_string() for each in read_folder(folder).chain]
        assert names == ["CN=Between", "CN=Root"]
