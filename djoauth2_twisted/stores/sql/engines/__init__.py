"""The SQL engines, one file each: its connections, its differences, and how it spreads invalidations.

A further engine is one more file and one more line here.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa

from ....errors import ConfigurationError
from .engine import EXAMPLES, Engine

#: The module of each engine, by SQLAlchemy's name of the engine. It has ``from_url``, and is imported
#: where its engine is used: a dialect of SQLAlchemy takes up to a MiB.
_MODULES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}


def engine_of(url: str) -> Engine:
    """The engine of an SQLAlchemy URL. A relative SQLite path is taken from the current folder now.

    :raises ConfigurationError: the URL cannot be read, or its engine is not supported.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError(f"the database's URL cannot be read: {EXAMPLES}") from None
    name = parsed.get_backend_name()
    if name not in _MODULES:
        raise ConfigurationError(f"databases of {name} are not supported: {EXAMPLES}")
    engine: Engine = import_module(f".{_MODULES[name]}", __name__).from_url(parsed)
    return engine
