"""The ledger: what the certification suite would say of each of its modules, and our test of that name.

A module that is FAILED blocks a certification; WARNING and SKIPPED do not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PASSED, WARNING, SKIPPED = "PASSED", "WARNING", "SKIPPED"

#: Of tokens, claims, codes and discovery: the modules of the Basic OP and Config OP plans.
MODULES = {
    "oidcc-server": PASSED,
    "oidcc-alternate-happy-flow": PASSED,
    "oidcc-response-type-missing": PASSED,
    "oidcc-idtoken-signature": PASSED,
    "oidcc-ensure-request-without-nonce-succeeds-for-code-flow": PASSED,
    "oidcc-userinfo-get": PASSED,
    "oidcc-userinfo-post-header": PASSED,
    "oidcc-userinfo-post-body": WARNING,
    "oidcc-scope-profile": PASSED,
    "oidcc-scope-email": PASSED,
    "oidcc-scope-address": SKIPPED,
    "oidcc-scope-phone": SKIPPED,
    "oidcc-scope-all": SKIPPED,
    "oidcc-codereuse": PASSED,
    "oidcc-codereuse-30seconds": PASSED,
    "oidcc-ensure-registered-redirect-uri": PASSED,
    "oidcc-server-client-secret-post": PASSED,
    "oidcc-refresh-token": PASSED,
    "oidcc-ensure-request-with-valid-pkce-succeeds": PASSED,
    "oidcc-discovery-endpoint-verification": PASSED,
}

#: For clients that are registered by the suite itself, which this server does not allow.
NOT_APPLICABLE = ("oidcc-idtoken-unsigned",)


def named() -> set[str]:
    """The names of all tests of this folder, as functions or as parameters."""
    text = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    functions = {name.replace("_", "-") for name in re.findall(r"^def test_(oidcc_\w+)", text, re.M)}
    return functions | set(re.findall(r'id="(oidcc-[\w-]+)"', text))


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_a_test_of_its_name(module: str) -> None:
    assert module in named()
    assert module not in NOT_APPLICABLE
