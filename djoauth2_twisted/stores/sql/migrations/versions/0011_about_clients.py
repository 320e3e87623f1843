"""Clients have a homepage, a privacy policy and a developer. Those that there are have none: NULL."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    for name in ("homepage_url", "privacy_url", "developer"):
        op.add_column("djoauth2_client", sa.Column(name, sa.Text))
