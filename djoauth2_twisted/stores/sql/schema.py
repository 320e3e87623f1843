"""The tables. Every name starts with ``djoauth2_``, so that a host application's own may stand beside.

Times are integer seconds since the epoch, and values that tell one row from another are compared as
bytes on every engine.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

#: The newest migration. A server works with this one and no other.
HEAD = "0005"
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


def is_storable(text: str) -> bool:
    """Whether every engine could keep a text: it is UTF-8, and without a NUL, as PostgreSQL wants."""
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


class Identifier(sa.TypeDecorator[str]):
    """A name of at most 255 bytes that is compared, and sorted, byte by byte.

    MySQL's collations would find ``ABC`` for ``abc`` and, even the binary ones, ``abc`` for ``abc ``,
    so there it is VARBINARY.
    """

    impl = sa.String(255)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(sa.VARBINARY(255))
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(sa.String(255, collation))

    def coerce_compared_value(self, op: Any, value: Any) -> Sought:
        return Sought()

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if not is_storable(value):
            raise ValueError("a name with a NUL, or that is no UTF-8, cannot be stored")
        return value.encode("utf-8") if dialect.name in _MYSQL else value

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
    return sa.LargeBinary(32).with_variant(sa.VARBINARY(32), *_MYSQL)


def image_type() -> sa.types.TypeEngine[bytes]:
    """A picture, of less than 64 KiB."""
    return sa.LargeBinary().with_variant(sa.BLOB(), *_MYSQL)


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
    # The secret before the last rotation, which is good for a while longer.
    sa.Column("previous_secret_digest", digest_type()),
    sa.Column("previous_secret_expires", sa.BigInteger),
    sa.Column("image_digest", digest_type()),  # of what is in the next table
)

image = sa.Table(
    "djoauth2_image",
    metadata,
    sa.Column("client_id", Identifier, primary_key=True),
    sa.Column("media_type", sa.String(32), nullable=False),
    sa.Column("content", image_type(), nullable=False),
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
    sa.Column("subject", Identifier),  # the name where it is NULL
    # They are few among many, and are looked for, and locked, together.
    sa.Index("ix_djoauth2_user_admin", "admin", "username"),
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
    sa.Column("client_id", Identifier, nullable=False),
    sa.Column("username", Identifier, nullable=False),
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
    # None in a grant that was made before there were families, until its next refresh.
    sa.Column("family_digest", digest_type()),
    sa.Column("refresh_ended", sa.Boolean),
    # Of a client, the oldest first.
    sa.Index("ix_djoauth2_grant_client", "client_id", "revoked", "created", "id"),
    # Of a user: all, those with a client, and of these the ones that were used least recently.
    sa.Index("ix_djoauth2_grant_owner", "username", "revoked", "client_id", "last_used"),
    sa.Index("ix_djoauth2_grant_family", "family_digest", unique=True),
)

# Of each grant the pair that is live; and those rotated before there were families, which stay to show
# that they are used again.
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
)

# Answers that may be asked for again for a moment, by the refresh token that they were given for.
retry = sa.Table(
    "djoauth2_retry",
    metadata,
    sa.Column("digest", digest_type(), primary_key=True),
    sa.Column("access_digest", digest_type(), nullable=False),  # of the pair that was issued
    sa.Column("sealed_answer", sa.LargeBinary, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

lease = sa.Table(
    "djoauth2_lease",
    metadata,
    sa.Column("name", Identifier, primary_key=True),
    sa.Column("holder", Identifier, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

failure = sa.Table(
    "djoauth2_failure",
    metadata,
    sa.Column("place", digest_type(), primary_key=True),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False, index=True),
)

# The audit trail: who did what, when and from where.
event = sa.Table(
    "djoauth2_event",
    metadata,
    sa.Column("id", Identifier, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False, index=True),  # in milliseconds
    sa.Column("actor", Identifier, nullable=False),
    sa.Column("action", Identifier, nullable=False),
    sa.Column("subject", Identifier, nullable=False),
    sa.Column("address", Identifier, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)

# How often something happened in an hour, for the plots.
statistics = sa.Table(
    "djoauth2_tally",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", Identifier, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

# Counters, one for each part of the grants, that rise whenever one of that part is ended or rotated.
change = sa.Table(
    "djoauth2_change",
    metadata,
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("counter", sa.BigInteger, nullable=False),
)


def create(connection: sa.Connection) -> None:
    """Make today's tables."""
    if connection.dialect.name in _MYSQL:
        # Not in the tables above, for SQLAlchemy loads each dialect that a table has options of.
        for table in metadata.tables.values():
            table.dialect_kwargs.update(MYSQL_TABLE)
    metadata.create_all(connection, checkfirst=False)
