"""A database knows where its server keeps the tokens."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import MYSQL_TABLE

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "djoauth2_token_place",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Text, nullable=False),
        **MYSQL_TABLE,
    )
