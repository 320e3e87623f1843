"""Grants know where their code was sent, also where the request did not name the redirect URI."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("djoauth2_grant", sa.Column("redirect_uri_sent", sa.Boolean))
