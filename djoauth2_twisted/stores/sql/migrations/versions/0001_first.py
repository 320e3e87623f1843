"""Clients, scopes, users, sessions, grants and tokens; leases and failures."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, Identifier, digest_type

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "djoauth2_client",
        sa.Column("client_id", Identifier, primary_key=True),
        sa.Column("name", Identifier, nullable=False, index=True),
        sa.Column("secret_digest", digest_type(), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("image_url", sa.Text, nullable=False),
        sa.Column("redirect_uris", sa.JSON, nullable=False),
        sa.Column("scopes", sa.JSON),
        sa.Column("resource_server", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_scope",
        sa.Column("name", Identifier, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_user",
        sa.Column("username", Identifier, primary_key=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("first_name", sa.String(255), nullable=False),
        sa.Column("last_name", sa.String(255), nullable=False),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_session",
        sa.Column("digest", digest_type(), primary_key=True),
        sa.Column("username", Identifier, nullable=False, index=True),
        sa.Column("profile", sa.JSON, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False, index=True),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_grant",
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
    op.create_table(
        "djoauth2_token",
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
    op.create_table(
        "djoauth2_lease",
        sa.Column("name", Identifier, primary_key=True),
        sa.Column("holder", Identifier, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_failure",
        sa.Column("place", digest_type(), primary_key=True),
        sa.Column("level", sa.Float, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False, index=True),
        **MYSQL_TABLE,
    )
