"""The rules that every store applies inside its atomic step.

A store reads its records, calls a function of this module, and writes the outcome. The functions neither
wait nor read a clock. So a store may call them in any thread, and again after a conflict.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from ..models import (
    AccessToken,
    CodeProof,
    Expired,
    Grant,
    Issuance,
    Issued,
    Outcome,
    RefreshProof,
    RefreshRetried,
    Refused,
    Replayed,
    TokenPair,
    Unknown,
)
from . import openid_scopes, pkce


def judge_code(grant: Grant | None, proof: CodeProof, issuance: Issuance) -> Outcome:
    """Decide whether a code may be exchanged, and for what (RFC 6749, section 4.1.3).

    The proof is checked first. A client without it learns nothing and changes nothing. So a thief can
    neither redeem a code, nor make it unusable, nor revoke what was issued for it.
    """
    if grant is None or grant.revoked:
        return Unknown()
    # RFC 6749, section 4.1.3: "ensure that the authorization code was issued to the authenticated
    # confidential client".
    if grant.client_id != proof.client_id:
        return Refused("it was issued to another client", grant_id=grant.id)
    if not _is_right_redirect_uri(grant, proof.redirect_uri):
        return Refused("redirect_uri is not that of the authorization request", grant_id=grant.id)
    if not pkce.verify(grant.code_challenge, proof.code_verifier):
        return Refused("code_verifier does not match", grant_id=grant.id)
    # RFC 6749, section 4.1.2: "If an authorization code is used more than once, the authorization
    # server MUST deny the request and SHOULD revoke (when possible) all tokens previously issued
    # based on that authorization code." This also applies after the code has expired.
    if grant.code_used:
        return Replayed(revoked(grant))
    if grant.code_expires <= issuance.now:
        return Expired(grant.code_expires, grant.id)
    # A redirect URI may have been taken away because it is not the client's own any more. Then the code
    # may be in other hands.
    registered = proof.client_redirect_uris
    if registered is not None and grant.redirect_uri not in (None, *registered):
        return Refused("the redirect URI is not registered any more", grant_id=grant.id)
    scopes = _still_allowed(grant.scopes, proof.client_scopes)
    if grant.scopes and not scopes:
        return _nothing_left(grant)
    used = attrs.evolve(grant, code_used=True)
    return _issued(used, scopes, issuance)


def _is_right_redirect_uri(grant: Grant, sent: str | None) -> bool:
    # RFC 6749, section 4.1.3: redirect_uri is "REQUIRED, if the "redirect_uri" parameter was included in
    # the authorization request [...], and their values MUST be identical." A client that sends it here
    # alone must send the one that its code was sent to.
    if sent is None:
        return grant.redirect_uri is None or not grant.redirect_uri_sent
    return sent == grant.redirect_uri


def _still_allowed(scopes: tuple[str, ...], allowed: tuple[str, ...] | None) -> tuple[str, ...]:
    """The scopes that the client may have now. Some may have been taken from it after the consent."""
    return scopes if allowed is None else tuple(name for name in scopes if name in allowed)


def _nothing_left(grant: Grant) -> Refused:
    return Refused("the client may have none of these scopes any more", True, grant.id)


def renew_code(grant: Grant | None, renewed: Grant) -> Grant | None:
    """The grant with another code, or None where the grant has ended or its code was exchanged.

    :param renewed: the same grant as it would be made now, with the new code.
    """
    if grant is None or grant.revoked or grant.code_used:
        return None
    return attrs.evolve(
        grant,
        code_digest=renewed.code_digest,
        code_expires=renewed.code_expires,
        expires=max(grant.expires, renewed.expires),
    )


def judge_refresh(
    grant: Grant | None,
    presented: TokenPair | None,
    successor: TokenPair | None,
    proof: RefreshProof,
    issuance: Issuance,
) -> Outcome:
    """Decide whether a refresh token may be exchanged, and for what (RFC 6749, section 6).

    :param grant: the grant of the refresh token's pair, or else of its family.
    :param presented: the pair of the refresh token. If it is None, but the family has a grant, the token
        was used before.
    :param successor: the current pair, if it was issued for this refresh token and its answer was kept.
    """
    if grant is None or grant.revoked or grant.refresh_ended:
        return Unknown()
    # RFC 6749, section 10.4: "The authorization server MUST maintain the binding between a refresh
    # token and the client to whom it was issued."
    if grant.client_id != proof.client_id:
        return Refused("it was issued to another client", grant_id=grant.id)
    wanted = wanted_scopes(grant, proof)
    scopes = _still_allowed(wanted, proof.client_scopes)
    if presented is None or presented.rotated:
        if successor is not None and _is_retry(presented, successor, (wanted, scopes), issuance):
            return RefreshRetried(grant, successor)
        # RFC 9700, section 4.14.2: "If a refresh token is compromised and subsequently used by both
        # the attacker and the legitimate client, one of them will present an invalidated refresh
        # token, which will inform the authorization server of the breach. The authorization server
        # cannot determine which party submitted the invalid refresh token, but it will revoke the
        # active refresh token."
        return Replayed(revoked(grant))
    if presented.refresh_expires is None or presented.refresh_expires <= issuance.now:
        return Expired(presented.refresh_expires, grant.id)
    # RFC 6749, section 6: "The requested scope MUST NOT include any scope not originally granted by
    # the resource owner".
    if not set(wanted) <= set(grant.scopes):
        return Refused("the scope exceeds what was granted", True, grant.id)
    if wanted and not scopes:
        return _nothing_left(grant)
    return _issued(grant, scopes, issuance, predecessor=presented.refresh_digest)


def wanted_scopes(grant: Grant, proof: RefreshProof) -> tuple[str, ...]:
    """The scopes that a refresh asks for (RFC 6749, section 6)."""
    wanted = grant.scopes if proof.scopes is None else proof.scopes
    return openid_scopes.without_passed_over(wanted, grant.scopes) if proof.openid else wanted


def refreshed_scopes(grant: Grant, proof: RefreshProof) -> tuple[str, ...]:
    """The scopes of the access token that a refresh gives, if the proof holds."""
    return _still_allowed(wanted_scopes(grant, proof), proof.client_scopes)


def revoked(grant: Grant) -> Grant:
    """The grant, revoked with everything that belongs to it. It may be pruned at once."""
    return attrs.evolve(grant, revoked=True, expires=0)


def _is_retry(
    presented: TokenPair | None,
    successor: TokenPair,
    scopes: Collection[tuple[str, ...]],
    issuance: Issuance,
) -> bool:
    """Whether a request repeats the one that ``successor`` was issued for.

    :param scopes: those that the request names, and those of them that the client may have now. The
        client's scopes may have been changed between the two requests.
    """
    return (
        successor.predecessor is not None
        and (presented is None or successor.predecessor == presented.refresh_digest)
        and successor.sealed_answer is not None
        and set(successor.scopes) in map(set, scopes)
        and abs(issuance.now - successor.issued) < issuance.retry_seconds
    )


def keeps_answer(pair: TokenPair, issuance: Issuance) -> bool:
    """Whether the answer is kept for a retry, for ``issuance.retry_seconds``."""
    return issuance.retry_seconds > 0 and pair.predecessor is not None and pair.sealed_answer is not None


def _issued(
    grant: Grant, scopes: tuple[str, ...], issuance: Issuance, predecessor: bytes | None = None
) -> Issued:
    pair = TokenPair(
        access_digest=issuance.access_digest,
        access_expires=issuance.access_expires,
        refresh_digest=issuance.refresh_digest,
        refresh_expires=issuance.refresh_expires,
        grant_id=grant.id,
        scopes=scopes,
        issued=issuance.now,
        predecessor=predecessor,
        sealed_answer=issuance.sealed_answer,
    )
    updated = attrs.evolve(
        grant,
        expires=max(grant.expires, issuance.access_expires, issuance.refresh_expires or 0),
        last_used=issuance.now,
        family_digest=issuance.family_digest or grant.family_digest,
    )
    return Issued(updated, pair)


def access_token(grant: Grant, pair: TokenPair) -> AccessToken | None:
    """The access token of a pair, or None if it was revoked or replaced by a refresh."""
    if grant.revoked or pair.access_revoked or pair.rotated:
        return None
    return AccessToken(
        client_id=grant.client_id,
        user=grant.owner,
        scopes=pair.scopes,
        issued=pair.issued,
        expires=pair.access_expires,
        grant_id=grant.id,
    )
