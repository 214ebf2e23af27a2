"""The contract of forecasters: what perfopt brings keeps it, and forecasters that break it are found."""

import pytest

from perfopt.forecast import BUILT_IN
from perfopt.testing import FORECASTER_CHECKS, check_forecaster
from perfopt.testing.bad_forecasters import BAD_FORECASTERS, FlatForecaster

CASES = [(check, one) for check, found in BAD_FORECASTERS.items() for one in found]


@pytest.mark.parametrize("forecaster", [FlatForecaster(), *BUILT_IN], ids=lambda one: one.name)
def test_a_forecaster_that_keeps_the_contract_has_no_violations(forecaster):
    violations = check_forecaster(forecaster)
    assert [one for one in violations if one.check != "public_imports"] == []  # perfopt's own may


@pytest.mark.parametrize(("check", "forecaster"), CASES, ids=lambda one: type(one).__name__)
def test_each_broken_property_is_named(check, forecaster):
    assert {violation.check for violation in check_forecaster(forecaster)} == {check}


def test_every_property_has_a_forecaster_that_lacks_it():
    assert BAD_FORECASTERS.keys() | {"public_imports"} == FORECASTER_CHECKS.keys()
