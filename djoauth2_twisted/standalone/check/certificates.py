"""The check of certificates: their time, their names, and the chain up to a root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from OpenSSL import SSL, crypto

from ...finding import Finding, error, note, warning

#: A certificate is to be renewed when a third of its lifetime is left, but not earlier and not later
#: than this.
EARLIEST, LATEST = timedelta(days=30), timedelta(days=7)

# Codes of OpenSSL's X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED, _OWN_ROOT = 18, 19
_NO_ISSUER = {2, 20, 21}

#: One certificate of a port, and those that are sent after it.
Chain = Sequence[x509.Certificate]


def judge_chain(port: str, chain: Chain, now: datetime) -> list[Finding]:
    """Judge the time and the completeness of a chain.

    :param port: the option and endpoint string, for people.
    """
    return [
        *(found for each in chain for found in _judge_time(port, each, now)),
        *_judge_completeness(port, chain, now),
    ]


def _judge_time(port: str, certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    which = f"{port}: the certificate of {_name(certificate)}"
    renew = "Renew it"
    if ends < now:
        yield error(f"{which} has expired on {ends:%Y-%m-%d}", renew)
    elif now < begins:
        mend = "Set the system's clock, or wait"
        yield warning(f"{which} is valid only from {begins:%Y-%m-%d %H:%M} UTC on", mend)
    elif ends - now < max(LATEST, min(EARLIEST, (ends - begins) / 3)):
        yield warning(f"{which} expires on {ends:%Y-%m-%d}", renew)


def _judge_completeness(port: str, chain: Chain, now: datetime) -> Iterator[Finding]:
    """Verify a chain as a client does that trusts the roots of this machine."""
    code, reason = _verify(chain, now)
    if code in _NO_ISSUER:
        last = _last(chain)
        fault = f"{port}: the chain that is sent ends at {_name(last)}, which is of {_issuer(last)}"
        mend = (
            "If your clients do not know it as a root, name the file with the intermediate "
            "certificates as extraCertChain"
        )
        yield warning(fault, mend)
    elif code == _SELF_SIGNED:
        fault = f"{port}: the certificate of {_name(chain[0])} is self-signed"
        yield note(fault, "Clients without a copy of it refuse it: use one of a certificate authority")
    elif code not in {0, _OWN_ROOT, _EXPIRED, _NOT_YET_VALID}:
        yield warning(f"{port}: clients will refuse the certificate: {reason}", "Replace it")


def _verify(chain: Chain, now: datetime) -> tuple[int, str]:
    """OpenSSL's judgement of a chain: a code, which is 0 for a good one, and the reason."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_default_verify_paths()
    store = context.get_cert_store()
    assert store is not None
    store.set_time(now.astimezone(UTC).replace(tzinfo=None))
    first, *others = map(crypto.X509.from_cryptography, chain)
    try:
        crypto.X509StoreContext(store, first, others).verify_certificate()
    except crypto.X509StoreContextError as failure:
        code, _, reason = failure.errors
        return int(code), str(reason)
    return 0, ""


def _last(chain: Chain) -> x509.Certificate:
    """The certificate at which the way from the first one to its issuers ends."""
    by_subject = {each.subject: each for each in chain[1:]}
    last, seen = chain[0], {chain[0]}
    while (above := by_subject.get(last.issuer)) is not None and above not in seen:
        last = above
        seen.add(last)
    return last


def judge_names(chains: Sequence[Chain], host: str, is_behind_proxy: bool) -> list[Finding]:
    """Judge whether a certificate is for the issuer's host (RFC 9525, section 6).

    :param chains: of all ports.
    :param is_behind_proxy: a proxy's certificate may be for the host in the place of ours.
    """
    if not chains or not host or any(_is_for(chain[0], host) for chain in chains):
        return []
    fault = f"no certificate is for {host}, the host of the issuer"
    mend = "Get a certificate for that name, or correct --issuer"
    if is_behind_proxy:
        return [note(fault, "The proxy in front needs one")]
    return [warning(fault, mend, "issuer")]


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    host = host.lower()
    try:
        return ip_address(host.strip("[]")) in extension.value.get_values_for_type(x509.IPAddress)
    except ValueError:
        names = [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
    # RFC 9525, section 6.3: a wildcard stands for the whole first label.
    return host in names or "*." + host.partition(".")[2] in names


def _name(certificate: x509.Certificate) -> str:
    return _of(certificate.subject)


def _issuer(certificate: x509.Certificate) -> str:
    return _of(certificate.issuer)


def _of(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "no name"
