"""Clients get notices of logouts; a login keeps its name for clients when the user logs in again."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE, Identifier

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("djoauth2_session", sa.Column("sid", Identifier))
    op.create_table(
        "djoauth2_logout",
        sa.Column("id", Identifier, primary_key=True),
        sa.Column("username", Identifier, nullable=False),
        sa.Column("subject", Identifier, nullable=False),
        sa.Column("sid", Identifier),
        sa.Column("client_id", Identifier, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        **MYSQL_TABLE,
    )
