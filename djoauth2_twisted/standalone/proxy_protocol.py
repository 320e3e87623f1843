"""The PROXY protocol, in which a proxy in front of a port says where a connection comes from.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 5: "the receiver [...] MUST NOT try
to guess whether the protocol header is present or not." Here each connection must begin with it.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory

from ..protocol.forwarding import TrustedProxies

#: The least time between two log lines about peers that are not trusted, in seconds.
LOG_INTERVAL = 60


class _ProxyProtocol(HAProxyProtocolWrapper):
    """Closes a connection whose header cannot be read. For some, Twisted would log a traceback."""

    def dataReceived(self, data: bytes) -> None:
        """Read the header, and pass on what is behind it."""
        try:
            super().dataReceived(data)
        except (ValueError, LookupError, struct.error):
            # With the header read, this is a fault of what is behind it.
            if self._proxyInfo is not None:
                raise
            self.loseConnection()


class ProxyProtocolFactory(HAProxyWrappingFactory):
    """A factory whose connections begin with the PROXY protocol of a trusted proxy.

    A connection of another peer is closed.

    :param factory: makes the protocols behind it. TLS, if there is any, belongs there.
    """

    protocol: type[HAProxyProtocolWrapper] = _ProxyProtocol
    _log = Logger()

    def __init__(
        self, factory: IProtocolFactory, proxies: TrustedProxies, reactor: IReactorTime
    ) -> None:
        super().__init__(factory)
        self._proxies = proxies
        self._reactor = reactor
        self._last_logged = -float(LOG_INTERVAL)

    def buildProtocol(self, addr: Any) -> Any:
        """Make a connection's protocol. None closes it, because its peer is not trusted."""
        host = getattr(addr, "host", None)
        if self._proxies.trusts(host):
            return super().buildProtocol(addr)
        now = self._reactor.seconds()
        if now - self._last_logged >= LOG_INTERVAL:
            self._last_logged = now
            self._log.warn(
                "Closed a connection from {host}: only a trusted proxy may connect to this port.",
                host=host or "a Unix socket",
            )
        return None
