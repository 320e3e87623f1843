"""A step of the check that may fail."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.usage import UsageError

from ...errors import ConfigurationError
from ...finding import Finding


def faults_of(step: Callable[[], object]) -> list[Finding]:
    """Take a step of the check. What stops it is a finding, so that the other steps are taken too."""
    try:
        step()
    except ConfigurationError as error:
        return [Finding.of(error)]
    except UsageError as error:
        return [Finding.of(ConfigurationError(str(error)))]
    return []
