"""Signals for applications, as in DJOAuth2.

A receiver is called in the reactor's thread. The sender is the `AuthorizationServer`; the argument
``grant`` is the `Grant` that was revoked::

    from djoauth2_twisted.signals import refresh_token_used_after_invalidation

    def warn(server, grant): ...

    refresh_token_used_after_invalidation.connect(warn, sender=server)
"""

from __future__ import annotations

from blinker import Signal

#: RFC 6749, section 10.4: "If a refresh token is compromised and subsequently used by both the
#: attacker and the legitimate client, one of them will present an invalidated refresh token, which
#: will inform the authorization server of the breach."
refresh_token_used_after_invalidation = Signal()

#: RFC 6749, section 10.5: "If the authorization server observes multiple attempts to exchange an
#: authorization code for an access token, the authorization server SHOULD attempt to revoke all
#: access tokens already granted based on the compromised authorization code."
authorization_code_used_twice = Signal()
