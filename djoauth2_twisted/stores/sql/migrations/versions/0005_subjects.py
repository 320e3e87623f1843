"""Users have a subject that is never given again. Those that there are keep their name for it: NULL."""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import Identifier

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("djoauth2_user", sa.Column("subject", Identifier))
