"""DJOAuth2's ``views``: the endpoints for clients, which are in `djoauth2_twisted.endpoints`."""

from __future__ import annotations

from typing import Protocol

from twisted.web.resource import IResource

from .endpoints.client_authentication import ClientAuthentication
from .endpoints.health import HealthEndpoint
from .endpoints.introspection import IntrospectionEndpoint
from .endpoints.revocation import RevocationEndpoint
from .endpoints.token import TokenEndpoint
from .endpoints.user_info import UserInfoEndpoint
from .web.error_response import ErrorResponse

__all__ = [
    "ClientAuthentication",
    "HealthEndpoint",
    "IntrospectionEndpoint",
    "RevocationEndpoint",
    "TokenEndpoint",
    "UserInfoEndpoint",
    "access_token_endpoint",
]


class TokenEndpointOwner(Protocol):
    """What `access_token_endpoint` needs of the `AuthorizationServer`."""

    token_endpoint: TokenEndpoint

    def single_endpoint(
        self,
        endpoint: TokenEndpoint,
        errors: ErrorResponse | None = None,
        **elsewhere: str,
    ) -> IResource: ...


def access_token_endpoint(server: TokenEndpointOwner, *, token_endpoint_uri: str) -> IResource:
    """The token endpoint by itself, for applications that mount the endpoints one by one::

        root.putChild(b"token", access_token_endpoint(server, token_endpoint_uri="/token"))

    :param server: an `AuthorizationServer`.
    :param token_endpoint_uri: the path at which clients reach it, for the metadata.
    :raises ConfigurationError: ``token_endpoint_uri`` is not a path.
    """
    return server.single_endpoint(server.token_endpoint, token_endpoint=token_endpoint_uri)
