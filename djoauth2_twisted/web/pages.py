"""Pages for people, from Jinja2 templates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from gettext import NullTranslations
from pathlib import Path
from types import CodeType
from typing import Any

from attrs import field, frozen
from jinja2 import (
    BaseLoader,
    BytecodeCache,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
)
from jinja2.bccache import Bucket
from jinja2.exceptions import TemplateSyntaxError
from markupsafe import Markup
from twisted.web.iweb import IRequest
from werkzeug.http import parse_etags, quote_etag

from ..errors import ConfigurationError, DJOAuthError, concerning, get_error_details
from ..messages import Message
from ..protocol import paths
from . import respond
from .brand import Brand
from .error_response import error_headers
from .mounting import IMount
from .reading import client_of, request_id_of, wants_json
from .respond import Response
from .translation import SOURCE, Catalogues, language_of, read_catalogues, translated

#: The longest list of ETags that is read, in bytes. No browser sends more for our style sheet.
MAX_LIST_LENGTH = 500

#: The style sheets: one for all pages, and a second one for those of the administration.
STYLES = ("style.css", "admin.css")

#: The icon of the site, for browsers.
ICON = "icon.svg"


_PLAIN = Brand("")

#: The context of the pages that `Pages.check` makes.
_SAMPLES: dict[str, dict[str, Any]] = {
    "error.html": {
        "status": 500,
        "description": "",
        "request_id": "",
        "again": "",
        "client": None,
    },
    "login.html": {
        **dict.fromkeys(("form", "form_action", "logout_form", "logout_action"), ""),
        **dict.fromkeys(("next", "message", "username"), ""),
        "owner": None,
        "client": None,
    },
}


def templates_folder() -> Path:
    """The folder of the shipped templates: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "templates", package.parent / "templates"):
        if folder.is_dir():
            return folder
    raise ConfigurationError("the templates of djoauth2_twisted are not installed")


@frozen
class DescribedScope:
    """A scope as a page shows it. A `Message` becomes its text in the language of the page."""

    name: str
    description: Message | str


class Pages:
    """The pages of one server.

    :param folder: the operator's templates, which replace shipped ones, with translations in its
        ``locale``.
    :param brand: the name of the server on its pages, its logo, its colour and its links.
    :param logout: the address that "Log out" leads to, or the empty string for no link. None is our own
        page.
    :raises ConfigurationError: the folder does not exist, or a template or translation in it cannot be
        read.
    """

    @concerning("templates")
    def __init__(
        self, folder: str | None = None, brand: Brand = _PLAIN, logout: str | None = None
    ) -> None:
        self._brand = brand
        self._logout = logout
        shipped = templates_folder()
        if folder is None:
            self._catalogues, self._environments = _shipped(shipped)
        else:
            own = Path(folder).resolve()
            if not own.is_dir():
                raise ConfigurationError(f"the templates' folder {folder} does not exist")
            self._catalogues, self._environments = _read_all([own, shipped], [_LOCALE, own / "locale"])
            _check_templates(own, self._environments[SOURCE])
        self._styles = {name: _Style.of(self._read(name)) for name in STYLES}
        self._icon = self._read(ICON)

    @property
    def languages(self) -> Collection[str]:
        """The languages that the pages are in (RFC 5646)."""
        return self._catalogues.keys()

    def page(
        self,
        request: IRequest,
        template: str,
        context: dict[str, Any],
        status: int = 200,
        headers: respond.Headers | None = None,
        leads_away: bool = False,
    ) -> Response:
        """Render a template, in the language that the request asks for.

        :param context: a `Message` or `Sentence` among its values becomes its text in that language,
            also in a dictionary.
        :param leads_away: whether the answer to a form of the page may redirect to other origins.
        """
        language = language_of(request, self._catalogues)
        mount = IMount(request).path
        logout = f"{mount}{paths.LOGOUT}" if self._logout is None else self._logout
        text = self.render(language, template, {"mount": mount, "logout": logout, **context})
        everything = {**_page_headers(leads_away), "Content-Language": language, **(headers or {})}
        return respond.respond(request, status, everything, text.encode("utf-8"))

    def render(self, language: str, template: str, context: dict[str, Any]) -> str:
        """The text of a template in a language."""
        catalogue = self._catalogues[language]
        said = {name: translated(value, catalogue) for name, value in context.items()}
        everything = {"language": language, "site": self._brand.name, "brand": self._brand, **said}
        return self._environments[language].get_template(template).render(everything)

    def _read(self, name: str) -> bytes:
        """What does not differ from request to request."""
        context = {"brand": self._brand}
        try:
            return self._environments[SOURCE].get_template(name).render(context).encode("utf-8")
        except OSError as error:
            folder = templates_folder()
            raise ConfigurationError(f"the templates in {folder} cannot be read: {error}") from None

    def check(self) -> None:
        """Make the pages that every visitor needs, in each language, to see whether they can be made.

        :raises Exception: one cannot, as where a template of the operator's uses an unknown name.
        """
        for language in self._environments:
            for template, context in _SAMPLES.items():
                self.render(language, template, {"mount": "", **context})

    def error(
        self, request: IRequest, error: DJOAuthError, template: str = "error.html", again: str = ""
    ) -> Response:
        """The page of an error, or its JSON if the request asks for JSON.

        :param again: the address at which the person can start again, or the empty string.
        """
        headers = error_headers(request, error)
        if wants_json(request):
            everything = {**respond.NO_STORE, **headers}
            return respond.as_json(request, error.status_code, get_error_details(error), everything)
        client = client_of(request)
        named = None if client is None or client.disabled else client
        context = {
            "client": named,
            "status": error.status_code,
            "description": error.description,
            "again": again,
            "request_id": request_id_of(request),
        }
        return self.page(request, template, context, error.status_code, headers)

    def style(self, request: IRequest, name: str = "style.css") -> Response:
        """A style sheet. Browsers keep it, and ask each time whether it has changed.

        :param name: one of `STYLES`.
        """
        style = self._styles[name]
        headers = {
            "Content-Type": "text/css; charset=utf-8",
            "Cache-Control": "no-cache",
            "ETag": quote_etag(style.tag),
            "Content-Length": str(len(style.content)),
        }
        known = b",".join(request.requestHeaders.getRawHeaders(b"if-none-match") or [])[:MAX_LIST_LENGTH]
        # RFC 9110, section 13.1.2: "A recipient MUST use the weak comparison function".
        if parse_etags(known.decode("latin-1")).contains_weak(style.tag):
            return respond.respond(request, 304, headers, b"")
        return respond.respond(request, 200, headers, style.content)

    def logo(self, request: IRequest) -> Response:
        """The logo of the site, for light or for dark grounds; see `Brand.logo_response`."""
        return self._brand.logo_response(request)

    def icon(self, request: IRequest) -> Response:
        """The icon of the site for the tabs and bookmarks of browsers."""
        return self._brand.icon_response(request, self._icon)


@frozen
class _Style:
    """A style sheet and its ETag."""

    content: bytes = field(repr=False)
    tag: str

    @classmethod
    def of(cls, content: bytes) -> _Style:
        return cls(content, hashlib.sha256(content).hexdigest())


class _Compiled(BytecodeCache):
    """Keeps compiled templates. All languages and all servers of a process share them.

    So each template is compiled once, when it is first asked for. That takes up to 40 ms.
    """

    def __init__(self) -> None:
        #: The checksum of each template's source and its code, by the key of its name and file.
        self._code: dict[str, tuple[str, CodeType | None]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load the code of a template, if its source has not changed."""
        checksum, code = self._code.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._code[bucket.key] = (bucket.checksum, bucket.code)


_COMPILED = _Compiled()

#: The folder of the shipped translations.
_LOCALE = Path(__file__).resolve().parent.parent / "locale"


def _read_all(folders: list[Path], locales: list[Path]) -> tuple[Catalogues, dict[str, Environment]]:
    """The catalogues of some folders, and an environment for each language.

    A template is bound to its environment's catalogue, so each language has its own environment.
    """
    loader, catalogues = _loader(folders), read_catalogues(locales)
    return catalogues, {
        language: _environment(loader, catalogue) for language, catalogue in catalogues.items()
    }


@cache
def _shipped(folder: Path) -> tuple[Catalogues, dict[str, Environment]]:
    """The catalogues and environments of the shipped templates, read once in a process."""
    return _read_all([folder], [_LOCALE])


def _check_templates(folder: Path, environment: Environment) -> None:
    """Refuse templates that cannot be compiled, before a browser asks for their pages."""
    whole = (folder / name for name in (*STYLES, ICON))
    for path in (*sorted(folder.rglob("*.html")), *filter(Path.is_file, whole)):
        name = path.relative_to(folder).as_posix()
        try:
            environment.get_template(name)
        except TemplateSyntaxError as error:
            where = f"{error.filename or path}, line {error.lineno}"
            raise ConfigurationError(f"the template {where}: {error.message}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the template {path} cannot be read: {error}") from None


class _Folder(FileSystemLoader):
    """The templates of a folder, as they were at the start.

    So pages stay whole while a new release is installed over this one, and where the process has become
    a user who may not read the folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sources: dict[str, tuple[str, str, Callable[[], bool]]] = {}
        for name in self.list_templates():
            # A file that is not readable text is an error only where it is used as a template.
            with suppress(OSError, UnicodeDecodeError):
                self._sources[name] = super().get_source(None, name)  # type: ignore[arg-type]

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """A template's text, its file, and whether that is unchanged; see Jinja's `BaseLoader`."""
        return self._sources.get(template) or super().get_source(environment, template)


def _loader(folders: list[Path]) -> BaseLoader:
    """Finds templates in folders, of which the last one has the shipped templates."""
    own_first = [_Folder(each) for each in folders]
    # An operator's login.html can extend the one that it replaces as "shipped/login.html".
    return ChoiceLoader([*own_first, PrefixLoader({"shipped": own_first[-1]})])


def _environment(loader: BaseLoader, catalogue: NullTranslations) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        # A `Message` may be in a list of the context, or in a value of it.
        finalize=lambda value: value.translated(catalogue) if isinstance(value, Message) else value,
        auto_reload=False,
        bytecode_cache=_COMPILED,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(catalogue)  # type: ignore[attr-defined]
    return environment


def _page_headers(leads_away: bool) -> respond.Headers:
    # Chromium checks form-action at every redirect that follows a form. A client may send the browser on
    # to an application (myapp://) or to another host, and no policy can name all of these in advance.
    form_action = "" if leads_away else "form-action 'self'; "
    # RFC 6749, section 10.13, and RFC 9700, section 4.16: pages must not be shown in frames.
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"{form_action}frame-ancestors 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Vary": "Accept, Accept-Language",
        **respond.NO_STORE,
    }


def hidden_fields(**values: str) -> Markup:
    """Hidden form fields, for a template's ``{{ form }}``."""
    return Markup("\n").join(
        Markup('<input type="hidden" name="%s" value="%s">') % (name, value)
        for name, value in values.items()
    )
