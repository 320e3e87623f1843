"""What a store decides inside its atomic step: codes, refresh tokens, and the tokens of a grant."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.credentials import digest
from djoauth2_twisted.models import (
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
    ResourceOwner,
    TokenPair,
    Unknown,
)
from djoauth2_twisted.protocol.grants import (
    access_token,
    judge_code,
    judge_refresh,
    keeps_answer,
    revoked,
)

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "https://app.example/cb"

BORN = 1000
GRANT = Grant(
    id="a-grant",
    client_id="a-client",
    owner=ResourceOwner("peter", "Peter", "Downs", "peter@app.example"),
    scopes=("verify", "autologin"),
    created=BORN,
    last_used=BORN,
    expires=BORN + 600,
    code_digest=digest("a code"),
    code_expires=BORN + 600,
    redirect_uri=CALLBACK,
    code_challenge=CHALLENGE,
)
USED = attrs.evolve(GRANT, code_used=True)
PROOF = CodeProof("a-client", CALLBACK, VERIFIER)
REFRESH = RefreshProof("a-client", None)


def issuance(name="first", now=BORN, **changes):
    """What a token endpoint has made ready at a time: an hour of access, a day of refreshing."""
    ready = Issuance(
        now=now,
        access_digest=digest(f"access {name}"),
        access_expires=now + 3600,
        refresh_digest=digest(f"refresh {name}"),
        refresh_expires=now + 86400,
    )
    return attrs.evolve(ready, **changes)


def issued(outcome: Outcome) -> Issued:
    """The outcome, which must be that tokens were issued."""
    assert isinstance(outcome, Issued)
    return outcome


def exchanged(**changes):
    """A grant whose code was exchanged, and the pair that was issued for it."""
    outcome = issued(judge_code(GRANT, PROOF, issuance(**changes)))
    return outcome.grant, outcome.pair


def refreshed(grant, pair, name, now, proof=REFRESH, **changes):
    """A grant, the pair that was presented, and the one that was issued for it."""
    outcome = issued(judge_refresh(grant, pair, pair, proof, issuance(name, now, **changes)))
    return outcome.grant, attrs.evolve(pair, rotated=True), outcome.pair


# Codes.


def test_a_proven_code_is_exchanged_for_a_pair():
    """CG-01, PK-01"""
    ready = issuance(now=BORN + 10, sealed_answer=b"sealed")
    outcome = judge_code(GRANT, PROOF, ready)
    assert outcome == Issued(
        attrs.evolve(GRANT, code_used=True, last_used=BORN + 10, expires=BORN + 10 + 86400),
        TokenPair(
            access_digest=ready.access_digest,
            access_expires=ready.access_expires,
            refresh_digest=ready.refresh_digest,
            refresh_expires=ready.refresh_expires,
            grant_id="a-grant",
            scopes=("verify", "autologin"),
            issued=BORN + 10,
            sealed_answer=b"sealed",
        ),
    )


def test_a_code_without_redirect_uri_and_challenge_needs_neither():
    """CG-11, PK-03"""
    plain = attrs.evolve(GRANT, redirect_uri=None, code_challenge=None)
    assert isinstance(judge_code(plain, CodeProof("a-client", None, None), issuance()), Issued)


@pytest.mark.parametrize(
    "grant", [None, attrs.evolve(GRANT, revoked=True), attrs.evolve(USED, revoked=True)]
)
def test_a_code_that_does_not_exist_or_is_revoked_is_unknown(grant):
    """CG-02: a revoked grant looks as if there had been none"""
    assert judge_code(grant, PROOF, issuance()) == Unknown()


WRONG_PROOFS = [
    pytest.param(attrs.evolve(PROOF, client_id="another"), id="CG-03-client"),
    pytest.param(attrs.evolve(PROOF, client_id="A-CLIENT"), id="CG-03-client-case"),
    pytest.param(attrs.evolve(PROOF, redirect_uri=None), id="CG-11-missing"),
    pytest.param(attrs.evolve(PROOF, redirect_uri="https://evil.example/cb"), id="CG-11-host"),
    pytest.param(attrs.evolve(PROOF, redirect_uri="https://app.example/CB"), id="CG-11-case"),
    pytest.param(attrs.evolve(PROOF, redirect_uri=CALLBACK + "/"), id="CG-11-slash"),
    pytest.param(attrs.evolve(PROOF, redirect_uri="https://app.example/%63b"), id="CG-11-encoding"),
    pytest.param(attrs.evolve(PROOF, code_verifier=None), id="PK-02-missing"),
    pytest.param(attrs.evolve(PROOF, code_verifier=""), id="PK-02-empty"),
    pytest.param(attrs.evolve(PROOF, code_verifier=VERIFIER.swapcase()), id="PK-02-case"),
    pytest.param(attrs.evolve(PROOF, code_verifier=VERIFIER + "="), id="PK-02-padded"),
    pytest.param(attrs.evolve(PROOF, code_verifier=VERIFIER + "\x00"), id="PK-02-nul"),
    pytest.param(attrs.evolve(PROOF, code_verifier="a" * 43), id="CG-18-wrong"),
]


@pytest.mark.parametrize("proof", WRONG_PROOFS)
@pytest.mark.parametrize("grant", [GRANT, USED])
@pytest.mark.parametrize("now", [BORN, BORN + 600])
def test_a_wrong_proof_of_a_code_changes_nothing(grant, proof, now):
    """CG-09, CG-12: a thief neither redeems nor burns nor revokes, nor learns whether it was used."""
    outcome = judge_code(grant, proof, issuance(now=now))
    assert isinstance(outcome, Refused)
    assert not outcome.invalid_scope


@pytest.mark.parametrize("proof", WRONG_PROOFS)
def test_a_refusal_does_not_disclose_what_was_expected(proof):
    """CG-11"""
    outcome = judge_code(GRANT, proof, issuance())
    assert isinstance(outcome, Refused)
    for secret in ("app.example", "a-client", CHALLENGE, VERIFIER, "CLIENT", "evil"):
        assert secret not in outcome.reason


def test_a_verifier_without_challenge_is_refused():
    """PK-03"""
    unprotected = attrs.evolve(GRANT, code_challenge=None)
    assert isinstance(judge_code(unprotected, PROOF, issuance()), Refused)


@pytest.mark.parametrize("sent", [None, CALLBACK])
def test_a_redirect_uri_that_the_authorization_request_left_out_may_be_sent(sent):
    """CG-11: where it is sent at the token endpoint alone, it is the one that the code was sent to."""
    unnamed = attrs.evolve(GRANT, redirect_uri_sent=False)
    outcome = judge_code(unnamed, attrs.evolve(PROOF, redirect_uri=sent), issuance())
    assert isinstance(outcome, Issued)


@pytest.mark.parametrize("sent", ["https://app.example/CB", CALLBACK + "/", "https://evil.example/cb"])
def test_another_redirect_uri_is_refused_though_the_authorization_request_had_none(sent):
    """CG-11"""
    unnamed = attrs.evolve(GRANT, redirect_uri_sent=False)
    outcome = judge_code(unnamed, attrs.evolve(PROOF, redirect_uri=sent), issuance())
    assert isinstance(outcome, Refused)
    assert not outcome.invalid_scope


def test_a_grant_of_an_older_version_does_not_know_where_its_code_was_sent():
    unknown = attrs.evolve(GRANT, redirect_uri=None)
    assert isinstance(judge_code(unknown, PROOF, issuance()), Refused)
    proof = attrs.evolve(PROOF, redirect_uri=None, client_redirect_uris=(CALLBACK,))
    assert isinstance(judge_code(unknown, proof, issuance()), Issued)


# What was taken from the client after the consent.


def without_scopes(*left):
    """What a client shows that may have only these scopes by now."""
    return attrs.evolve(PROOF, client_scopes=left), attrs.evolve(REFRESH, client_scopes=left)


@pytest.mark.parametrize(
    ("left", "scopes"),
    [
        (("verify",), ("verify",)),
        (("other", "autologin"), ("autologin",)),
        (("autologin", "verify"), ("verify", "autologin")),
        (("verify", "AUTOLOGIN"), ("verify",)),
    ],
)
def test_a_client_gets_the_scopes_that_it_may_still_have(left, scopes):
    proof, refresh = without_scopes(*left)
    assert issued(judge_code(GRANT, proof, issuance())).pair.scopes == scopes
    grant, pair = exchanged()
    outcome = issued(judge_refresh(grant, pair, None, refresh, issuance("second")))
    assert outcome.pair.scopes == scopes
    # What the resource owner has allowed stays. So a scope that is given back is there again.
    assert outcome.grant.scopes == GRANT.scopes
    third = issued(judge_refresh(outcome.grant, outcome.pair, None, REFRESH, issuance("third")))
    assert third.pair.scopes == GRANT.scopes


@pytest.mark.parametrize("left", [(), ("other",), ("VERIFY",)])
def test_a_client_that_may_have_none_of_the_scopes_any_more_gets_nothing(left):
    """The code and the refresh token stay as they are, as after any other refusal."""
    proof, refresh = without_scopes(*left)
    outcome = judge_code(GRANT, proof, issuance())
    assert isinstance(outcome, Refused)
    assert outcome.invalid_scope
    grant, pair = exchanged()
    outcome = judge_refresh(grant, pair, None, refresh, issuance("second"))
    assert isinstance(outcome, Refused)
    assert outcome.invalid_scope


def test_a_refresh_that_names_scopes_gets_those_that_are_left():
    grant, pair = exchanged()
    _, refresh = without_scopes("verify")
    named = attrs.evolve(refresh, scopes=("autologin", "verify"))
    outcome = judge_refresh(grant, pair, None, named, issuance("second"))
    assert issued(outcome).pair.scopes == ("verify",)
    gone = attrs.evolve(refresh, scopes=("autologin",))
    outcome = judge_refresh(grant, pair, None, gone, issuance("second"))
    assert isinstance(outcome, Refused)
    assert outcome.invalid_scope
    wider = attrs.evolve(refresh, scopes=("verify", "admin"))
    outcome = judge_refresh(grant, pair, None, wider, issuance("second"))
    assert isinstance(outcome, Refused)
    assert outcome.invalid_scope


def test_a_scope_that_was_given_to_the_client_later_is_not_granted():
    """The resource owner has not allowed it."""
    proof, refresh = without_scopes("verify", "admin")
    grant, pair = exchanged()
    assert issued(judge_code(GRANT, proof, issuance())).pair.scopes == ("verify",)
    second = issued(judge_refresh(grant, pair, None, refresh, issuance("second")))
    assert second.pair.scopes == ("verify",)


@pytest.mark.parametrize("now", [BORN, BORN + 600])
@pytest.mark.parametrize("left", [(), ("verify",)])
def test_a_code_used_again_ends_its_grant_whatever_the_client_may_have(now, left):
    """CG-05"""
    proof, _ = without_scopes(*left)
    moved = attrs.evolve(proof, client_redirect_uris=())
    assert isinstance(judge_code(USED, moved, issuance(now=now)), Replayed)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("registered", [(), ("https://app.example/new",), (CALLBACK + "/",)])
def test_a_code_whose_redirect_uri_was_taken_away_is_refused(sent, registered):
    grant = attrs.evolve(GRANT, redirect_uri_sent=sent)
    outcome = judge_code(grant, attrs.evolve(PROOF, client_redirect_uris=registered), issuance())
    assert isinstance(outcome, Refused)
    assert not outcome.invalid_scope
    still = attrs.evolve(PROOF, client_redirect_uris=(*registered, CALLBACK))
    assert isinstance(judge_code(grant, still, issuance()), Issued)


@pytest.mark.parametrize(
    ("now", "good"),
    [(BORN, True), (BORN + 599, True), (BORN + 600, False), (BORN + 601, False), (BORN + 10**9, False)],
)
def test_a_code_is_good_until_its_lifetime_ends(now, good):
    """CG-04: at the second of its end it is expired"""
    outcome = judge_code(GRANT, PROOF, issuance(now=now))
    assert isinstance(outcome, Issued) if good else outcome == Expired()


@pytest.mark.parametrize("later", [0, 1, 30, 600, 10_000])
def test_a_code_used_again_ends_its_grant(later):
    """CG-05, CG-06, CG-07: also after the code's own expiry"""
    grant, pair = exchanged()
    outcome = judge_code(grant, PROOF, issuance("second", BORN + later))
    assert isinstance(outcome, Replayed)
    assert outcome.grant == attrs.evolve(grant, revoked=True, expires=0)
    assert access_token(outcome.grant, pair) is None
    assert (
        judge_refresh(outcome.grant, pair, pair, REFRESH, issuance("third", BORN + later)) == Unknown()
    )


def test_a_code_used_again_ends_what_was_refreshed_since():
    """CG-05"""
    grant, first = exchanged()
    grant, _, second = refreshed(grant, first, "second", BORN + 10)
    outcome = judge_code(grant, PROOF, issuance("third", BORN + 20))
    assert isinstance(outcome, Replayed)
    assert access_token(outcome.grant, second) is None
    assert (
        judge_refresh(outcome.grant, second, second, REFRESH, issuance("fourth", BORN + 30)) == Unknown()
    )


def test_a_grant_that_was_ended_is_not_replayed_twice():
    """CC-01: the replay is reported once, and revokes once"""
    grant, _ = exchanged()
    outcome = judge_code(grant, PROOF, issuance("second"))
    assert isinstance(outcome, Replayed)
    assert judge_code(outcome.grant, PROOF, issuance("third")) == Unknown()


def test_a_grant_is_kept_as_long_as_anything_of_it_lives():
    """CG-07: the used code's tombstone outlives the tokens"""
    long_access = issuance(access_expires=BORN + 10**6)
    assert issued(judge_code(GRANT, PROOF, long_access)).grant.expires == BORN + 10**6
    short = issuance(access_expires=BORN + 1, refresh_digest=None, refresh_expires=None)
    assert issued(judge_code(GRANT, PROOF, short)).grant.expires == BORN + 600


def test_an_access_token_may_come_alone():
    """RT-06"""
    outcome = issued(judge_code(GRANT, PROOF, issuance(refresh_digest=None, refresh_expires=None)))
    assert outcome.pair.refresh_digest is None
    assert outcome.pair.refresh_expires is None
    assert outcome.grant.expires == BORN + 3600


# Refresh tokens.


def test_a_refresh_token_is_exchanged_for_a_new_pair():
    """RT-01, RT-07: without a scope, for the same scopes"""
    grant, first = exchanged()
    grant, first, second = refreshed(grant, first, "second", BORN + 100)
    assert second.access_digest == digest("access second")
    assert second.refresh_digest == digest("refresh second")
    assert second.scopes == GRANT.scopes
    assert second.issued == BORN + 100
    assert second.predecessor == first.refresh_digest
    assert grant.last_used == BORN + 100
    assert grant.expires == BORN + 100 + 86400
    assert access_token(grant, first) is None
    assert access_token(grant, second) is not None


def test_a_refresh_token_that_does_not_exist_is_unknown():
    """RT-02"""
    _, pair = exchanged()
    for presented in (None, pair):
        assert judge_refresh(None, presented, None, REFRESH, issuance("second")) == Unknown()


def test_the_family_stays_and_is_that_of_the_token_presented():
    """A grant of before there were families gets one from the token that is refreshed."""
    grant, pair = exchanged()
    assert grant.family_digest is None
    grant, _, pair = refreshed(grant, pair, "second", BORN, family_digest=b"family")
    assert grant.family_digest == b"family"
    grant, _, pair = refreshed(grant, pair, "third", BORN, family_digest=b"family")
    assert grant.family_digest == b"family"
    used = issued(judge_code(GRANT, PROOF, issuance(family_digest=b"another")))
    assert used.grant.family_digest == b"another"


@pytest.mark.parametrize("later", [0, 1, 86400, 10**6])
@pytest.mark.parametrize("scopes", [None, ("verify",), ("admin",)])
def test_a_token_that_only_its_family_knows_ends_the_grant(later, scopes):
    """RT-05, RT-13: nothing else is kept of those that were used."""
    grant, _ = exchanged()
    proof = attrs.evolve(REFRESH, scopes=scopes)
    outcome = judge_refresh(grant, None, None, proof, issuance("third", BORN + later, retry_seconds=60))
    assert outcome == Replayed(attrs.evolve(grant, revoked=True, expires=0))


def test_a_token_that_only_its_family_knows_is_refused_to_another_client():
    """CG-09: the proof comes first."""
    grant, _ = exchanged()
    proof = attrs.evolve(REFRESH, client_id="another")
    assert isinstance(judge_refresh(grant, None, None, proof, issuance("third")), Refused)


@pytest.mark.parametrize("use", ["live", "used", "long ago", "repeat"])
def test_a_refresh_token_ended_by_a_new_password_is_unknown(use):
    """RT-14: nothing was stolen, and the access token lives out its time."""
    grant, first = exchanged()
    grant, used, second = refreshed(grant, first, "second", BORN, sealed_answer=b"sealed")
    grant = attrs.evolve(grant, refresh_ended=True)
    presented = {"live": second, "used": used}.get(use)
    successor = second if use == "repeat" else None
    again = issuance("third", BORN, retry_seconds=60)
    assert judge_refresh(grant, presented, successor, REFRESH, again) == Unknown()
    assert access_token(grant, second) is not None


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("retry_seconds", [0, 60])
def test_a_refresh_token_of_a_revoked_grant_is_unknown(rotated, retry_seconds):
    """RT-11, RT-14: even inside the time for retries"""
    grant, first = exchanged()
    grant, used, second = refreshed(grant, first, "second", BORN, sealed_answer=b"sealed")
    presented = used if rotated else second
    outcome = judge_refresh(
        revoked(grant), presented, second, REFRESH, issuance("third", BORN, retry_seconds=retry_seconds)
    )
    assert outcome == Unknown()


@pytest.mark.parametrize("rotated", [False, True])
def test_a_refresh_token_of_another_client_is_refused_and_stays_good(rotated):
    """CG-09, RT-09: a stranger neither rotates it nor sets off the alarm"""
    grant, pair = exchanged()
    presented = attrs.evolve(pair, rotated=rotated)
    outcome = judge_refresh(
        grant, presented, pair, attrs.evolve(REFRESH, client_id="another"), issuance("second")
    )
    assert isinstance(outcome, Refused)
    assert not outcome.invalid_scope
    assert "a-client" not in outcome.reason
    assert isinstance(judge_refresh(grant, pair, pair, REFRESH, issuance("third")), Issued)


@pytest.mark.parametrize(("later", "good"), [(0, True), (86399, True), (86400, False), (10**9, False)])
def test_a_refresh_token_is_good_until_its_lifetime_ends(later, good):
    grant, pair = exchanged()
    outcome = judge_refresh(grant, pair, pair, REFRESH, issuance("second", BORN + later))
    assert isinstance(outcome, Issued) if good else outcome == Expired()


def test_each_use_counts_the_lifetime_anew():
    """INTERFACE: REFRESH_TOKEN_LIFETIME is counted since last use"""
    grant, pair = exchanged()
    for step in range(1, 5):
        grant, _, pair = refreshed(grant, pair, str(step), BORN + step * 86_000)
    assert pair.refresh_expires == BORN + 4 * 86_000 + 86_400


def test_a_pair_without_refresh_token_cannot_be_refreshed():
    """RT-06"""
    grant, pair = exchanged(refresh_digest=None, refresh_expires=None)
    assert judge_refresh(grant, pair, pair, REFRESH, issuance("second")) == Expired()


@pytest.mark.parametrize(
    "scopes", [("verify", "autologin"), ("autologin", "verify"), ("verify",), ("autologin",)]
)
def test_the_same_or_a_narrower_scope_may_be_asked_for(scopes):
    """RT-07"""
    grant, pair = exchanged()
    grant, _, second = refreshed(grant, pair, "second", BORN, attrs.evolve(REFRESH, scopes=scopes))
    assert second.scopes == scopes
    token = access_token(grant, second)
    assert token is not None
    assert token.scopes == scopes


def test_a_narrower_access_token_does_not_narrow_the_grant():
    """RT-07, ARCHITECTURE: the next refresh token keeps the full scope"""
    grant, pair = exchanged()
    grant, _, second = refreshed(grant, pair, "second", BORN, attrs.evolve(REFRESH, scopes=("verify",)))
    assert grant.scopes == GRANT.scopes
    _, _, third = refreshed(grant, second, "third", BORN)
    assert third.scopes == GRANT.scopes


@pytest.mark.parametrize(
    "scopes", [("verify", "admin"), ("admin",), ("VERIFY",), ("verify", "autologin", "x")]
)
def test_a_wider_scope_is_refused_and_the_token_stays_good(scopes):
    """RT-07, RT-09"""
    grant, pair = exchanged()
    outcome = judge_refresh(grant, pair, pair, attrs.evolve(REFRESH, scopes=scopes), issuance("second"))
    assert isinstance(outcome, Refused)
    assert outcome.invalid_scope
    assert isinstance(judge_refresh(grant, pair, pair, REFRESH, issuance("third")), Issued)


def test_an_expired_refresh_token_says_nothing_of_scopes():
    grant, pair = exchanged()
    proof = attrs.evolve(REFRESH, scopes=("admin",))
    assert judge_refresh(grant, pair, pair, proof, issuance("second", BORN + 86400)) == Expired()


@pytest.mark.parametrize("later", [0, 1, 86400, 10**6])
@pytest.mark.parametrize("scopes", [None, ("verify",), ("admin",)])
def test_a_refresh_token_used_again_ends_its_grant(later, scopes):
    """RT-04, RT-05, RT-13: also within the same second, after its expiry, or with another scope"""
    grant, first = exchanged()
    grant, used, second = refreshed(grant, first, "second", BORN)
    proof = attrs.evolve(REFRESH, scopes=scopes)
    outcome = judge_refresh(grant, used, second, proof, issuance("third", BORN + later))
    assert outcome == Replayed(attrs.evolve(grant, revoked=True, expires=0))
    assert access_token(outcome.grant, second) is None


def test_a_refresh_token_used_again_ends_its_grant_though_no_pair_is_live():
    grant, first = exchanged()
    grant, used, _ = refreshed(grant, first, "second", BORN)
    again = issuance("third", BORN, retry_seconds=60)
    assert isinstance(judge_refresh(grant, used, None, REFRESH, again), Replayed)


# Retries of a refresh whose answer was lost.


def retried(later=0, retry_seconds=60, proof=REFRESH, sealed=b"sealed", first_scopes=None):
    grant, first = exchanged()
    asked = attrs.evolve(REFRESH, scopes=first_scopes)
    grant, used, second = refreshed(grant, first, "second", BORN + 100, asked, sealed_answer=sealed)
    again = issuance("third", BORN + 100 + later, retry_seconds=retry_seconds)
    return judge_refresh(grant, used, second, proof, again), grant, second


@pytest.mark.parametrize("later", [0, 1, 59])
def test_an_exact_repeat_soon_after_gets_the_same_answer_again(later):
    """RT-16"""
    outcome, grant, second = retried(later)
    assert outcome == RefreshRetried(grant, second)


@pytest.mark.parametrize(
    ("first_scopes", "scopes"),
    [
        (None, ("autologin", "verify")),
        (("verify", "autologin"), None),
        (("verify",), ("verify",)),
    ],
)
def test_a_repeat_may_name_the_same_scopes_in_other_words(first_scopes, scopes):
    """RT-07, RT-16"""
    outcome, _, second = retried(first_scopes=first_scopes, proof=attrs.evolve(REFRESH, scopes=scopes))
    assert outcome.pair == second


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"later": 60}, id="too-late"),
        pytest.param({"later": 3600}, id="much-too-late"),
        pytest.param({"retry_seconds": 0}, id="no-retries-allowed"),
        pytest.param({"later": -1, "retry_seconds": 0}, id="clock-set-back"),
        pytest.param({"sealed": None}, id="no-answer-kept"),
        pytest.param({"proof": attrs.evolve(REFRESH, scopes=("verify",))}, id="narrower-scope"),
        pytest.param(
            {"proof": attrs.evolve(REFRESH, scopes=("verify", "autologin", "x"))}, id="wider-scope"
        ),
    ],
)
def test_any_other_repeat_ends_the_grant(changes):
    """RT-04, RT-12, RT-16"""
    outcome, grant, _ = retried(**changes)
    assert outcome == Replayed(attrs.evolve(grant, revoked=True, expires=0))


@pytest.mark.parametrize(
    ("before", "after"), [(None, ("verify",)), (("verify",), ("verify",)), (None, ())]
)
def test_a_repeat_is_one_also_where_a_scope_was_taken_from_the_client(before, after):
    """RT-16: it is no sign of a theft. The client gets the tokens that were issued before."""
    grant, first = exchanged()
    asked = attrs.evolve(REFRESH, client_scopes=before)
    grant, used, second = refreshed(grant, first, "second", BORN, asked, sealed_answer=b"sealed")
    again = issuance("third", BORN, retry_seconds=60)
    outcome = judge_refresh(grant, used, second, attrs.evolve(REFRESH, client_scopes=after), again)
    assert outcome == RefreshRetried(grant, second)


def test_a_repeat_by_another_client_is_refused():
    outcome, _, _ = retried(proof=attrs.evolve(REFRESH, client_id="another"))
    assert isinstance(outcome, Refused)


def test_only_the_immediate_predecessor_may_be_repeated():
    """RT-12, RT-13: an older generation ends the grant, within the same second too"""
    grant, first = exchanged(retry_seconds=60, sealed_answer=b"sealed")
    grant, first, second = refreshed(grant, first, "second", BORN, sealed_answer=b"sealed")
    grant, second, third = refreshed(grant, second, "third", BORN, sealed_answer=b"sealed")
    again = issuance("fourth", BORN, retry_seconds=60)
    assert judge_refresh(grant, second, third, REFRESH, again) == RefreshRetried(grant, third)
    assert isinstance(judge_refresh(grant, first, third, REFRESH, again), Replayed)


def test_a_repeat_of_a_token_that_only_its_family_knows():
    """RT-16"""
    grant, first = exchanged()
    grant, _, second = refreshed(grant, first, "second", BORN + 100, sealed_answer=b"sealed")
    again = issuance("third", BORN + 159, retry_seconds=60)
    assert judge_refresh(grant, None, second, REFRESH, again) == RefreshRetried(grant, second)
    late = issuance("third", BORN + 160, retry_seconds=60)
    assert isinstance(judge_refresh(grant, None, second, REFRESH, late), Replayed)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"retry_seconds": 0}, False),
        ({"sealed_answer": None}, False),
    ],
)
def test_an_answer_is_kept_where_it_may_be_asked_for(changes, kept):
    grant, first = exchanged()
    ready = issuance("second", BORN, **{"retry_seconds": 60, "sealed_answer": b"sealed", **changes})
    outcome = issued(judge_refresh(grant, first, None, REFRESH, ready))
    assert keeps_answer(outcome.pair, ready) is kept
    assert not keeps_answer(first, ready)


def test_the_first_pair_of_a_grant_repeats_nothing():
    """A used token without digest must not match a pair without predecessor."""
    grant, first = exchanged(sealed_answer=b"sealed")
    stray = attrs.evolve(first, rotated=True, refresh_digest=None)
    again = issuance("second", BORN, retry_seconds=60)
    assert isinstance(judge_refresh(grant, stray, first, REFRESH, again), Replayed)


# The tokens of a grant.


def test_an_access_token_shows_what_it_is_good_for():
    """IN-01"""
    grant, pair = exchanged()
    assert access_token(grant, pair) == AccessToken(
        client_id="a-client",
        user=GRANT.owner,
        scopes=("verify", "autologin"),
        issued=BORN,
        expires=BORN + 3600,
        grant_id="a-grant",
    )


def test_a_revoked_or_replaced_access_token_is_none():
    """RT-01, RT-18"""
    grant, pair = exchanged()
    assert access_token(revoked(grant), pair) is None
    assert access_token(grant, attrs.evolve(pair, access_revoked=True)) is None
    assert access_token(grant, attrs.evolve(pair, rotated=True)) is None


def test_a_revoked_access_token_does_not_end_its_refresh_token():
    """RT-18, INTERFACE: an access token takes only itself"""
    grant, pair = exchanged()
    outcome = judge_refresh(
        grant, attrs.evolve(pair, access_revoked=True), pair, REFRESH, issuance("second")
    )
    assert isinstance(outcome, Issued)
    assert access_token(outcome.grant, outcome.pair) is not None


def test_a_revoked_grant_may_be_pruned_at_once_and_keeps_the_rest():
    assert revoked(USED) == attrs.evolve(USED, revoked=True, expires=0)
    assert revoked(revoked(USED)) == revoked(USED)


@pytest.mark.parametrize(
    ("names", "covered"),
    [
        ((), True),
        (("verify",), True),
        (("verify", "autologin"), True),
        (("autologin", "verify", "verify"), True),
        (("admin",), False),
        (("verify", "admin"), False),
        (("VERIFY",), False),
    ],
)
def test_an_access_token_covers_its_scopes(names, covered):
    """BG-04, BG-05"""
    token = access_token(*exchanged())
    assert token is not None
    assert token.has_scope(*names) is covered


def test_digests_and_verifiers_do_not_show_in_what_is_logged():
    """U-03"""
    grant, pair = exchanged(sealed_answer=b"sealed")
    shown = repr((grant, pair, PROOF, issuance(sealed_answer=b"sealed")))
    for secret in (GRANT.code_digest, pair.access_digest, pair.refresh_digest, b"sealed"):
        assert repr(secret) not in shown
    assert VERIFIER not in shown


# Any order of events.

events = st.lists(
    st.tuples(
        st.sampled_from(["code", "newest", "older", "stranger", "wider"]),
        st.integers(min_value=0, max_value=50_000),
    ),
    max_size=12,
)


@given(events, st.sampled_from([0, 60]))
def test_at_most_one_access_token_of_a_grant_is_good_at_any_time(steps, retry_seconds):
    """CG-05, RT-05, RT-09: a small store, whose steps come in any order"""
    grant, now = GRANT, BORN
    pairs: list[TokenPair] = []
    for number, (event, pause) in enumerate(steps):
        now += pause
        ready = issuance(str(number), now, retry_seconds=retry_seconds, sealed_answer=b"sealed")
        if event == "code" or not pairs:
            presented, outcome = None, judge_code(grant, PROOF, ready)
        else:
            presented = pairs[0] if event == "older" else pairs[-1]
            proof = attrs.evolve(
                REFRESH,
                client_id="another" if event == "stranger" else "a-client",
                scopes=("admin",) if event == "wider" else None,
            )
            outcome = judge_refresh(grant, presented, pairs[-1], proof, ready)
        if grant.revoked:
            assert outcome == Unknown()
        match outcome:
            case Issued(grant, pair):
                if presented is not None:
                    pairs[pairs.index(presented)] = attrs.evolve(presented, rotated=True)
                pairs.append(pair)
            case Replayed(grant):
                assert grant.revoked
            case RefreshRetried(_, pair):
                assert pair == pairs[-1]
        good = [pair for pair in pairs if access_token(grant, pair)]
        assert good == ([] if grant.revoked else pairs[-1:])
        assert all(pair.access_expires <= grant.expires for pair in good)
