"""Reads forms with a file in them (RFC 7578), by Werkzeug, on which Klein depends."""

from __future__ import annotations

from io import BytesIO
from typing import IO

from twisted.web.iweb import IRequest

from ...errors import ContentTooLarge, InvalidRequest
from ...parameters import MAX_FIELDS, Parameters
from ..reading import MAX_BODY_SIZE, require_utf_8


def read_upload(request: IRequest, field: str) -> tuple[Parameters, bytes | None]:
    """The form of a request, and the file in one of its fields, if one was chosen.

    :param field: the name of the field with the file.
    :raises InvalidRequest: the body is not such a form, not in UTF-8, or has too many fields.
    :raises ContentTooLarge: the body is longer than `MAX_BODY_SIZE`.
    """
    # Few servers need these modules.
    from werkzeug.exceptions import HTTPException
    from werkzeug.formparser import FormDataParser
    from werkzeug.http import parse_options_header

    lines = request.requestHeaders.getRawHeaders(b"content-type") or []
    content_type, options = parse_options_header(b",".join(lines).decode("latin-1"))
    if content_type != "multipart/form-data":
        raise InvalidRequest("the content type must be multipart/form-data")
    require_utf_8(request)
    request.content.seek(0, 2)
    length = request.content.tell()
    request.content.seek(0)
    if length > MAX_BODY_SIZE:
        raise ContentTooLarge()
    parser = FormDataParser(_in_memory, max_form_parts=MAX_FIELDS, silent=False)
    try:
        _, form, files = parser.parse(request.content, content_type, length, options)
    except (HTTPException, ValueError):
        raise InvalidRequest("the form cannot be read") from None
    repeated = frozenset(name for name, values in form.lists() if len(values) > 1)
    parameters = Parameters({name: value for name, value in form.items() if value}, repeated)
    parameters.refuse_repeated()
    file = files.get(field)
    content = file.read() if file is not None else b""
    return parameters, content or None


def _in_memory(
    total_content_length: int | None,
    content_type: str | None,
    filename: str | None,
    content_length: int | None = None,
) -> IO[bytes]:
    """The buffer for an uploaded file. The whole form is in memory already."""
    return BytesIO()
