"""The SQL engines, one file each: its connections, its differences, and how it spreads invalidations.

A further engine is one more file and one more line here.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa

from ....errors import ConfigurationError
from .engine import AT_SIGN, EXAMPLES, Engine

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
        raise _unreadable(url) from None
    name = parsed.get_backend_name()
    if name not in _MODULES:
        raise ConfigurationError(f"databases of {name} are not supported: {EXAMPLES}")
    if name != "sqlite" and (url.count("@") > 1 or not url.isprintable()):
        # What SQLAlchemy takes for a host then is a part of the password.
        raise _unreadable(url)
    try:
        engine: Engine = import_module(f".{_MODULES[name]}", __name__).from_url(parsed)
    except (sa.exc.ArgumentError, ValueError, TypeError):
        # SQLAlchemy cannot read an option's value.
        raise _unreadable(url) from None
    return engine


def _unreadable(url: str) -> ConfigurationError:
    hint = f"; {AT_SIGN}" if url.count("@") > 1 else ""
    return ConfigurationError(f"the database's URL cannot be read: {EXAMPLES}{hint}")
