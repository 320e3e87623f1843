"""The tables. Every name starts with ``djoauth2_``, so that a host application's own may stand beside.

Times are integer seconds since the epoch, and values that tell one row from another are compared as
bytes on every engine.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

#: The newest migration. A server works with this one and no other.
HEAD = "0001"
VERSION_TABLE = "djoauth2_alembic_version"


class Identifier(sa.TypeDecorator[str]):
    """A name of at most 255 bytes that is compared byte by byte.

    MySQL's collations would find ``ABC`` for ``abc`` and, even the binary ones, ``abc`` for ``abc ``,
    so there it is VARBINARY. What was no UTF-8 when it was sent (a lone surrogate) equals nothing.
    """

    impl = sa.String(255)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.VARBINARY(255))
        return dialect.type_descriptor(sa.String(255))

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        try:
            encoded = value.encode("utf-8")
        except UnicodeEncodeError:
            return None
        return encoded if dialect.name in {"mysql", "mariadb"} else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return value.decode("utf-8") if isinstance(value, bytes) else value


def digest_type() -> sa.types.TypeEngine[bytes]:
    """A SHA-256: 32 bytes."""
    return sa.LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql", "mariadb")


metadata = sa.MetaData()

client = sa.Table(
    "djoauth2_client",
    metadata,
    sa.Column("client_id", Identifier, primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("secret_digest", digest_type(), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("redirect_uris", sa.JSON, nullable=False),
    sa.Column("scopes", sa.JSON(none_as_null=True)),
    sa.Column("resource_server", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
)

scope = sa.Table(
    "djoauth2_scope",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
)

user = sa.Table(
    "djoauth2_user",
    metadata,
    sa.Column("username", Identifier, primary_key=True),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("email", sa.String(255), nullable=False),
    sa.Column("first_name", sa.String(255), nullable=False),
    sa.Column("last_name", sa.String(255), nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
)

session = sa.Table(
    "djoauth2_session",
    metadata,
    sa.Column("digest", digest_type(), primary_key=True),
    sa.Column("username", Identifier, nullable=False, index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

grant = sa.Table(
    "djoauth2_grant",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("client_id", Identifier, nullable=False, index=True),
    sa.Column("username", Identifier, nullable=False, index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False, index=True),
    sa.Column("last_used", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
    sa.Column("code_digest", digest_type(), nullable=False, unique=True),
    sa.Column("code_expires", sa.BigInteger, nullable=False),
    sa.Column("redirect_uri", sa.Text),
    sa.Column("code_challenge", sa.String(43)),
    sa.Column("code_used", sa.Boolean, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False),
)

token = sa.Table(
    "djoauth2_token",
    metadata,
    sa.Column("access_digest", digest_type(), primary_key=True),
    sa.Column("access_expires", sa.BigInteger, nullable=False),
    sa.Column("refresh_digest", digest_type(), unique=True),
    sa.Column("refresh_expires", sa.BigInteger),
    sa.Column("grant_id", Identifier, nullable=False, index=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("issued", sa.BigInteger, nullable=False),
    sa.Column("access_revoked", sa.Boolean, nullable=False),
    sa.Column("rotated", sa.Boolean, nullable=False),
    sa.Column("predecessor", digest_type()),
    sa.Column("sealed_answer", sa.LargeBinary),
)
