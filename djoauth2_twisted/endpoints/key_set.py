"""``/jwks/``: the public keys that verify ID tokens (RFC 7517, section 5)."""

from __future__ import annotations

import hashlib
import json

from attrs import frozen
from twisted.web.iweb import IRequest
from werkzeug.http import parse_etags, quote_etag

from ..conf import Settings
from ..key_ring import KeyRing
from ..protocol.key_states import MAX_AGE
from ..web import respond
from ..web.cors import answer_preflight, open_to_scripts
from ..web.reading import require_method, require_tls
from ..web.respond import Response

_METHODS = ("GET", "HEAD", "OPTIONS")

#: The longest list of ETags that is read, in bytes.
_MAX_LIST_LENGTH = 500


@frozen
class KeySetEndpoint:
    """``/jwks/``. Scripts of every origin may read it."""

    settings: Settings
    ring: KeyRing

    async def __call__(self, request: IRequest) -> Response:
        """Answer with the key set."""
        open_to_scripts(request)
        require_tls(request, self.settings)
        require_method(request, *_METHODS)
        if request.method == b"OPTIONS":
            return answer_preflight(*_METHODS)
        keys = sorted(await self.ring.published(), key=lambda key: key["kid"])
        body = json.dumps({"keys": [dict(key) for key in keys]}).encode("ascii")
        tag = hashlib.sha256(body).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": f"public, max-age={MAX_AGE}",
            "ETag": quote_etag(tag),
        }
        known = b",".join(request.requestHeaders.getRawHeaders(b"if-none-match") or [])
        # RFC 9110, section 13.1.2: "A recipient MUST use the weak comparison function".
        if parse_etags(known[:_MAX_LIST_LENGTH].decode("latin-1")).contains_weak(tag):
            return respond.respond(request, 304, headers, b"")
        return respond.respond(request, 200, headers, body)
