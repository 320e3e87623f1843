"""The command line over the memory stores, in this process and without a run of the reactor."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from click.testing import CliRunner, Result
from twisted.internet.task import Clock
from waiting import result_of

from djoauth2_twisted.administration import Administration
from djoauth2_twisted.cli import main
from djoauth2_twisted.credentials import digest
from djoauth2_twisted.key_file import ServerKeys
from djoauth2_twisted.key_ring import KeyRing
from djoauth2_twisted.models import CodeProof, Grant, Issuance, Issued, ResourceOwner
from djoauth2_twisted.protocol.key_states import Rules

NOW = 1_700_000_000
FAR = 4_000_000_000


@attrs.define
class MemoryStore:
    """Stands where the commands expect a `djoauth2_twisted.cli.running.Store`."""

    administration: Administration
    file: Mapping[str, Any] = attrs.field(factory=dict)

    def run(self, action: Callable[[Administration], Awaitable[Any]]) -> Any:
        return result_of(action(self.administration))

    def key_ring(self, administration: Administration) -> KeyRing:
        rules = Rules(administration.settings.openid_key_rotation, 3600)
        files, seconds = ServerKeys("", None), administration.seconds
        return KeyRing(Clock(), administration.registry, files, rules, seconds)


@attrs.define
class CommandLine:
    """Runs `djoauth2` and looks at what it left in the stores."""

    administration: Administration

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        return CliRunner().invoke(
            main, arguments, input=stdin, obj=MemoryStore(self.administration), catch_exceptions=False
        )

    def done(self, *arguments: str, stdin: str | bytes = b"") -> str:
        """What a command prints that succeeds."""
        result = self(*arguments, stdin=stdin)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def json(self, *arguments: str, stdin: str | bytes = b"") -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.done(*arguments, "--json", stdin=stdin))

    def fails(self, *arguments: str, stdin: str | bytes = b"", status: int = 1) -> str:
        """The one line of a command that fails, and prints nothing else."""
        result = self(*arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr.startswith("djoauth2: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("djoauth2: ").rstrip("\n")

    def find_client(self, client_id: str) -> Any:
        return result_of(self.administration.registry.find_client(client_id))

    def find_user(self, username: str) -> Any:
        return result_of(self.administration.registry.find_user(username))

    def add_grant(
        self,
        name: str,
        *,
        username: str = "alice",
        client_id: str = "a-client",
        scopes: tuple[str, ...] = ("user_info",),
        created: int = NOW,
        expires: int = FAR,
        exchanged: bool = True,
    ) -> None:
        """A grant of which the code is used; its tokens are "access-NAME" and "refresh-NAME".

        :param exchanged: False for a grant that has only its code, "code-NAME".
        """
        grant = Grant(
            id=name,
            client_id=client_id,
            owner=ResourceOwner(username),
            scopes=scopes,
            created=created,
            last_used=created,
            expires=expires,
            code_digest=digest(f"code-{name}"),
            code_expires=expires,
            redirect_uri=None,
            code_challenge=None,
        )
        issuance = Issuance(
            now=created,
            access_digest=digest(f"access-{name}"),
            access_expires=expires,
            refresh_digest=digest(f"refresh-{name}"),
            refresh_expires=expires,
        )
        assert result_of(self.administration.tokens.add_code(grant))
        if not exchanged:
            return
        proof = CodeProof(client_id, None, None)
        redeemed = self.administration.tokens.redeem_code(grant.code_digest, proof, issuance)
        assert isinstance(result_of(redeemed), Issued)

    def find_access_token(self, grant: str) -> Any:
        return result_of(self.administration.tokens.find_access_token(digest(f"access-{grant}")))
