"""Administrators are found among many users, and leases that are over are forgotten."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_djoauth2_user_admin", "djoauth2_user", ["admin", "username"])
    op.create_index("ix_djoauth2_lease_expires", "djoauth2_lease", ["expires"])
