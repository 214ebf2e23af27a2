"""When a candidate counts as better than an incumbent, by cases that can be counted on fingers."""

from datetime import UTC, datetime, timedelta

import pytest

from perfopt.backtest import EvaluatedRecommendation, ResourceUse, compare
from perfopt.domain.enums import OptimizationType

START = datetime(2026, 3, 2, tzinfo=UTC)


def evaluated(service, week, granted=2.0, *, accurate=True, declined=False):
    fields = {"service": f"s{service}", "service_class": "standard", "policy": "perfopt"}
    fields["optimization_type"] = OptimizationType.RESOURCE_OPTIMIZATION
    at = START + timedelta(weeks=week)
    if declined:
        return EvaluatedRecommendation(**fields, made_at=at, outcome="declined")
    use = ResourceUse(safe=accurate, recommended=granted, needed=1.0, used=0.5)
    return EvaluatedRecommendation(
        **fields, made_at=at, outcome="accurate" if accurate else "inaccurate", cpu=use, memory=use
    )


def fleet(granted=2.0, services=10, weeks=4, wrong=(), declined=()):
    return [
        evaluated(
            s,
            w,
            granted,
            accurate=(s, w) not in wrong,
            declined=(s, w) in declined,
        )
        for s in range(services)
        for w in range(weeks)
    ]


def misses(each):
    """One miss a service in so many of its weeks."""
    return {(s, w) for s in range(10) for w in range(each)}


def test_the_same_accuracy_with_less_granted_is_better():
    found = compare(fleet(2.0), fleet(1.5))
    assert found.better
    assert found.accuracy_change.value == 0
    assert found.granted_change.value == pytest.approx(1.5 / 2 - 1)
    assert (found.services, found.windows) == (10, 40)
    assert (found.incumbent.cpu_waste_median, found.candidate.cpu_waste_median) == (1.0, 0.5)


def test_more_accuracy_for_the_same_is_better():
    found = compare(fleet(wrong=misses(2)), fleet(wrong=misses(1)))
    assert found.better
    assert found.accuracy_change.value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "why"),
    [
        (fleet(2.0), fleet(2.0), "not shown to waste less"),
        (fleet(2.0), fleet(2.5), "not shown to waste less"),
        (fleet(2.0), fleet(1.0, wrong=misses(1)), "less accurate"),
        (fleet(2.0, wrong=misses(1)), fleet(2.5), "not shown to waste less"),
        (fleet(2.0), fleet(1.5, wrong={(0, 0)}), "less accurate"),
        (
            fleet(2.0, wrong=misses(1)),
            fleet(1.9, declined=misses(1)),
            "abstain more often",
        ),
        (fleet(2.0, services=4, weeks=9), fleet(1.0, services=4, weeks=9), "of 5 are needed"),
        (fleet(2.0, services=9, weeks=2), fleet(1.0, services=9, weeks=2), "at least 20"),
        (fleet(), fleet(declined={(s, w) for s in range(10) for w in range(4)}), "Too few windows"),
    ],
    ids=[
        "the same",
        "more waste",
        "less accurate",
        "accuracy bought",
        "one miss",
        "abstains",
        "services",
        "windows",
        "abstains always",
    ],
)
def test_everything_else_is_not(incumbent, candidate, why):
    found = compare(incumbent, candidate)
    assert not found.better
    assert why in found.verdict


def test_what_is_granted_is_compared_on_windows_that_both_were_scored_on():
    found = compare(fleet(2.0, declined={(0, 0)}), fleet(1.5, declined={(9, 3)}))
    assert found.windows == 38
    assert found.granted_change.value == pytest.approx(-0.25)
    assert found.abstention_change.value == 0


def test_cpu_and_memory_weigh_the_same_whatever_their_units():
    def grants(cpu, memory):
        return [
            EvaluatedRecommendation(
                service=f"s{s}",
                service_class="standard",
                made_at=START,
                policy="perfopt",
                optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
                outcome="accurate",
                cpu=ResourceUse(safe=True, recommended=cpu, needed=0.1, used=0.1),
                memory=ResourceUse(safe=True, recommended=memory, needed=1e6, used=1e6),
            )
            for s in range(20)
        ]

    found = compare(grants(0.4, 4e9), grants(0.2, 8e9))
    assert found.granted_change.value == pytest.approx(0, abs=1e-9)


def test_two_sets_of_other_origins_are_not_compared():
    with pytest.raises(ValueError, match="other origins"):
        compare(fleet(), fleet(weeks=3))


def test_the_order_of_the_rows_does_not_matter():
    one, other = fleet(2.0, wrong=misses(1)), fleet(1.5)
    assert compare(one, other) == compare(one[::-1], other[::-1])
