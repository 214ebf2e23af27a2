import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_tuning.knobs.formula import Formula, FormulaError, MissingFactError
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
    made = Formula("min(a, b) / c + (a if a > b else -b) * 2").value(Known(a=a, b=b, c=c))
    assert made == min(a, b) / c + (a if a > b else -b) * 2


@given(st.floats(0.001, 1000))
def test_ceil_is_not_fooled_by_single_precision(cores):
    wanted = math.ceil(cores - 1e-9)
    assert Formula("ceil(x)").value(Known(x=cores)) == wanted
    assert Formula("ceil(x)").value(Known(x=2 + 1e-12)) == 2


def test_only_what_is_come_to_is_needed():
    formula = Formula("a if known(a) else peak(cpu_cores)")
    assert formula.value(Known(a=3.0)) == 3
    assert formula.value(Known(peak_cpu_cores=4.0)) == 4
    with pytest.raises(MissingFactError, match="cpu_cores"):
        formula.value(Known())
    assert formula.names == {"a"}
    assert formula.calls == (("peak", "cpu_cores"),)


@pytest.mark.parametrize("text", ["1 / 0", "'a' + 1", "floor('x')"])
def test_what_cannot_be_computed_is_an_error_of_its_own(text):
    with pytest.raises(FormulaError):
        Formula(text).value(Known())


@pytest.mark.parametrize(
    "text", ["a.b", "a[0]", "lambda: 1", "f'{a}'", "a := 1", "2 ** 9", "True", "min(x=1)", "(1).real"]
)
def test_nothing_but_arithmetic_is_a_formula(text):
    with pytest.raises(FormulaError):
        Formula(text)


def test_a_formula_travels():
    formula = Formula("ceil( a )\n + 1")
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert formula.text == "ceil( a ) + 1"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 * 2**20), ("2g", 2**31), ("900MiB", 900 * 2**20), ("1024", 1024), ("x", None)],
)
def test_sizes_are_read_as_runtimes_write_them(text, size):
    assert parse_size(text) == size
