"""The check of the key file, and of the signing keys that are sealed under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from ...conf import Settings
from ...finding import Finding, warning
from ...key_file import KeyFile, ServerKeys
from ...key_ring import SealedKeys, wrong_file
from ...models import SigningKey
from ...parts import check_second_factors
from ...protocol.key_states import CURRENT
from .faults import faults_of

#: How long a key may sign beyond its time, in seconds: servers may be stopped for a while.
GRACE = 86400


def judge_keys(
    settings: Settings, files: ServerKeys, stored: Sequence[SigningKey], keeps_logins: bool, now: float
) -> list[Finding]:
    """Judge the key file and the signing keys. Nothing is made or changed.

    :param stored: the signing keys of the registry.
    :param keeps_logins: whether users and their logins are those of the registry.
    :param now: in seconds since the epoch.
    """
    findings = faults_of(partial(check_second_factors, settings, files, keeps_logins))
    if not settings.openid:
        return findings + faults_of(files.check)
    sealed = [key for key in stored if key.sealed_private is not None]
    found: list[KeyFile] = []
    findings += faults_of(lambda: found.extend(_existing(files, is_needed=bool(sealed))))
    for file in found:
        for key in sealed:
            findings += faults_of(partial(SealedKeys(file).unseal, key))
    return [*findings, *_judge_age(settings.openid_key_rotation, stored, now)]


def _existing(files: ServerKeys, is_needed: bool) -> Iterator[KeyFile]:
    """The key file; none where the server makes it when it starts.

    :raises ConfigurationError: it cannot be used, or it is needed and missing.
    """
    if files.path is not None and not files.path.exists():
        if is_needed:
            raise wrong_file(f"the key file {files.path} is missing,")
        if not files.named:
            return
    yield files.open_existing()


def _judge_age(rotation: int, stored: Sequence[SigningKey], now: float) -> Iterator[Finding]:
    for key in stored:
        due = (key.signs_from or 0) + rotation
        if rotation and key.state == CURRENT and due + GRACE <= now:
            since = datetime.fromtimestamp(key.signs_from or 0, UTC).date()
            fault = f"the {key.algorithm} key {key.kid} signs since {since}, longer than it should"
            mend = "Let a server with OPENID run on this database, which replaces the key"
            yield warning(fault, mend, "openid_key_rotation")
