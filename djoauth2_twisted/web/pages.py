"""Pages for people, from Jinja2 templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from klein import Response
from markupsafe import Markup
from twisted.web.iweb import IRequest

from ..errors import ConfigurationError, DJOAuthError, get_error_details
from . import respond
from .request import IMount, wants_json


def templates_folder() -> Path:
    """Where the shipped templates are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "templates", package.parent / "templates"):
        if folder.is_dir():
            return folder
    raise ConfigurationError("the templates of djoauth2_twisted are not installed")


class Pages:
    """The pages of one server.

    :param folder: templates of the operator's own, looked up before the shipped ones.
    :raises ConfigurationError: there is no such folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        folders = [templates_folder()]
        if folder is not None:
            if not Path(folder).is_dir():
                raise ConfigurationError(f"the templates' folder {folder} does not exist")
            folders.insert(0, Path(folder).resolve())
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(each) for each in folders]),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )

    def page(
        self,
        request: Any,
        template: str,
        context: dict[str, Any],
        status: int = 200,
        headers: respond.Headers | None = None,
        form_target: str = "",
    ) -> Response:
        """Render a template.

        :param form_target: an origin that the page's form may end at beside our own.
        """
        mount = IMount(request).path
        text = self._environment.get_template(template).render({"mount": mount, **context})
        return respond.respond(
            request, status, {**_page_headers(form_target), **(headers or {})}, text.encode("utf-8")
        )

    def error(self, request: Any, error: DJOAuthError, template: str = "error.html") -> Response:
        """The page of an error, or its JSON for those who ask for that."""
        headers = respond.error_headers(error)
        if wants_json(request):
            everything = {**respond.NO_STORE, **headers}
            return respond.as_json(request, error.status_code, get_error_details(error), everything)
        context = {"status": error.status_code, "description": error.description}
        return self.page(request, template, context, error.status_code, headers)

    def style(self, request: IRequest) -> Response:
        """The style sheet, which browsers keep for an hour."""
        text = self._environment.get_template("style.css").render()
        headers = {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "max-age=3600"}
        return respond.respond(request, 200, headers, text.encode("utf-8"))


def _page_headers(form_target: str) -> respond.Headers:
    # RFC 6749, section 10.13, and RFC 9700, section 4.16: pages must not be shown in frames. A form's
    # target counts with all that it is redirected to, so the client's origin is one of them.
    target = f"'self' {form_target}".strip()
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action {target}; frame-ancestors 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        **respond.NO_STORE,
    }


def hidden_fields(**values: str) -> Markup:
    """Hidden form fields, for a template's ``{{ form }}``."""
    return Markup("\n").join(
        Markup('<input type="hidden" name="{}" value="{}">').format(name, value)
        for name, value in values.items()
    )
