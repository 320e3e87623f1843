"""The mount point: the path of our tree in a site, which links and forms begin with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from attrs import frozen
from twisted.web.iweb import IRequest
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import Site
from twisted.web.vhost import NameVirtualHost
from zope.interface import Attribute, Interface, implementer

from .reading import with_query


class IMount(Interface):
    """The mount point of our tree, as a request reached it."""

    path = Attribute("The mount point without a slash at its end: ``/oauth2``. (str)")


@implementer(IMount)
@frozen
class Mount:
    """See `IMount`."""

    path: str

    @classmethod
    def at(cls, segments: Iterable[bytes]) -> Mount:
        """The mount point of a resource that segments of a path lead to."""
        return cls("".join("/" + quote(segment, safe="") for segment in segments if segment))

    def below(self, prefix: str) -> Mount:
        """The mount point as a client sees it.

        :param prefix: the beginning of the path that a proxy has removed, or empty.
        """
        return Mount(prefix + self.path) if prefix else self

    @classmethod
    def within(cls, site: Site, wanted: IResource) -> Mount | None:
        """The mount point of a resource in a site, found before the first request; or None.

        Twisted's virtual hosts and its wrapper for encodings do not hide a resource.
        """
        found: list[tuple[tuple[bytes, ...], Any]] = [((), site.resource)]
        seen = set()
        for segments, resource in found:
            if resource is wanted:
                return cls.at(segments)
            # A resource may be its own child.
            if id(resource) not in seen:
                seen.add(id(resource))
                found.extend((segments, inner) for inner in _transparent(resource))
                children = resource.children if isinstance(resource, Resource) else {}
                found.extend(((*segments, name), child) for name, child in children.items())
        return None


def _transparent(resource: Any) -> list[Any]:
    """The resources that take the place of another at the same path."""
    if isinstance(resource, NameVirtualHost):
        return [*resource.hosts.values(), resource.default]
    if isinstance(resource, EncodingResourceWrapper):
        return [resource.original]
    return []


def address_with_query(request: IRequest, endpoint: str, *queries: bytes) -> str:
    """The path of an address of our tree, with queries."""
    return with_query(IMount(request).path + endpoint, *queries)
