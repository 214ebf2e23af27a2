import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_tuning.knobs.formula import FormulaError, KnobFormula, MissingFactError
from perfopt_tuning.knobs.values import parse_size

finite = st.floats(-1e6, 1e6)


class Known:
    def __init__(self, **facts):
        self.facts = facts

    def fact(self, name):
        return self.facts.get(name)

    def measured(self, function, metric):
        return self.facts.get(f"{function}_{metric}")


@given(finite, finite, st.floats(0.1, 1e6))
def test_arithmetic_is_pythons(a, b, c):
    made = KnobFormula("min(a, b) / c + (a if a > b else -b) * 2").value(Known(a=a, b=b, c=c))
    assert made == min(a, b) / c + (a if a > b else -b) * 2


@given(st.floats(0.001, 1000))
def test_ceil_is_not_fooled_by_single_precision(cores):
    wanted = math.ceil(cores - 1e-9)
    assert KnobFormula("ceil(x)").value(Known(x=cores)) == wanted
    assert KnobFormula("ceil(x)").value(Known(x=2 + 1e-12)) == 2


def test_only_what_is_come_to_is_needed():
    formula = KnobFormula("a if known(a) else peak(cpu_cores)")
    assert formula.value(Known(a=3.0)) == 3
    assert formula.value(Known(peak_cpu_cores=4.0)) == 4
    with pytest.raises(MissingFactError, match="cpu_cores"):
        formula.value(Known())
    assert formula.names == {"a"}
    assert formula.calls == (("peak", "cpu_cores"),)


@pytest.mark.parametrize("text", ["1 / 0", "'a' + 1", "floor('x')"])
def test_what_cannot_be_computed_is_an_error_of_its_own(text):
    with pytest.raises(FormulaError):
        KnobFormula(text).value(Known())


@pytest.mark.parametrize(
    "text", ["a.b", "a[0]", "lambda: 1", "f'{a}'", "a := 1", "2 ** 9", "True", "min(x=1)", "(1).real"]
)
def test_nothing_but_arithmetic_is_a_formula(text):
    with pytest.raises(FormulaError):
        KnobFormula(text)


def test_a_formula_travels():
    formula = KnobFormula("ceil( a )\n + 1")
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert formula.text == "ceil( a ) + 1"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 * 2**20), ("2g", 2**31), ("900MiB", 900 * 2**20), ("1024", 1024), ("x", None)],
)
def test_sizes_are_read_as_runtimes_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a < 2 and b < 2", False),
        ("a < 2 and b < 3", True),
        ("a > 2 or b < 3", True),
        ("a > 2 or b > 3", False),
        ("not a > 2", True),
        ("-a + +b", 1.0),
        ("7 // b + 7 % b", 4.0),
    ],
)
def test_logic_and_signs_are_pythons(text, value):
    assert KnobFormula(text).value(Known(a=1.0, b=2.0)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "'1 \\+' is not a formula."),
        ("sqrt(a)", "There is no function 'sqrt': there are ceil, floor, round, min, max, abs, last, p99"),
        ("a.b(1)", "There is no function '': there are ceil"),
        ("max(x=1)", "max takes arguments without names."),
        ("max(1, x=1)", "max takes arguments without names."),
        ("max()", "max takes arguments without names."),
        ("known(a, b)", "known takes one name."),
        ("peak(1)", "peak takes one name."),
        ("True", "True is neither a number nor text."),
        ("[a]", "List has no place in a formula."),
        ("+".join(["1"] * 501), "A formula has at most 1000 characters."),
    ],
)
def test_an_error_says_what_is_wrong(text, message):
    with pytest.raises(FormulaError, match=message):
        KnobFormula(text)


def test_a_formula_of_a_thousand_characters_is_read():
    text = f"max({'1,' * 497}9)"
    assert len(text) == 1000
    assert KnobFormula(text).value(Known()) == 9


def test_a_division_by_zero_names_the_formula():
    with pytest.raises(FormulaError, match="1 / 0 cannot be computed: "):
        KnobFormula("1 / 0").value(Known())


def test_a_fact_that_is_missing_is_named():
    with pytest.raises(MissingFactError, match=r"^heap$"):
        KnobFormula("heap * 2").value(Known())


def test_formulas_are_equal_by_their_text():
    assert KnobFormula("a + 1") == KnobFormula("a  +  1")
    assert hash(KnobFormula("a + 1")) == hash(KnobFormula("a  +  1"))
    assert KnobFormula("a + 1") != KnobFormula("a + 2")
    assert KnobFormula("a + 1") != "a + 1"
    assert len({KnobFormula("a"), KnobFormula("b")}) == 2
