"""Where the host application has mounted the tree, and the endpoints that it mounts by themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from .errors import ConfigurationError
from .web.mounting import Mount
from .web.reading import prefix_of

#: Where the tree is, if nothing says otherwise.
DEFAULT_MOUNT = Mount("/oauth2")

# RFC 3986, section 3.3: segments of pchar, none of them empty.
_PREFIX = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


class Mounting:
    """What the metadata says of paths, and where an endpoint outside of the tree finds the other pages.

    The path of the tree is the one that the application gives. Otherwise it is the one at which the
    site has the tree; a resource of the application that makes its children at each request hides it,
    and the path is then `DEFAULT_MOUNT`. It is never the path of a request, which any client may choose.

    :param prefix: the path of the tree as the application gives it, percent-encoded.
    :raises ConfigurationError: it is not a path.
    """

    _log = Logger()

    def __init__(self, prefix: str | None) -> None:
        self._configured = None if prefix is None else Mount(_path(prefix))
        self._found: WeakKeyDictionary[Site, Mount] = WeakKeyDictionary()
        self._has_warned = False
        #: The paths of endpoints that are mounted by themselves, by their names in the metadata.
        self.endpoint_paths: dict[str, str] = {}

    def add_endpoints(self, paths: Mapping[str, str]) -> None:
        """Note endpoints that are mounted by themselves.

        :param paths: the path of each, by its name in the metadata.
        :raises ConfigurationError: a path does not begin with one slash.
        """
        for path in paths.values():
            if not path.startswith("/") or path.startswith("//"):
                raise ConfigurationError(f"{path!r} is not a path: write it like /authorize")
        self.endpoint_paths.update(paths)

    def of_request(self, request: IRequest, tree: IResource) -> Mount:
        """Where a request has reached the tree: what its links and forms begin with."""
        if self._configured is not None:
            return self._configured
        reached = Mount.at(request.prepath)
        if reached != DEFAULT_MOUNT and not self._has_warned and self._find(request, tree) is None:
            self._has_warned = True
            self._log.warn(
                "A request reached the server at another path than {path}, and the site does not show "
                "where the server is mounted. The metadata says {path}; `prefix=` sets it.",
                path=DEFAULT_MOUNT.path,
            )
        return reached.below(prefix_of(request))

    def of_tree(self, request: IRequest, tree: IResource) -> Mount:
        """Where the tree is mounted, for the answer to a request outside of the tree."""
        if self._configured is not None:
            return self._configured
        found = self._find(request, tree) or DEFAULT_MOUNT
        return Mount(prefix_of(request) + found.path)

    def _find(self, request: IRequest, tree: IResource) -> Mount | None:
        site: Site | None = getattr(request, "site", None)
        if site is None:
            return None
        found = self._found.get(site) or Mount.within(site, tree)
        if found is not None:
            self._found[site] = found
        return found


def _path(prefix: str) -> str:
    """A prefix without a slash at its end."""
    path = prefix.removesuffix("/")
    if not _PREFIX.fullmatch(path):
        raise ConfigurationError(f"prefix={prefix!r} is not a path: write it like /oauth2")
    return path
