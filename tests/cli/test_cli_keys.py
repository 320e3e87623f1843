"""``djoauth2 keys``."""

from __future__ import annotations

import json

from command_line import NOW, CommandLine
from waiting import result_of

from djoauth2_twisted.models import Page


def test_keys_are_made_rotated_and_retired(djoauth2: CommandLine) -> None:
    """A rotation by hand needs keys that all caches have. A retired key can go."""
    assert djoauth2.json("keys", "list") == []
    line = djoauth2.fails("keys", "rotate")
    assert line.startswith("the next keys are not in every cache of the key set: wait ")
    made = djoauth2.json("keys", "list")
    assert sorted((key["algorithm"], key["state"]) for key in made) == [
        ("ES256", "current"),
        ("ES256", "next"),
        ("RS256", "current"),
        ("RS256", "next"),
    ]
    signing = {key["algorithm"]: key["kid"] for key in made if key["state"] == "current"}
    coming = {key["algorithm"]: key["kid"] for key in made if key["state"] == "next"}
    left = djoauth2.json("keys", "retire", signing["RS256"])
    states = {key["kid"]: key["state"] for key in left}
    assert states[signing["RS256"]] == "retired"
    assert states[coming["RS256"]] == "current"
    left = djoauth2.json("keys", "retire", signing["RS256"])
    assert signing["RS256"] not in {key["kid"] for key in left}
    trail = result_of(djoauth2.administration.registry.events(Page()))
    assert [event.action for event in trail] == ["keys retire", "keys retire"]


def test_keys_are_listed_without_their_private_halves(djoauth2: CommandLine) -> None:
    djoauth2.fails("keys", "rotate")
    printed = djoauth2.done("keys", "list") + json.dumps(djoauth2.json("keys", "list"))
    for key in result_of(djoauth2.administration.registry.signing_keys()):
        assert key.kid in printed
        assert key.sealed_private is not None
        assert key.sealed_private.hex()[:20] not in printed
        assert key.created >= NOW
    assert '"d"' not in printed


def test_an_unknown_key_is_not_retired(djoauth2: CommandLine) -> None:
    assert djoauth2.fails("keys", "retire", "unknown") == "there is no signing key 'unknown'"
