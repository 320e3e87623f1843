"""What a check of the configuration finds: its weight, the fault, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from attrs import frozen

from .errors import ConfigurationError


class Weight(IntEnum):
    """How bad a finding is. The worst comes first."""

    ERROR = 0  #: the server does not start
    WARNING = 1  #: the log says it at every start
    NOTE = 2  #: only the check says it


@frozen
class Finding:
    """One fault of the configuration.

    :param fault: a sentence without its full stop, and without a secret.
    :param mend: what to do about it; empty if the fault says it.
    :param about: the name of the setting or option, with ``_``; empty if none is at fault.
    """

    weight: Weight
    fault: str
    mend: str = ""
    about: str = ""

    @classmethod
    def of(cls, error: ConfigurationError) -> Finding:
        """The finding for an error that stops the start."""
        fault, _, mend = str(error).partition("\n")
        return cls(Weight.ERROR, fault, mend, error.about)

    @property
    def text(self) -> str:
        """The fault and its mend, in one line."""
        return ". ".join(filter(None, [self.fault, self.mend]))


def error(fault: str, mend: str = "", about: str = "") -> Finding:
    """A finding that stops the start."""
    return Finding(Weight.ERROR, fault, mend, about)


def warning(fault: str, mend: str = "", about: str = "") -> Finding:
    """A finding that the log tells at every start."""
    return Finding(Weight.WARNING, fault, mend, about)


def note(fault: str, mend: str = "", about: str = "") -> Finding:
    """A finding that only the check tells."""
    return Finding(Weight.NOTE, fault, mend, about)


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise the first error.

    :raises ConfigurationError: with the fault, and its mend in a second line.
    """
    for each in findings:
        if each.weight is Weight.ERROR:
            raise ConfigurationError("\n".join(filter(None, [each.fault, each.mend])), each.about)
