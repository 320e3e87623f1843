"""Whether an object has the methods of an interface that it provides."""

from __future__ import annotations

from zope.interface.exceptions import Invalid
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyObject

from ..errors import ConfigurationError


def check_providers(*provided: tuple[InterfaceClass, object]) -> None:
    """Refuse an object that lacks a method of an interface, or an argument of one.

    So it is refused when a server is composed of it, and not at the first call.

    :param provided: interfaces, each with the object that provides it.
    :raises ConfigurationError: what is missing, in one line.
    """
    for interface, provider in provided:
        try:
            verifyObject(interface, provider)
        except Invalid as error:
            raise ConfigurationError(" ".join(str(error).split())) from None
