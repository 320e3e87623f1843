"""The look of a site on its pages: name, logo, colour and links, from the settings."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen
from twisted.web.iweb import IRequest

from ..colours import Accent, accent_of
from ..conf import Settings
from ..errors import ConfigurationError, NothingHere, RegistrationError
from ..models import Image
from ..protocol import paths
from ..protocol.registration import image_of
from .image import image_response
from .reading import read_query
from .respond import Response


@frozen
class Brand:
    """What the pages show of a site. All texts may be empty, but not the name.

    :param logo: its picture; None if it has none.
    :param logo_dark: its picture on dark grounds; None if that is the same.
    :param accent: the colours of links and of the main button; None for those of ``style.css``.
    """

    name: str
    logo: Image | None = None
    logo_dark: Image | None = None
    accent: Accent | None = None
    support_url: str = ""
    privacy_url: str = ""
    terms_url: str = ""
    recovery_url: str = ""

    @classmethod
    def of(cls, settings: Settings, host: str = "") -> Brand:
        """The look that the settings describe. The files of the logo are read now.

        :param host: the host of the issuer, which is the name where none is set.
        :raises ConfigurationError: a logo cannot be read, or is not allowed.
        """
        if settings.site_logo_dark and not settings.site_logo:
            raise ConfigurationError("SITE_LOGO_DARK needs SITE_LOGO, too", "site_logo_dark")
        return cls(
            settings.site_name or host,
            _read(settings.site_logo, "site_logo"),
            _read(settings.site_logo_dark, "site_logo_dark"),
            accent_of(settings.accent_color) if settings.accent_color else None,
            settings.support_url,
            settings.privacy_url,
            settings.terms_url,
            settings.recovery_url,
        )

    def logo_addresses(self, mount: str) -> tuple[str, str]:
        """The addresses of the logo and of the one on dark grounds; empty where there is none.

        An address changes with the picture, so that a browser may keep the picture that it has.
        """
        light, dark = (
            f"{mount}{paths.LOGO}?v={_version(image)}" if image else ""
            for image in (self.logo, self.logo_dark)
        )
        return light, dark

    def logo_response(self, request: IRequest) -> Response:
        """The logo whose version the query names; without one, the logo.

        :raises NothingHere: there is none.
        """
        version = read_query(request).get("v")
        for image in (self.logo, self.logo_dark):
            if image is not None and version in (None, _version(image)):
                return image_response(request, image)
        raise NothingHere("there is no such picture")

    def icon_response(self, request: IRequest, drawn: bytes) -> Response:
        """The icon of the site: its logo, or the drawn one.

        :param drawn: an SVG.
        """
        image = self.logo or Image("image/svg+xml", drawn)
        return image_response(request, image)


def _version(image: Image) -> str:
    return image.digest.hex()[:16]


def _read(path: str, setting: str) -> Image | None:
    """The picture in a file, judged like a client's."""
    if not path:
        return None
    try:
        return image_of(Path(path).read_bytes())
    except OSError as error:
        reason = f"{setting.upper()}: the file {path} cannot be read: {error.strerror or error}"
        raise ConfigurationError(reason, setting) from None
    except RegistrationError as error:
        raise ConfigurationError(f"{setting.upper()}: {path}: {error}", setting) from None
