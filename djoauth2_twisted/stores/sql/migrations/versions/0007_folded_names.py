"""Users are found, and are unique, without regard to case and Unicode form.

Names that were added before may be equal when they are folded. They stay apart by their number.
"""

import sqlalchemy as sa
from alembic import op

from djoauth2_twisted.stores.sql.schema import Identifier, digest_type, folded_digest

revision = "0007"
down_revision = "0006"

BATCH = 1000

_user = sa.table(
    "djoauth2_user",
    sa.column("username", Identifier()),
    sa.column("folded", digest_type()),
    sa.column("namesake", sa.Integer),
)


def upgrade() -> None:
    op.add_column("djoauth2_user", sa.Column("folded", digest_type()))
    op.add_column("djoauth2_user", sa.Column("namesake", sa.Integer))
    connection = op.get_bind()
    _fold(connection)
    op.create_index("ix_djoauth2_user_namesake", "djoauth2_user", ["namesake"])
    _number(connection)
    op.create_index("ix_djoauth2_user_folded", "djoauth2_user", ["folded", "namesake"], unique=True)


def _fold(connection: sa.Connection) -> None:
    """Fill in the folded names, in the order of the names."""
    by_name = sa.select(_user.c.username).order_by(_user.c.username).limit(BATCH)
    change = sa.update(_user).where(_user.c.username == sa.bindparam("name", type_=Identifier()))
    change = change.values(folded=sa.bindparam("key"), namesake=0)
    after = ""
    while names := list(connection.scalars(by_name.where(_user.c.username > after))):
        connection.execute(change, [{"name": name, "key": folded_digest(name)} for name in names])
        after = names[-1]


def _number(connection: sa.Connection) -> None:
    """Number the users of each folded name, where there are several."""
    several = sa.select(_user.c.folded).group_by(_user.c.folded).having(sa.func.count() > 1)
    for key in list(connection.scalars(several)):
        alike = sa.select(_user.c.username).where(_user.c.folded == key).order_by(_user.c.username)
        for number, name in enumerate(list(connection.scalars(alike))):
            numbered = sa.update(_user).where(_user.c.username == name).values(namesake=number)
            connection.execute(numbered)
