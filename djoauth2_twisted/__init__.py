"""A sane, secure-by-default subset of OAuth 2.0 as a Twisted service."""

from .conf import Settings
from .decorators import oauth_scope
from .guard import OAuthGuard
from .interfaces import IAccessToken, IResourceOwner, ITokenStore, ITokenVerifier
from .introspection import IntrospectionClient
from .server import AuthorizationServer

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
