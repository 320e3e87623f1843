"""Refresh tokens are known by their family, and answers for a retry are kept apart, for a moment."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, digest_type

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("djoauth2_grant", sa.Column("family_digest", digest_type()))
    op.add_column("djoauth2_grant", sa.Column("refresh_ended", sa.Boolean))
    op.create_index("ix_djoauth2_grant_family", "djoauth2_grant", ["family_digest"], unique=True)
    op.create_index(
        "ix_djoauth2_grant_owner", "djoauth2_grant", ["username", "revoked", "client_id", "last_used"]
    )
    op.create_index(
        "ix_djoauth2_grant_client", "djoauth2_grant", ["client_id", "revoked", "created", "id"]
    )
    op.drop_index("ix_djoauth2_grant_username", "djoauth2_grant")
    op.drop_index("ix_djoauth2_grant_client_id", "djoauth2_grant")
    # With all the answers in it: none of them may outlive its moment.
    op.drop_column("djoauth2_token", "sealed_answer")
    op.create_table(
        "djoauth2_retry",
        sa.Column("digest", digest_type(), primary_key=True),
        sa.Column("access_digest", digest_type(), nullable=False),
        sa.Column("sealed_answer", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False, index=True),
        **MYSQL_TABLE,
    )
