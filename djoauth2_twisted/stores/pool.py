"""The load of a store's connections."""

from __future__ import annotations

from attrs import frozen


@frozen
class Pool:
    """Connections of one purpose, at one moment.

    :param name: ``read``, ``write`` or ``redis``.
    :param connections: how many are open.
    :param busy: how many of them are used.
    :param waiting: how many steps wait for one.
    """

    name: str
    connections: int
    busy: int
    waiting: int
