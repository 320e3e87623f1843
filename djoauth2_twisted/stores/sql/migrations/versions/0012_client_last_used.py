"""Clients know when they last got tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("djoauth2_client", sa.Column("last_used", sa.BigInteger))
