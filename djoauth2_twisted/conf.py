"""Settings: the names and defaults of DJOAuth2, and a few more.

Python code passes them as ``Settings(access_token_lifetime=600)``. The stand-alone server reads them
from the environment and a TOML file with `gather`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from .colours import accent_of
from .credentials import SHORTEST
from .errors import ConfigurationError
from .protocol.forwarding import NO_PROXIES, TrustedProxies
from .protocol.registration import is_link

ENVIRONMENT_PREFIX = "DJOAUTH2_"

#: What the environment and the file may give in addition to settings: options of the server.
OPTIONS = (
    "port",
    "auth",
    "database",
    "token_store",
    "issuer",
    "templates",
    "trusted_proxy",
    "log_format",
    "metrics_port",
    "workers",
)

DEFAULT_DATABASE = "sqlite:///djoauth2.db"

#: RFC 6749, section 4.1.2: "A maximum authorization code lifetime of 10 minutes is RECOMMENDED."
MAX_CODE_LIFETIME = 600

#: A hundred years, in seconds. Expiry times are stored as 64-bit integers.
MAX_LIFETIME = 100 * 366 * 86400
MAX_VALUE_LENGTH = 255

#: The highest limit on failures. A limit cannot be turned off.
MAX_FAILURES = 1_000_000

#: The largest number of logins of one user. Beyond it, the oldest login ends.
MAX_SESSIONS = 100

#: The longest name of a site, in characters.
MAX_SITE_NAME_LENGTH = 60

_MAIL = re.compile(r"mailto:[^\s\"'<>\\@]+@[^\s\"'<>\\@]+")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def _error(attribute: attrs.Attribute[Any], value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(
        f"{attribute.name.upper()} is {value!r}: it must be {allowed}", attribute.name
    )


def _whole_number(lowest: int, highest: int) -> Any:
    def check(settings: Settings, attribute: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _error(attribute, value, f"a whole number from {lowest} to {highest}")

    return check


def _truth(settings: Settings, attribute: attrs.Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise _error(attribute, value, "true or false")


def _header_text(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
    # RFC 9110, section 5.6.4: the characters of a quoted-string, restricted to ASCII.
    if not isinstance(value, str) or not value.isascii() or not (value.isprintable() or not value):
        raise _error(attribute, value, "a text of printable ASCII characters")


def _one_of(*allowed: str) -> Any:
    def check(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
        if value not in allowed:
            raise _error(attribute, value, f"{', '.join(allowed[:-1])} or {allowed[-1]}")

    return check


def _absolute(path: object) -> str:
    """A path, from the folder that the process is in now: a daemon leaves it."""
    if not isinstance(path, str) or "\0" in path:
        raise ConfigurationError(f"OPENID_KEY_FILE is {path!r}: it must be a path", "openid_key_file")
    return os.path.abspath(path) if path else ""


def _site_name(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
    good = isinstance(value, str) and value == value.strip() and len(value) <= MAX_SITE_NAME_LENGTH
    if not good or not (str(value).isprintable() or not value):
        allowed = f"a text of at most {MAX_SITE_NAME_LENGTH} printable characters"
        raise _error(attribute, value, allowed)


def _path(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or "\0" in value:
        raise _error(attribute, value, "the path of a file")


def _accent(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
    if value == "":
        return
    try:
        accent_of(value if isinstance(value, str) else "")
    except ValueError as error:
        raise _error(attribute, value, str(error)) from None


def _link(settings: Settings, attribute: attrs.Attribute[str], value: object) -> None:
    if value == "":
        return
    if not isinstance(value, str) or not (is_link(value) or _MAIL.fullmatch(value)):
        raise _error(
            attribute, value, "an address like https://example.com/help or mailto:help@example.com"
        )


def _proxies(names: object) -> TrustedProxies:
    if isinstance(names, TrustedProxies):
        return names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"TRUSTED_PROXIES is {names!r}: it must be a list of texts")
    return TrustedProxies.of(names)


def _length() -> Any:
    return field(default=30, validator=_whole_number(SHORTEST, MAX_VALUE_LENGTH))


@frozen(kw_only=True)
class Settings:
    """How one authorization server behaves. Lengths are in characters, times in seconds.

    :raises ConfigurationError: a value is not allowed. The message says which values are.
    """

    access_token_length: int = _length()
    refresh_token_length: int = _length()  #: at least 30 are used, because a token contains its family
    authorization_code_length: int = _length()
    client_key_length: int = _length()
    client_secret_length: int = _length()
    access_token_lifetime: int = field(default=3600, validator=_whole_number(1, MAX_LIFETIME))
    access_tokens_refreshable: bool = field(default=True, validator=_truth)
    authorization_code_lifetime: int = field(default=600, validator=_whole_number(1, MAX_CODE_LIFETIME))
    #: It starts again with each use of the refresh token.
    refresh_token_lifetime: int = field(default=2592000, validator=_whole_number(1, MAX_LIFETIME))
    #: An exact repeat of a refresh within this time gets the same answer again. 0: never.
    refresh_retry_seconds: int = field(default=0, validator=_whole_number(0, 600))
    #: How many grants a user may have with one client. Beyond that, the least recently used end.
    max_grants_per_client: int = field(default=100, validator=_whole_number(1, 10_000))
    #: How many access tokens are cached in memory until they end, and how many clients until they
    #: change. 0: no cache.
    access_token_cache: int = field(default=10000, validator=_whole_number(0, 10_000_000))
    realm: str = field(default="", validator=_header_text)
    require_state: bool = field(default=True, validator=_truth)
    require_pkce: bool = field(default=False, validator=_truth)
    #: True: OpenID Connect Core 1.0, for clients that log their users in here.
    openid: bool = field(default=False, validator=_truth)
    #: How long a key signs ID tokens. 0: until an administrator changes it.
    openid_key_rotation: int = field(default=7776000, validator=_whole_number(0, MAX_LIFETIME))
    #: True: logout tokens are sent to addresses of private networks and of this machine, too.
    openid_private_logout_addresses: bool = field(default=False, validator=_truth)
    #: True: consent is not asked for again while a grant for the same client is in use that has at
    #: least these scopes and the same redirect URI. Both requests must name the redirect URI. By default
    #: it is as ``openid``, since ``prompt=none`` needs an earlier consent.
    remember_consent: bool = field(
        default=attrs.Factory(lambda self: self.openid, takes_self=True), validator=_truth
    )
    #: Of the stand-alone server. 0: 8000, or as many as the limit of file descriptors allows.
    max_connections: int = field(default=0, validator=_whole_number(0, 1_000_000))
    #: For one IPv4 address, or one /64 of IPv6. 0: a quarter of all connections.
    max_connections_per_address: int = field(default=0, validator=_whole_number(0, 1_000_000))
    #: How many different wrong secrets of one client an address may send in a minute, and how often it
    #: may send the same one.
    max_wrong_secrets: int = field(default=30, validator=_whole_number(1, MAX_FAILURES))
    #: How many wrong passwords for one name an address may send in a minute; or a browser that this user
    #: has logged in with before.
    max_wrong_passwords: int = field(default=10, validator=_whole_number(1, MAX_FAILURES))
    #: How many wrong passwords for one user of the database all other browsers together may send in an
    #: hour. NIST SP 800-63B, section 5.2.2: "no more than 100".
    max_wrong_passwords_per_account: int = field(default=100, validator=_whole_number(1, MAX_FAILURES))
    #: How many wrong passwords an address may send in a minute for all names; and how many failed
    #: authentications of clients.
    max_failures_per_address: int = field(default=300, validator=_whole_number(1, MAX_FAILURES))
    #: How many unknown tokens a client may ask for by introspection from one address in a minute.
    max_unknown_tokens: int = field(default=1000, validator=_whole_number(1, MAX_FAILURES))
    #: Which users of the database must have a second factor: ``none``, ``admins`` or ``all``.
    require_second_factor: str = field(default="none", validator=_one_of("none", "admins", "all"))
    #: The path of the file with the key under which secrets are sealed in the database. Empty: a file
    #: beside a SQLite database, which is made when it is first needed; none for other databases.
    openid_key_file: str = field(default="", converter=_absolute)
    #: The name of the site on its pages. Empty: the host of the issuer.
    site_name: str = field(default="", validator=_site_name)
    #: The files of its logo, and of the logo on dark grounds. Empty: none; the same logo.
    site_logo: str = field(default="", validator=_path)
    site_logo_dark: str = field(default="", validator=_path)
    #: The colour of links and of the main button, like ``#1b4f9c``. Empty: that of ``style.css``.
    accent_color: str = field(default="", validator=_accent)
    #: What pages link to. Empty: no link.
    support_url: str = field(default="", validator=_link)
    privacy_url: str = field(default="", validator=_link)
    terms_url: str = field(default="", validator=_link)
    #: Where users go who cannot log in, as with a forgotten password.
    recovery_url: str = field(default="", validator=_link)
    #: The addresses and networks of the proxies in front of the server, and ``unix`` for the peers of
    #: a Unix socket. Their headers say where a request comes from.
    trusted_proxies: TrustedProxies = field(default=NO_PROXIES, converter=_proxies)
    #: False only for development.
    ssl_only: bool = field(default=True, validator=_truth)


# The option --trusted-proxy sets the proxies.
_SETTINGS = {
    name: each for name, each in attrs.fields_dict(Settings).items() if name != "trusted_proxies"
}

_DEFAULTS = Settings()


def _from_text(name: str, text: str) -> object:
    """The value of a setting that the environment gives as text."""
    default = getattr(_DEFAULTS, name)
    if isinstance(default, bool):
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            return text
    return text


def read_file(path: str) -> dict[str, Any]:
    """The values of a TOML file. Its keys name settings and options in any case, with ``-`` or ``_``.

    :raises ConfigurationError: the file cannot be read or is not TOML.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"the configuration file {path} cannot be read: {reason}"
        raise ConfigurationError(message, "config") from None
    return {_plain(name): value for name, value in content.items()}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").removeprefix(ENVIRONMENT_PREFIX.lower())


def text_of(name: str, value: object) -> str | None:
    """The value of an option that is a text.

    :raises ConfigurationError: the file has another kind of value.
    """
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r}: it must be a text", name)
    return value


def texts_of(name: str, value: object) -> list[str]:
    """An option that may be repeated: a list in a file, words in the environment."""
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ConfigurationError(f"{name} is {value!r}: it must be a text or a list of texts", name)


def whole_number(name: str, value: object, most: int) -> int:
    """An option that is a number: as such in a file, as text elsewhere.

    :raises ConfigurationError: it is not from 1 to ``most``.
    """
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise ConfigurationError(f"{value!r} is not a whole number from 1 to {most}", name)
    return number


def is_of_platform(variable: str, text: str) -> bool:
    """Whether Kubernetes or Docker has set a variable, as for a service that is named ``djoauth2``.

    They set ``DJOAUTH2_PORT`` to the service's address, such as ``tcp://10.0.0.1:8443``.
    """
    ours = variable.startswith(ENVIRONMENT_PREFIX)
    return ours and variable.endswith("PORT") and _SERVICE_ADDRESS.match(text) is not None


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that may be options and settings."""
    return {
        variable: text
        for variable, text in environment.items()
        if variable.startswith(ENVIRONMENT_PREFIX) and not is_of_platform(variable, text)
    }


def source_of(name: str, environment: Mapping[str, str], path: str, file: Mapping[str, Any]) -> str:
    """Where the value of an option or setting comes from: a variable, or a file and its key.

    :param name: the name, with ``_``.
    :returns: words for an error; the empty string if the value comes from neither.
    """
    for variable in _variables(environment):
        if _plain(variable) == name:
            return variable
    return f"{name} in {path}" if name in file else ""


def without(
    name: str, environment: Mapping[str, str], file: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """An environment and a file that do not give an option or setting."""
    return (
        {variable: text for variable, text in environment.items() if _plain(variable) != name},
        {key: value for key, value in file.items() if key != name},
    )


def gather(
    options: Iterable[str], environment: Mapping[str, str], file: Mapping[str, Any]
) -> tuple[dict[str, Any], Settings]:
    """Combine environment and file. Returns the values of the named options, and the settings.

    The environment overrides the file. The command line overrides both, but is not read here.

    :param options: the names of the server's options, with ``_``.
    :raises ConfigurationError: the file has an unknown name, or a setting's value is not allowed.
    """
    known = set(options)
    chosen = dict(file)
    unknown = sorted(set(chosen) - known - set(_SETTINGS))
    if unknown:
        raise ConfigurationError(
            f"the configuration file names {unknown[0]!r}, which is neither an option nor a setting",
            unknown[0],
        )
    for variable, text in _variables(environment).items():
        name = _plain(variable)
        if name in known:
            chosen[name] = text
        elif name in _SETTINGS:
            chosen[name] = _from_text(name, text)
    settings = Settings(**{name: chosen.pop(name) for name in _SETTINGS if name in chosen})
    return chosen, settings
