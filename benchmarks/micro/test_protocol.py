"""What is done for each request without waiting: parse, judge, hash, sign, render."""

import pytest

from djoauth2_twisted.conf import Settings
from djoauth2_twisted.credentials import digest, random_string, refresh_token
from djoauth2_twisted.models import Issued, RefreshProof
from djoauth2_twisted.parameters import parse
from djoauth2_twisted.protocol import bearer, client_authentication, id_token, jose, pkce
from djoauth2_twisted.protocol.grants import judge_code, judge_refresh
from djoauth2_twisted.stores.contract import (
    CHALLENGE,
    VERIFIER,
    new_client,
    new_grant,
    new_issuance,
    pair_of,
    proof_of,
)
from djoauth2_twisted.web.brand import Brand
from djoauth2_twisted.web.pages import Pages

TOKEN = random_string(30)
FORM = b"grant_type=refresh_token&refresh_token=%b&scope=read+write" % TOKEN.encode("ascii")
EXCHANGE = b"&".join(
    [
        b"grant_type=authorization_code",
        b"code=%b" % TOKEN.encode("ascii"),
        b"redirect_uri=https%3A%2F%2Fapp.example%2Fcallback",
        b"code_verifier=%b" % VERIFIER.encode("ascii"),
    ]
)


@pytest.mark.parametrize("form", [FORM, EXCHANGE], ids=["refresh", "exchange"])
def test_parse_form(benchmark, form):
    assert benchmark(parse, form).get("grant_type")


def test_parse_bearer_header(benchmark):
    assert benchmark(bearer.read_token, [b"Bearer " + TOKEN.encode("ascii")]) == TOKEN


def test_digest(benchmark):
    assert len(benchmark(digest, TOKEN)) == 32


def test_random_token(benchmark):
    assert len(benchmark(random_string, 30)) == 30


def test_refresh_token(benchmark):
    assert len(benchmark(refresh_token, "familyab", 30)) == 30


def test_verify_pkce(benchmark):
    assert benchmark(pkce.verify, CHALLENGE, VERIFIER)


def test_judge_code(benchmark):
    grant = new_grant()
    assert isinstance(benchmark(judge_code, grant, proof_of(grant), new_issuance()), Issued)


def test_judge_refresh(benchmark):
    grant, issuance = new_grant(code_used=True), new_issuance()
    pair, proof = pair_of(grant, issuance), RefreshProof(grant.client_id, None)
    assert isinstance(benchmark(judge_refresh, grant, pair, None, proof, new_issuance()), Issued)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_sign_id_token(benchmark, algorithm):
    client, grant, key = new_client(), new_grant(), jose.new_key(algorithm)

    def sign():
        claims = id_token.claims_of(
            "https://as.example", client, grant, TOKEN, issued=0, lifetime=3600, is_first=True
        )
        return key.sign(claims)

    assert benchmark(sign).count(".") == 2


def test_authenticate_client(benchmark):
    credentials = client_authentication.ClientCredentials("client", TOKEN)
    client = new_client(client_id="client", secret_digest=digest(TOKEN))
    assert benchmark(client_authentication.authenticate, client, credentials, 0) is client


def test_render_login_page(benchmark):
    pages = Pages(None, Brand.of(Settings(), "as.example"))
    texts = dict.fromkeys(
        ("mount", "form", "form_action", "logout_form", "logout_action", "next", "message", "username"),
        "",
    )
    page = benchmark(pages.render, "en", "login.html", {**texts, "owner": None, "client": None})
    assert page.endswith("</html>")
