"""Names that plugins imported from older versions still work, and are what they are called now."""

import pytest

import perfopt.capacity
import perfopt.forecast
import perfopt.testing

OLDER = [
    (perfopt.testing, "Violation", "ContractViolation"),
    (perfopt.forecast, "Changes", "HistoryChanges"),
    (perfopt.capacity, "History", "ReplicaHistory"),
    (perfopt.capacity, "Load", "ReplicaLoad"),
    (perfopt.capacity, "Observations", "GroupedObservations"),
    (perfopt.capacity, "Outlook", "LatencyPredictor"),
    (perfopt.capacity, "Scalability", "ScalabilityLaw"),
    (perfopt.capacity, "Service", "ServiceParameters"),
    (perfopt.capacity, "outlook", "latency_predictor"),
]


@pytest.mark.parametrize(("module", "older", "name"), OLDER)
def test_an_older_name_is_what_it_is_called_now(module, older, name):
    assert getattr(module, older) is getattr(module, name)
