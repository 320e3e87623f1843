"""OpenID Connect: what ID tokens say, and how clients want them; signing keys."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, Identifier

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("djoauth2_client", sa.Column("id_token_alg", sa.String(16)))
    op.add_column("djoauth2_client", sa.Column("post_logout_redirect_uris", sa.JSON(none_as_null=True)))
    op.add_column("djoauth2_client", sa.Column("backchannel_logout_uri", sa.Text))
    op.add_column("djoauth2_user", sa.Column("email_verified", sa.Boolean))
    op.add_column("djoauth2_user", sa.Column("updated_at", sa.BigInteger))
    op.add_column("djoauth2_grant", sa.Column("nonce", sa.Text))
    op.add_column("djoauth2_grant", sa.Column("auth_time", sa.BigInteger))
    op.add_column("djoauth2_grant", sa.Column("sid", sa.String(43)))
    op.create_table(
        "djoauth2_signing_key",
        sa.Column("kid", Identifier, primary_key=True),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("slot", Identifier, unique=True),
        sa.Column("public", sa.JSON, nullable=False),
        sa.Column("sealed_private", sa.LargeBinary),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("signs_from", sa.BigInteger),
        sa.Column("retired", sa.BigInteger),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_subject",
        sa.Column("subject", Identifier, primary_key=True),
        sa.Column("username", Identifier, unique=True),
        **MYSQL_TABLE,
    )
