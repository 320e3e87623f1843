"""Settings, and how they are gathered from environment and file."""

import os
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.conf import ENVIRONMENT_PREFIX, Settings, gather, read_file
from djoauth2_twisted.errors import ConfigurationError

LENGTHS = [
    "access_token_length",
    "refresh_token_length",
    "authorization_code_length",
    "client_key_length",
    "client_secret_length",
]
LIFETIMES = ["access_token_lifetime", "refresh_token_lifetime"]
FLAGS = ["access_tokens_refreshable", "require_state", "require_pkce", "ssl_only"]
A_HUNDRED_YEARS = 100 * 366 * 86400


# The settings.


def test_the_defaults_are_those_of_the_documents():
    """INTERFACE, section 1"""
    assert attrs.asdict(Settings()) == {
        "access_token_length": 30,
        "refresh_token_length": 30,
        "authorization_code_length": 30,
        "client_key_length": 30,
        "client_secret_length": 30,
        "access_token_lifetime": 3600,
        "access_tokens_refreshable": True,
        "authorization_code_lifetime": 600,
        "refresh_token_lifetime": 2592000,
        "refresh_retry_seconds": 0,
        "realm": "",
        "require_state": True,
        "require_pkce": False,
        "openid": False,
        "openid_key_rotation": 7776000,
        "openid_private_logout_addresses": False,
        "remember_consent": False,
        "max_grants_per_client": 100,
        "max_connections": 0,
        "max_connections_per_address": 0,
        "max_wrong_secrets": 30,
        "max_wrong_passwords": 10,
        "max_wrong_passwords_per_account": 100,
        "max_failures_per_address": 300,
        "max_unknown_tokens": 1000,
        "require_second_factor": "none",
        "openid_key_file": "",
        **dict.fromkeys(("site_name", "site_logo", "site_logo_dark", "accent_color"), ""),
        **dict.fromkeys(("support_url", "privacy_url", "terms_url", "recovery_url"), ""),
        "ssl_only": True,
        "access_token_cache": 10000,
        "trusted_proxies": {"networks": (), "unix": False},
    }


def named(name: str, value: object) -> Settings:
    """Settings of which one has another value."""
    changed: dict[str, Any] = {name: value}
    return Settings(**changed)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        *((name, 22, 255) for name in LENGTHS),
        *((name, 1, A_HUNDRED_YEARS) for name in LIFETIMES),
        ("authorization_code_lifetime", 1, 600),
        ("refresh_retry_seconds", 0, 600),
    ],
)
def test_a_number_is_taken_within_its_bounds(name, lowest, highest):
    """CG-16 (22 characters are 128 bits)"""
    for value in (lowest, highest):
        assert getattr(named(name, value), name) == value
    for value in (lowest - 1, highest + 1, -(10**30), 10**30):
        with pytest.raises(ConfigurationError) as caught:
            named(name, value)
        assert str(caught.value) == (
            f"{name.upper()} is {value}: it must be a whole number from {lowest} to {highest}"
        )


@pytest.mark.parametrize(
    "name", [*LENGTHS, *LIFETIMES, "authorization_code_lifetime", "refresh_retry_seconds"]
)
@pytest.mark.parametrize("value", [True, False, 30.0, "30", None, [30]])
def test_what_is_no_whole_number_is_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"{name.upper()} is .*: it must be a whole number"):
        named(name, value)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false(name):
    for value in (True, False):
        assert getattr(named(name, value), name) is value
    for wrong in (0, 1, "true", "", None):
        with pytest.raises(ConfigurationError, match=f"{name.upper()} is .*: it must be true or false"):
            named(name, wrong)


@pytest.mark.parametrize("value", ["", "None", "ALL", "users", True, None, 1])
def test_second_factors_are_required_of_none_of_admins_or_of_all(value):
    """SF-09"""
    for allowed in ("none", "admins", "all"):
        assert named("require_second_factor", allowed).require_second_factor == allowed
    with pytest.raises(ConfigurationError, match="it must be none, admins or all"):
        named("require_second_factor", value)


@pytest.mark.parametrize("value", [None, True, 7, "a\0b"])
def test_key_file_is_a_path(value):
    """From the folder of the start, since a daemon leaves it."""
    assert named("openid_key_file", "a.key").openid_key_file == os.path.abspath("a.key")
    with pytest.raises(ConfigurationError, match="it must be a path"):
        named("openid_key_file", value)


@pytest.mark.parametrize("realm", ["", "example", 'The "best" \\ realm, of all'])
def test_a_realm_is_printable_ascii(realm):
    """BG-12"""
    assert Settings(realm=realm).realm == realm


@pytest.mark.parametrize("realm", ["é", "a\r\nb", "a\tb", "\x00", "\x7f", b"bytes", None, 7])
def test_a_realm_that_does_not_fit_a_header_is_refused(realm):
    """BG-12: at start-up, not per request"""
    with pytest.raises(ConfigurationError, match=r"REALM is .*: it must be a text of printable ASCII"):
        Settings(realm=realm)


def test_settings_do_not_change():
    settings: Any = Settings()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        settings.ssl_only = False


def test_settings_are_given_by_name():
    make: Any = Settings
    with pytest.raises(TypeError, match="positional"):
        make(40)
    with pytest.raises(TypeError, match="no_such_setting"):
        make(no_such_setting=1)


# The file.


def test_a_file_is_read_with_names_in_any_spelling(tmp_path):
    path = tmp_path / "djoauth2.toml"
    path.write_text(
        'SSL_ONLY = false\ntoken-store = "redis://"\n'
        'DJOAUTH2_REALM = "é"\nport = ["ssl:443", "tcp:80"]\n',
        "utf-8",
    )
    assert read_file(str(path)) == {
        "ssl_only": False,
        "token_store": "redis://",
        "realm": "é",
        "port": ["ssl:443", "tcp:80"],
    }


def test_an_empty_file_says_nothing(tmp_path):
    path = tmp_path / "djoauth2.toml"
    path.write_bytes(b"")
    assert read_file(str(path)) == {}


@pytest.mark.parametrize(
    "content", [b"SSL_ONLY", b"= 1", b"a = 1\na = 2", b"realm = \xff", b"[", b"\x00"]
)
def test_a_file_that_is_not_toml_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "djoauth2.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        read_file(str(path))
    assert str(caught.value).startswith(f"the configuration file {path} cannot be read: ")
    assert not str(caught.value).endswith(": None")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_missing_is_refused_in_one_line(tmp_path):
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigurationError) as caught:
        read_file(str(missing))
    assert str(caught.value) == (
        f"the configuration file {missing} cannot be read: No such file or directory"
    )
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_file(str(tmp_path))


# Environment and file together.


def test_without_environment_and_file_there_are_defaults():
    assert gather(["database"], {}, {}) == ({}, Settings())


def test_options_and_settings_are_told_apart():
    options, found = gather(
        ["database", "port"],
        {"DJOAUTH2_DATABASE": "sqlite://", "DJOAUTH2_REALM": "example"},
        {"port": ["ssl:443"], "access_token_lifetime": 60},
    )
    assert options == {"database": "sqlite://", "port": ["ssl:443"]}
    assert found == Settings(realm="example", access_token_lifetime=60)


def test_the_environment_beats_the_file():
    options, found = gather(
        ["issuer"],
        {"DJOAUTH2_ISSUER": "https://environment.example", "DJOAUTH2_ACCESS_TOKEN_LIFETIME": "60"},
        {"issuer": "https://file.example", "access_token_lifetime": 30, "realm": "file"},
    )
    assert options == {"issuer": "https://environment.example"}
    assert found == Settings(access_token_lifetime=60, realm="file")


def test_the_file_is_left_as_it_was():
    file = {"realm": "example", "issuer": "https://file.example"}
    gather(["issuer"], {"DJOAUTH2_REALM": "other"}, file)
    assert file == {"realm": "example", "issuer": "https://file.example"}


def test_a_file_that_names_what_does_not_exist_is_refused():
    with pytest.raises(ConfigurationError, match="names 'acess_token_lifetime', which is neither"):
        gather(["issuer"], {}, {"zzz": 1, "acess_token_lifetime": 60, "issuer": "x"})


def test_other_variables_of_the_environment_do_not_matter():
    """Only the file is judged so: an environment is shared with others."""
    environment = {
        "PATH": "/bin",
        "REALM": "x",
        "SSL_ONLY": "false",
        "DJOAUTH2_OTHER": "x",
        "DJOAUTH2_": "",
    }
    assert gather(["database"], environment, {}) == ({}, Settings())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("TRUE", True), ("1", True), (" True\n", True)),
        *(("false", False), ("False", False), ("0", False), (" 0 ", False)),
    ],
)
def test_a_flag_is_read_from_the_environment(text, value):
    _, found = gather([], {"DJOAUTH2_REQUIRE_PKCE": text, "DJOAUTH2_REQUIRE_STATE": text}, {})
    assert found.require_pkce is value
    assert found.require_state is value


@pytest.mark.parametrize("text", ["", "yes", "no", "on", "2", "truefalse"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(text):
    """No word is silently taken for false."""
    with pytest.raises(ConfigurationError, match=r"SSL_ONLY is .*: it must be true or false"):
        gather([], {"DJOAUTH2_SSL_ONLY": text}, {})


def test_a_number_is_read_from_the_environment():
    _, found = gather([], {"DJOAUTH2_ACCESS_TOKEN_LIFETIME": " 60 "}, {})
    assert found.access_token_lifetime == 60


@pytest.mark.parametrize("text", ["", "an hour", "60s", "6e1", "60.0", "-1", "0", "0x40"])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(ConfigurationError, match="ACCESS_TOKEN_LIFETIME is"):
        gather([], {"DJOAUTH2_ACCESS_TOKEN_LIFETIME": text}, {})


def test_a_text_is_read_from_the_environment_as_it_is():
    """Though it looks like a number or a flag."""
    for text in ("1", "true", " x ", ""):
        assert gather([], {"DJOAUTH2_REALM": text}, {})[1].realm == text


@pytest.mark.parametrize("name", sorted({*attrs.fields_dict(Settings)} - {"trusted_proxies"}))
def test_every_setting_can_be_set_in_the_environment_and_in_the_file(name):
    """INTERFACE: and so can every setting"""
    default = getattr(Settings(), name)
    text = "https://example.com/" if name.endswith("_url") else "#1b4f9c"
    text = "all" if name == "require_second_factor" else text
    other = {bool: not default, int: 50, str: text}[type(default)]
    expected = named(name, other)
    assert expected != Settings()
    assert gather([], {}, {name: other}) == ({}, expected)
    assert gather([], {ENVIRONMENT_PREFIX + name.upper(): str(other)}, {}) == ({}, expected)


@given(
    st.dictionaries(
        st.sampled_from([ENVIRONMENT_PREFIX + name.upper() for name in attrs.fields_dict(Settings)]),
        st.text(st.characters(exclude_categories=())),
    )
)
def test_any_environment_is_read_or_refused_in_one_line(environment):
    """LG-03"""
    try:
        gather([], environment, {})
    except ConfigurationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
