"""Label selectors as Kubernetes defines them."""

import pytest

from perfopt_api.apply.kubernetes.selectors import print_selector, selects

LABELS = {"app": "checkout", "tier": "web"}


@pytest.mark.parametrize(
    ("selector", "query", "selected"),
    [
        (None, None, False),
        ({}, "", True),
        ({"matchLabels": {"app": "checkout"}}, "app=checkout", True),
        ({"matchLabels": {"app": "cart"}}, "app=cart", False),
        (
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "checkout"]}]},
            "app in (a,checkout)",
            True,
        ),
        (
            {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["checkout"]}]},
            "app notin (checkout)",
            False,
        ),
        (
            {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]},
            "zone notin (a)",
            True,
        ),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, "zone", False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, "!zone", True),
        (
            {
                "matchLabels": {"app": "checkout"},
                "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
            },
            "app=checkout,!tier",
            False,
        ),
    ],
)
def test_selectors_print_as_queries_and_select_by_every_term(selector, query, selected):
    if selector is not None:
        assert print_selector(selector) == query
    assert selects(selector, LABELS) is selected
