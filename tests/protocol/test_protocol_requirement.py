"""What a guard demands: scopes, alternatives, and both by method."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djoauth2_twisted.errors import ConfigurationError, InsufficientScope, InvalidToken, MethodNotAllowed
from djoauth2_twisted.models import AccessToken, ResourceOwner
from djoauth2_twisted.protocol.requirement import any_of, demand_of, requirement_of

TOKEN = AccessToken(
    client_id="a-client",
    user=ResourceOwner("peter"),
    scopes=(),
    issued=1000,
    expires=4600,
    grant_id="a-grant",
)


def token(*scopes):
    return attrs.evolve(TOKEN, scopes=scopes)


def test_a_sequence_is_all_of_them_for_every_method():
    required = requirement_of(["read", "write"])
    assert required.scopes == ("read", "write")
    assert required.methods == ()
    for method in ("GET", "HEAD", "DELETE", "PROPFIND", "get"):
        assert required.asked(method) == ("read", "write")
        required.demand(method).check(token("write", "read"))
        # A verifier that forgot to ask for them opens nothing.
        with pytest.raises(InsufficientScope):
            required.demand(method).check(token("read"))


def test_alternatives_are_judged_here():
    """A verifier knows of none, and is asked whether the token is good at all."""
    required = requirement_of(any_of("read", ("list", "see"), "admin"))
    assert required.asked("GET") == ()
    assert required.scopes == ("read", "list", "see", "admin")
    for good in (token("read"), token("see", "list"), token("x", "admin")):
        required.demand("GET").check(good)
    for bad in (token(), token("list"), token("x")):
        with pytest.raises(InsufficientScope) as caught:
            required.demand("GET").check(bad)
        assert caught.value.scopes == ("read",)


def test_a_single_alternative_equals_its_scopes():
    assert requirement_of(any_of(("a", "b"))) == requirement_of(("a", "b"))
    assert requirement_of([any_of("a", "b")]) == requirement_of(any_of("a", "b"))


def test_methods_have_their_own():
    required = requirement_of({"GET": ("read",), "POST": any_of("write", "admin"), "PUT": ()})
    assert required.scopes == ("read", "write", "admin")
    assert required.asked("GET") == ("read",)
    assert required.asked("POST") == required.asked("PUT") == ()
    required.demand("PUT").check(token())
    required.demand("POST").check(token("admin"))
    with pytest.raises(InsufficientScope):
        required.demand("POST").check(token("read"))


def test_head_is_judged_as_get_where_it_is_not_named():
    """RFC 9110, section 9.3.2."""
    required = requirement_of({"GET": ("read",)})
    assert required.asked("HEAD") == ("read",)
    assert required.methods == ("GET", "HEAD")
    required = requirement_of({"GET": ("read",), "HEAD": ("peek",)})
    assert required.asked("HEAD") == ("peek",)
    assert required.methods == ("GET", "HEAD")


@pytest.mark.parametrize("method", ["DELETE", "get", "", "HEAD"])
def test_a_method_that_is_not_named_is_refused(method):
    required = requirement_of({"POST": ("write",)})
    assert required.asked(method) == ()
    with pytest.raises(MethodNotAllowed) as caught:
        required.demand(method)
    assert caught.value.allowed == ("POST",)


def test_nothing_covers_nothing():
    """Not even where no scope is needed."""
    for scopes in ((), ("read",), any_of("read", "write")):
        with pytest.raises(InvalidToken):
            demand_of(scopes).check(None)


@pytest.mark.parametrize(
    "scopes",
    [
        ("a b",),
        ("",),
        ('a"b',),
        ("a\\b",),
        ("a\r\nb",),
        ("é",),
        (b"read",),
        (None,),
        ("x" * 256,),
        ("a", any_of("b", "c")),
        {"GET": ("a b",)},
        {},
        {"get": ("read",)},
        {b"GET": ("read",)},
        {"G T": ("read",)},
        {"": ("read",)},
    ],
    ids=repr,
)
def test_an_impossible_scope_or_method_is_a_configuration_error(scopes):
    """BG-12, BG-13: not when the first request comes."""
    with pytest.raises(ConfigurationError) as caught:
        requirement_of(scopes)
    assert "\n" not in str(caught.value)


def test_alternatives_that_cannot_exist_are_refused_at_once():
    for alternatives in ((), ("a b",), (("a", "b c"),), (b"a",)):
        with pytest.raises(ConfigurationError):
            any_of(*alternatives)


@pytest.mark.parametrize("scopes", ["user_info", {"GET": "read"}, {"GET": {"GET": ("read",)}}])
def test_a_lone_string_is_no_list_of_scopes(scopes):
    """It would be taken letter by letter."""
    with pytest.raises(TypeError, match="a sequence of names"):
        requirement_of(scopes)


def test_methods_are_not_taken_for_scopes():
    with pytest.raises(TypeError, match="a sequence of names"):
        demand_of({"GET": ("read",)})


names = st.lists(st.sampled_from("abcd"), max_size=3)


@given(st.lists(names, min_size=1, max_size=3), names)
def test_any_alternative_is_enough_and_nothing_less(alternatives, scopes):
    """What the verifier is asked, and what is judged here, are together the whole demand."""
    required = requirement_of(any_of(*alternatives))
    shown = token(*scopes)
    asked = shown.has_scope(*required.asked("GET"))
    try:
        required.demand("GET").check(shown)
        good = asked
    except InsufficientScope:
        good = False
    assert good == any(set(each) <= set(scopes) for each in alternatives)
