"""Sessions know when, from where and how the user logged in; users may have a second factor."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, Identifier, digest_type, sealed_type

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("djoauth2_session", sa.Column("auth_time", sa.BigInteger))
    op.add_column("djoauth2_session", sa.Column("address", Identifier))
    op.add_column("djoauth2_session", sa.Column("second_factor", sa.Boolean))
    op.create_table(
        "djoauth2_second_factor",
        sa.Column("subject", Identifier, primary_key=True),
        sa.Column("sealed", sealed_type(), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        **MYSQL_TABLE,
    )
    op.create_table(
        "djoauth2_recovery_code",
        sa.Column("subject", Identifier, primary_key=True),
        sa.Column("digest", digest_type(), primary_key=True),
        **MYSQL_TABLE,
    )
