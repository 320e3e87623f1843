"""Whether an object has the methods of an interface that it provides."""

from __future__ import annotations

from zope.interface.exceptions import Invalid
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from ..errors import ConfigurationError


def check_provider(interface: InterfaceClass, provider: object) -> None:
    """Refuse an object that lacks a method of an interface, or an argument of one.

    So it is refused when a server is composed of it, and not at the first call.

    :raises ConfigurationError: what is missing, in one line.
    """
    try:
        verifyObject(interface, provider)
    except Invalid as error:
        raise ConfigurationError(" ".join(str(error).split())) from None
