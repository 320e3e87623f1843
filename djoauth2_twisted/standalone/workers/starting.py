"""How workers are started: as the parent was, but for its log, its folder and its rights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import ConfigurationError
from ..files import Log
from .assignment import Assignment
from .process import Program


def program_of(starter: Any, words: Sequence[str], file: Mapping[str, Any], log: Log | None) -> Program:
    """The program of the workers.

    :param starter: the options of ``twistd`` or ``twist``; None where there are none.
    :param words: the command line after ``djoauth2``.
    :param file: what the configuration file says.
    :param log: the log of the parent.
    :raises ConfigurationError: workers cannot be started so.
    """
    starter = {} if starter is None else starter
    if starter.get("chroot") is not None:
        raise ConfigurationError("workers cannot be started in a --chroot", "workers")
    is_twist = "logFile" in starter
    assignment = Assignment(
        number=0,
        descriptors=(),
        options=tuple(words),
        file=dict(file),
        log_format="text" if log is None else log.form,
        log_level=starter["logLevel"].name if is_twist else "info",
        starter=tuple(_starter(starter)),
    )
    return Program(
        assignment,
        output=sys.stderr if is_twist and starter["logFile"] is sys.stderr else None,
        copy=log.copy if log is not None and log.is_file else None,
    )


def _starter(starter: Any) -> Iterator[str]:
    """Options of ``twistd``, as far as they are for workers, too."""
    reactor = starter.get("reactorName", starter.get("reactor"))
    if reactor not in (None, "default"):
        yield f"--reactor={reactor}"
    if starter.get("rundir") is not None:
        yield f"--rundir={os.path.abspath(starter['rundir'])}"
    if starter.get("syslog"):
        yield from ("--syslog", f"--prefix={starter['prefix']}")
    logger = starter.get("logger")
    # twistd has replaced its name by the function, which may be that of `Log`.
    if logger and not isinstance(getattr(logger, "__self__", None), Log):
        yield f"--logger={logger.__module__}.{logger.__qualname__}"
