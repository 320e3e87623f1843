"""All findings on one configuration: those of the start, and those of ``--check``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ...conf import Settings
from ...finding import Finding, Weight
from ...hints import repeat_options, without_password
from ...key_file import ServerKeys
from ...printable import printable
from ...stores.urls import Opened, from_url
from ...web.brand import Brand
from ...web.pages import Pages
from ..endpoint_strings import HardenedEndpoint, check_reachable
from .certificates import Chain, judge_chain, judge_names
from .faults import faults_of
from .files import has_private_key, judge_secret, judge_trusted, usual_owners
from .keys import judge_keys
from .settings import judge_settings


@frozen(kw_only=True)
class Configuration:
    """What is judged.

    :param endpoints: the ports, as they are named to people, and their endpoints.
    :param file: the path of the configuration file; empty if there is none.
    :param values: what the configuration file says.
    :param password_files: the files of ``--auth file:``.
    :param has_checkers: whether ``--auth`` is given, so that users are not those of the database.
    :param database: the URL of the database.
    :param token_store: the URL of another store for the tokens.
    :param server_user: the number of the user that the server becomes; None if it stays this one.
    """

    settings: Settings
    issuer: str
    ports: Sequence[str]
    endpoints: Sequence[tuple[str, HardenedEndpoint]]
    database: str
    token_store: str | None = None
    templates: str | None = None
    file: str = ""
    values: Mapping[str, Any] = {}
    password_files: Sequence[Path] = ()
    has_checkers: bool = False
    server_user: int | None = None

    def judge(self, store: Opened) -> list[Finding]:
        """What is judged at every start too: all but the stores, which their opening judges.

        :param store: the stores that the start has made.
        """
        return self._judge_but_stores(store)

    async def judge_all(self, reactor: IReactorTime) -> list[Finding]:
        """What can be judged without a start. A step that fails is a finding."""
        stores: list[Opened] = []
        findings = faults_of(lambda: stores.append(self._stores(reactor)))
        findings += faults_of(lambda: Pages(self.templates, Brand.of(self.settings)))
        findings += self._judge_but_stores(*stores)
        for store in stores:
            judged = await store.judge()
            # What concerns a setting that is off is not a finding.
            findings += [each for each in judged if each.about != "openid" or self.settings.openid]
            findings += self._judge_keys(store, reactor.seconds())
        # A start, too, finds this after all else.
        findings += faults_of(lambda: check_reachable(self.ports, self.settings))
        return findings

    def _judge_keys(self, store: Opened, now: float) -> list[Finding]:
        files = ServerKeys(self.settings.openid_key_file, store.key_file())
        stored = store.signing_keys_at_rest()
        return judge_keys(self.settings, files, stored, not self.has_checkers, now)

    def _stores(self, reactor: IReactorTime) -> Opened:
        return from_url(reactor, self.database, self.token_store)[0]

    def _judge_but_stores(self, *stores: Opened) -> list[Finding]:
        return [
            *judge_settings(self.settings, self.ports, self.issuer),
            *self._judge_certificates(datetime.now(UTC)),
            *self._judge_files(path for store in stores for path in self._secrets_of(store)),
        ]

    def _secrets_of(self, store: Opened) -> Iterator[Path]:
        yield from store.files()
        key_file = self.settings.openid_key_file or store.key_file()
        if key_file is not None:
            yield Path(key_file)

    def _judge_certificates(self, now: datetime) -> Iterator[Finding]:
        chains: list[Chain] = []
        for name, endpoint in self.endpoints:
            found: list[Chain] = []
            yield from faults_of(partial(_add_chains, endpoint, found))
            for chain in found:
                yield from judge_chain(name, chain, now)
            chains += found
        host = urlsplit(self.issuer).hostname or ""
        yield from judge_names(chains, host, bool(self.settings.trusted_proxies))

    def _judge_files(self, of_stores: Iterable[Path]) -> Iterator[Finding]:
        owners = usual_owners(self.server_user)
        files = {path for _, endpoint in self.endpoints for path in endpoint.files()}
        secrets = {path for path in files if has_private_key(path)}
        secrets.update(self.password_files, of_stores)
        logos = self.settings.site_logo, self.settings.site_logo_dark
        trusted = files | {Path(name) for name in (self.file, self.templates, *logos) if name}
        if has_password(self.values):
            secrets.add(Path(self.file))
        for path in sorted(secrets):
            yield from judge_secret(path, owners)
        for path in sorted(trusted - secrets):
            yield from judge_trusted(path, owners)


def _add_chains(endpoint: HardenedEndpoint, chains: list[Chain]) -> None:
    chains += endpoint.chains()


def has_password(values: Mapping[str, Any]) -> bool:
    """Whether a configuration file has a password in it: in a URL, or of a checker in memory."""
    texts = [
        text
        for value in values.values()
        for text in (value if isinstance(value, list) else [value])
        if isinstance(text, str)
    ]
    return any(without_password(text) != text or text.startswith("memory:") for text in texts)


def lines_of(
    findings: Sequence[Finding], source_of: Callable[[str], str], options: Mapping[str, str]
) -> list[str]:
    """A line for each finding, the worst first. The same line comes once.

    :param source_of: where the value of a setting or option comes from; empty for a default.
    :param options: see `repeat_options`.
    """
    lines = []
    for each in sorted(findings, key=lambda each: each.weight):
        text = repeat_options(_with_source(each, source_of), options)
        lines.append(f"{each.weight.name.lower()}: {printable(text)}")
    return list(dict.fromkeys(lines))


def _with_source(finding: Finding, source_of: Callable[[str], str]) -> str:
    source = source_of(finding.about) if finding.about else ""
    return f"{source}: {finding.text}" if source else finding.text


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether the server would not start."""
    return any(each.weight is Weight.ERROR for each in findings)


def warnings_among(findings: Sequence[Finding], source_of: Callable[[str], str]) -> list[str]:
    """What the log says at a start, a line each.

    :param source_of: see `lines_of`.
    """
    return [
        printable(_with_source(each, source_of)) for each in findings if each.weight is Weight.WARNING
    ]
