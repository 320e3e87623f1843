"""Where the host application has mounted the tree, and the endpoints that it mounts by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.web.resource import IResource

from .errors import ConfigurationError
from .web.mounting import Mount

#: Where the tree is, if nothing says otherwise.
DEFAULT_MOUNT = Mount("/oauth2")


class Mounting:
    """What the metadata says of paths, and where an endpoint outside of the tree finds the other pages.

    The path of the tree is the one that the application gives. Otherwise it is the one at which the
    site has the tree. A resource of the application may make its children at each request; the site
    does not show the tree then, and the path is that of the first request that the tree answered. It
    never changes afterwards, whatever path a request uses.

    :param prefix: the path of the tree as the application tells it, without a slash at its end.
    """

    def __init__(self, prefix: str | None) -> None:
        self._mount = None if prefix is None else Mount(prefix)
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

    def note_request(self, request: Any, tree: IResource, mount: Mount) -> None:
        """Note where the first request met the tree."""
        if self._mount is None:
            self._mount = Mount.within(getattr(request, "site", None), tree) or mount

    def mount_for(self, request: Any, tree: IResource) -> Mount:
        """Where the tree is mounted, for the answer to a request outside of the tree."""
        if self._mount is None:
            self._mount = Mount.within(getattr(request, "site", None), tree)
        return self._mount or DEFAULT_MOUNT
