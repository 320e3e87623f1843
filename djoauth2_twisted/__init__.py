"""A sane, secure-by-default subset of OAuth 2.0 as a Twisted service.

The names in ``__all__`` are public; CONTRIBUTING.md says which modules are, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conf import Settings
    from .decorators import oauth_scope
    from .guard import OAuthGuard
    from .interfaces import IAccessToken, IResourceOwner, ITokenStore, ITokenVerifier
    from .server import AuthorizationServer
    from .verification.remote import IntrospectionClient

#: The version of this release; pyproject.toml takes it from here.
__version__ = "26.11.0"

__all__ = [
    "AuthorizationServer",
    "IAccessToken",
    "IResourceOwner",
    "ITokenStore",
    "ITokenVerifier",
    "IntrospectionClient",
    "OAuthGuard",
    "Settings",
    "oauth_scope",
]

_MODULES = {
    "AuthorizationServer": "server",
    "IAccessToken": "interfaces",
    "IResourceOwner": "interfaces",
    "ITokenStore": "interfaces",
    "ITokenVerifier": "interfaces",
    "IntrospectionClient": "verification.remote",
    "OAuthGuard": "guard",
    "Settings": "conf",
    "oauth_scope": "decorators",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name at its first use, so that a command imports no web floor."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
