"""Values against the official Python client, spellings against apimachinery's quantity_test.go."""

import contextlib
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as official_parse

from perfopt.domain.quantity import (
    canonical_quantity,
    format_cpu,
    format_memory,
    parse_cpu,
    parse_memory,
    parse_quantity,
)
from perfopt.errors import InvalidInputError

SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

CANONICAL = [
    ("0", "0"),
    ("0Ki", "0"),
    ("00", "0"),
    ("1024Mi", "1Gi"),
    ("307200Ki", "300Mi"),
    ("1025024Mi", "1001Gi"),
    ("1024Gi", "1Ti"),
    ("5000m", "5"),
    ("0.5", "500m"),
    (".5", "500m"),
    ("1.", "1"),
    ("1.G", "1G"),
    ("1000M", "1G"),
    ("0.001T", "1G"),
    ("1000u", "1m"),
    ("1.08", "1080m"),
    ("1080000000n", "1080m"),
    ("1234567M", "1234567M"),
    ("1025", "1025"),
    ("128974848", "128974848"),
    ("0.5Gi", "512Mi"),
    ("100.035Ki", "102435840m"),
    (".001Ki", "1024m"),
    (".000001Ki", "1024u"),
    (".000000001Ki", "1024n"),
    (".000000000001Ki", "2n"),
    (".001e12", "1e9"),
    ("0.001e0", "1e-3"),
    ("1000e-12", "1e-9"),
    ("300e6", "300e6"),
    ("1e3", "1e3"),
    ("1E-1", "100e-3"),
    ("1.3E+6", "1300e3"),
    ("3.001n", "4n"),
    ("0.0000000001", "1n"),
    ("0.00000012345", "124n"),
    ("0.5e-9", "1e-9"),
    ("12E", "12E"),
    ("1000E", "1e21"),
    ("5000E", "5e21"),
    ("9Ei", "9223372036854775807"),
    ("9223372036854775807Ki", "9223372036854775807"),
]


@pytest.mark.parametrize(("given_text", "canonical"), CANONICAL)
def test_the_canonical_spelling_is_the_api_servers(given_text, canonical):
    assert canonical_quantity(given_text) == canonical
    assert canonical_quantity("+" + given_text) == canonical
    if canonical != "0":
        assert canonical_quantity("-" + given_text) == "-" + canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.1.M",
        "1+1.0M",
        "0.1mi",
        "0.1am",
        "aoeu",
        ".5i",
        "1\u0663",
        "1i",
        "-3.01i",
        "-3.01e-",
        " 1",
        "1 ",
        "1K",
        "nan",
    ],
)
def test_what_the_api_server_refuses_is_refused(text):
    with pytest.raises(InvalidInputError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


@given(
    st.decimals(min_value=0, max_value=10**6, places=3),
    st.sampled_from(SUFFIXES),
    st.sampled_from(["", "+", "-"]),
)
def test_values_are_those_of_the_official_client(number, suffix, sign):
    text = f"{sign}{number:f}{suffix}"
    exact = official_parse(text)
    nano = Decimal("1e-9")
    if suffix in ("Ei", "Pi") and abs(exact) > 2**63 - 1:
        assert abs(parse_quantity(text)) == 2**63 - 1
    else:
        assert abs(parse_quantity(text) - exact) < nano
        assert abs(parse_quantity(text)) >= abs(exact)


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=-9, max_value=15))
def test_exponents_are_those_of_the_official_client(number, exponent):
    assert parse_quantity(f"{number}e{exponent}") == official_parse(f"{number}e{exponent}")


@given(st.integers(min_value=0, max_value=10**15), st.sampled_from(SUFFIXES))
def test_the_canonical_spelling_has_the_same_value_and_is_its_own(number, suffix):
    spelled = canonical_quantity(f"{number}{suffix}")
    assert canonical_quantity(spelled) == spelled
    assert parse_quantity(spelled) == parse_quantity(f"{number}{suffix}")


@given(st.text(max_size=200))
def test_any_text_is_a_quantity_or_a_clear_error(text):
    with contextlib.suppress(InvalidInputError):
        assert parse_quantity(text).is_finite()


@given(st.floats(min_value=0, max_value=1000))
def test_cpu_is_printed_in_whole_millicores_rounded_up(cores):
    printed = parse_quantity(format_cpu(cores)) * 1000
    assert printed == printed.to_integral_value()
    single_precision = cores * 1000 * 2e-7 + 2e-6
    assert -single_precision <= float(printed) - cores * 1000 < 1


@given(st.floats(min_value=0, max_value=2**50))
def test_memory_is_printed_to_the_byte(size):
    assert parse_memory(format_memory(size)) == math.ceil(size)


def test_readable_sizes_are_printed_readably():
    assert format_memory(800 * 2**20) == "800Mi"
    assert format_memory(1e9) == "1G"
    assert (format_cpu(0.3), format_cpu(2.0), format_cpu(0.30000001)) == ("300m", "2", "300m")


def test_a_negative_or_absurd_quantity_names_the_field():
    with pytest.raises(InvalidInputError) as caught:
        parse_cpu("-1", field="services.web.requests.cpu")
    assert str(caught.value) == "services.web.requests.cpu: '-1' is negative. Give zero or more."
    with pytest.raises(InvalidInputError, match="out of range"):
        parse_quantity("1e999999999")
