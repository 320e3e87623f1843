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


#: The engines that are written MySQL in SQLAlchemy's names.
_MYSQL = ("mysql", "mariadb")

#: How MySQL and MariaDB are to make our tables: transactional, and for all of Unicode.
MYSQL_TABLE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class Identifier(sa.TypeDecorator[str]):
    """A name of at most 255 bytes that is compared, and sorted, byte by byte.

    MySQL's collations would find ``ABC`` for ``abc`` and, even the binary ones, ``abc`` for ``abc ``,
    so there it is VARBINARY.
    """

    impl = sa.String(255)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.VARBINARY(255))
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(sa.String(255, collation))

    def coerce_compared_value(self, op: Any, value: Any) -> Sought:
        return Sought()

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        # What is not UTF-8 is refused everywhere, and a NUL, which PostgreSQL does not take.
        encoded = value.encode("utf-8")
        if b"\0" in encoded:
            raise ValueError("a name with a NUL cannot be stored")
        return encoded if dialect.name in _MYSQL else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return value.decode("utf-8") if isinstance(value, bytes) else value


class Sought(Identifier):
    """A name that is looked for. One that cannot be stored is not an error, but nobody's."""

    cache_ok = True
    _nobody = "\N{REPLACEMENT CHARACTER}" * 256  # too long to be anyone's

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        try:
            return super().process_bind_param(value, dialect)
        except ValueError:
            return super().process_bind_param(self._nobody, dialect)


def digest_type() -> sa.types.TypeEngine[bytes]:
    """A SHA-256: 32 bytes."""
    return sa.LargeBinary(32).with_variant(mysql.VARBINARY(32), *_MYSQL)


metadata = sa.MetaData()

client = sa.Table(
    "djoauth2_client",
    metadata,
    sa.Column("client_id", Identifier, primary_key=True),
    sa.Column("name", Identifier, nullable=False, index=True),
    sa.Column("secret_digest", digest_type(), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("redirect_uris", sa.JSON, nullable=False),
    sa.Column("scopes", sa.JSON(none_as_null=True)),
    sa.Column("resource_server", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    **MYSQL_TABLE,
)

scope = sa.Table(
    "djoauth2_scope",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    **MYSQL_TABLE,
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
    **MYSQL_TABLE,
)

session = sa.Table(
    "djoauth2_session",
    metadata,
    sa.Column("digest", digest_type(), primary_key=True),
    sa.Column("username", Identifier, nullable=False, index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
    **MYSQL_TABLE,
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
    **MYSQL_TABLE,
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
    **MYSQL_TABLE,
)

lease = sa.Table(
    "djoauth2_lease",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("holder", Identifier, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    **MYSQL_TABLE,
)

failure = sa.Table(
    "djoauth2_failure",
    metadata,
    sa.Column("place", digest_type(), primary_key=True),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, index=True),
    **MYSQL_TABLE,
)
