"""A second secret for a while, pictures, the audit trail, tallies, and counters of what was ended."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, Identifier, digest_type, image_type

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("djoauth2_client", sa.Column("previous_secret_digest", digest_type()))
    op.add_column("djoauth2_client", sa.Column("previous_secret_expires", sa.BigInteger))
    op.add_column("djoauth2_client", sa.Column("image_digest", digest_type()))
    op.create_table(
        "djoauth2_image",
        sa.Column("client_id", Identifier, primary_key=True),
        sa.Column("media_type", sa.String(32), nullable=False),
        sa.Column("content", image_type(), nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_event",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False, index=True),
        sa.Column("actor", Identifier, nullable=False),
        sa.Column("action", Identifier, nullable=False),
        sa.Column("subject", Identifier, nullable=False),
        sa.Column("address", Identifier, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_tally",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", Identifier, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_change",
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        **MYSQL_TABLE,
    )
