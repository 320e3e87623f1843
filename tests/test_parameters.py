"""Strict parsing of queries and forms."""

from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from djoauth2_twisted.errors import InvalidRequest
from djoauth2_twisted.parameters import (
    MAX_BROKEN_ESCAPES,
    MAX_FIELDS,
    Parameters,
    decode,
    has_name,
    parse,
)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"&&a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a=1=2==", {"a": "1=2=="}),
        (b"=1", {"": "1"}),
        (b"a+b=c+d", {"a b": "c d"}),
        (b"a%2Bb=%26%3D%25", {"a+b": "&=%"}),
        (b"state=%C3%A9", {"state": "é"}),
        (b"state=\xc3\xa9", {"state": "é"}),
        (b"A=1&a=2", {"A": "1", "a": "2"}),
        (b"a[]=1&a=2", {"a[]": "1", "a": "2"}),
        (b"a=%", {"a": "%"}),
        (b"a=%4", {"a": "%4"}),
        (b"a=%zz", {"a": "%zz"}),
        (b"a=%2525", {"a": "%25"}),
        (b"a=\x00\r\n\t", {"a": "\x00\r\n\t"}),
    ],
)
def test_fields_are_form_decoded(source, values):
    """AZ-11, AZ-23"""
    assert parse(source) == Parameters(values)


@pytest.mark.parametrize("source", [b"state=abc;def=1", b"state=abc%3Bdef=1"])
def test_a_semicolon_stays_in_its_value(source):
    """AZ-12"""
    assert parse(source) == Parameters({"state": "abc;def=1"})


@pytest.mark.parametrize("source", [b"a=&b=1", b"a&b=1", b"b=1&a="])
def test_a_parameter_without_value_was_not_sent(source):
    """AZ-09"""
    parameters = parse(source)
    assert parameters.get("a") is None
    assert parameters.get("b") == "1"
    parameters.refuse_repeated()


@pytest.mark.parametrize(
    "sources",
    [
        (b"a=1&a=1",),
        (b"a=1&a=2",),
        (b"a=&a=1",),
        (b"a=1&a=",),
        (b"a&a",),
        (b"a=1&a=2&a=3",),
        (b"a=1&%61=2",),
        (b"a=1", b"a=1"),
        (b"a=1", b"a=2"),
        (b"a=", b"a=2"),
    ],
)
def test_a_parameter_sent_twice_has_no_value_and_is_refused(sources):
    """AZ-15, AZ-16, CA-17, CA-18: in one source or in two, whatever its values"""
    parameters = parse(b"b=1", *sources)
    assert parameters.repeated == {"a"}
    assert parameters.get("a") is None
    assert parameters.get("b") == "1"
    with pytest.raises(InvalidRequest, match="more than once"):
        parameters.refuse_repeated()


def test_a_list_may_be_sent_in_fields_of_one_name():
    """Its values become lines; every other parameter is still sent once"""
    parameters = parse(b"l=1&a=1&l=&l=2&m=", b"l=3&b=1&b=2", lists=("l", "m", "n"))
    assert parameters.values == {"l": "1\n2\n3", "a": "1"}
    assert parameters.repeated == {"b"}


def test_parameters_that_were_sent_once_are_not_refused():
    """AZ-17: known or not"""
    parse(b"client_id=1", b"extra=foobar").refuse_repeated()


def test_no_error_repeats_what_was_sent():
    """U-06"""
    with pytest.raises(InvalidRequest) as caught:
        parse(b"s3cret=s3cret&s3cret=s3cret").refuse_repeated()
    assert "s3cret" not in caught.value.description


@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80", b"a\xc3", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_bytes_that_are_not_utf8_are_kept_and_equal_nothing_else(value):
    """AZ-14, CA-13: an overlong or broken form is no other way to spell a character"""
    read = parse(b"a=" + quote_from_bytes(value).encode()).get("a")
    assert read is not None
    assert read.encode("utf-8", "surrogateescape") == value
    with pytest.raises(UnicodeEncodeError):
        read.encode("utf-8")


@pytest.mark.parametrize("separator", [b"&", b"&a=1&", b"&&"])
def test_more_fields_than_any_request_has_are_refused(separator):
    """HT-07"""
    with pytest.raises(InvalidRequest, match="too many"):
        parse(separator.join([b"x"] * 10_000))


def test_as_many_fields_as_a_request_may_have_are_read():
    fields = [b"f%d=%d" % (number, number) for number in range(MAX_FIELDS)]
    assert len(parse(b"&".join(fields)).values) == MAX_FIELDS
    for query, form in ((fields, []), (fields[1:], fields[:1]), ([], fields)):
        assert len(parse(b"&".join(query), b"&".join(form)).values) == MAX_FIELDS
        with pytest.raises(InvalidRequest, match="too many"):
            parse(b"&".join(query), b"&".join([*form, b"one=more"]))


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [(b"", ""), (b"a+b", "a b"), (b"%2B", "+"), (b"%c3%A9", "é"), (b"%ff", "\udcff")],
)
def test_one_value_is_form_decoded(encoded, decoded):
    """CA-08"""
    assert decode(encoded) == decoded


@given(st.lists(st.binary() | st.text("ab=&;%+3d", max_size=30).map(str.encode), max_size=3))
@example([b"&" * MAX_FIELDS])
def test_any_bytes_are_read_or_refused(sources):
    """U-01"""
    try:
        parameters = parse(*sources)
    except InvalidRequest:
        assert b"&".join(filter(None, sources)).count(b"&") >= MAX_FIELDS
        return
    assert "" not in parameters.values.values()
    assert not parameters.repeated & parameters.values.keys()
    assert all(parameters.get(name) is None for name in parameters.repeated)
    for text in (*parameters.values, *parameters.values.values()):
        assert isinstance(text.encode("utf-8", "surrogateescape"), bytes)


names = st.binary().map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(st.dictionaries(names, names.filter(bool), max_size=20), st.integers(0, 20))
def test_what_a_client_encodes_is_what_is_read(sent, cut):
    """AZ-11, CA-08: shared out over query and form in any way"""
    pairs = [
        "=".join(quote_plus(text, errors="surrogateescape") for text in field).encode("ascii")
        for field in sent.items()
    ]
    assert parse(b"&".join(pairs[:cut]), b"&".join(pairs[cut:])) == Parameters(sent)


# Of what is special in a form, and in quoted-printable.
PIECES = st.lists(st.sampled_from([*b"%%%=+&aF0\r\n\xff _\t", *b"41Ff"]), max_size=20).map(bytes)


@given(st.binary(max_size=50) | PIECES)
@example(b"%3D3D%")
@example(b"=41%0D%0A=\r\n=")
def test_a_value_is_decoded_as_the_standard_library_does(encoded):
    plain = encoded.replace(b"+", b" ")
    assert decode(encoded) == unquote_to_bytes(plain).decode("utf-8", "surrogateescape")


def test_broken_escapes_are_many_only_in_an_attack():
    assert decode(b"100%, " * MAX_BROKEN_ESCAPES + b"%41") == "100%, " * MAX_BROKEN_ESCAPES + "A"
    with pytest.raises(InvalidRequest):
        decode(b"%4" * (MAX_BROKEN_ESCAPES + 1))


SPELLINGS = [*b"a_b %61_b a%5Fb a%5fb %61%5F%62 a_b% A_b xa_b a_b%20".split(), b""]


@given(
    st.lists(
        st.tuples(st.sampled_from(SPELLINGS), st.sampled_from([b"", b"=", b"=a_b", b"=x&", b"%3D"])),
        max_size=4,
    )
)
def test_a_name_is_found_however_it_is_spelled(fields):
    encoded = b"&".join(name + rest for name, rest in fields)
    names = {decode(pair.partition(b"=")[0]) for pair in encoded.split(b"&")}
    assert has_name(encoded, "a_b") == ("a_b" in names)


@pytest.mark.parametrize("name", ["a.b", "é", "a-b"])
def test_a_name_stands_for_itself(name):
    assert has_name(quote_plus(name).encode() + b"=1", name)
    assert not has_name(b"aXb=1", name)
