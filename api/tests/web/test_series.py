"""Forecasts and changes beside what a workload used."""

from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace

from perfopt.domain.recommendation import AnalysisResult, PredictionSeries
from perfopt.testing import make_recommendation, make_snapshot
from perfopt_api.web.series import change_marks, forecasts_of, owner_lanes, plots_of

CPU = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(14 * 288) / 288)
SNAPSHOT = make_snapshot({"main": {"cpu_cores": CPU}})


def result(**changes):
    end = SNAPSHOT.grid.end
    made = make_recommendation(workload="w", made_at=end, valid_until=end + timedelta(days=7))
    return AnalysisResult(
        service_name="svc",
        workload="w",
        recommendations=(replace(made, **changes),),
        declined=(),
        warnings=(),
    )


def test_a_forecast_covers_the_validity_from_when_the_analysis_was_made():
    made_at = SNAPSHOT.grid.end - timedelta(days=2)
    found = forecasts_of(result(made_at=made_at, valid_until=made_at + timedelta(days=3)), SNAPSHOT)
    (forecast,) = found.values()
    assert list(found) == ["main/cpu_cores"]
    assert forecast.start == made_at
    low, high = (np.array(forecast.quantiles[level]) for level in ("0.05", "0.95"))
    assert low.size == 3 * 288
    known = CPU[-2 * 288 :]
    assert np.mean((low[: known.size] <= known + 0.05) & (known - 0.05 <= high[: known.size])) > 0.9


def test_the_forecasts_of_the_analysis_are_taken_where_it_made_them():
    stored = {
        "main/cpu_cores": PredictionSeries(
            unit="cores", start=SNAPSHOT.grid.end, step_seconds=300, quantiles={"0.5": [1.0]}
        )
    }
    assert forecasts_of(result(predictions=stored), SNAPSHOT) == stored


def test_a_plot_has_use_before_and_the_forecast_after_on_one_axis():
    found = result()
    (plot,) = plots_of(found, SNAPSHOT, forecasts_of(found, SNAPSHOT))
    seconds, middle, high, low, expected, upper = plot["data"]
    assert {len(column) for column in plot["data"]} == {len(seconds)}
    assert seconds == sorted(seconds)
    now = SNAPSHOT.grid.end.timestamp()
    for at, used, ahead in zip(seconds, middle, expected, strict=True):
        assert (used is None, ahead is None) == ((True, False) if at >= now else (False, True))
    assert all(a <= b <= c for a, b, c in zip(low, expected, upper, strict=True) if b is not None)
    assert high[0] is not None


def test_a_plot_begins_where_something_was_measured():
    late = CPU.copy()
    late[: 10 * 288] = np.nan
    snapshot = make_snapshot({"main": {"cpu_cores": late}})
    found = result()
    (plot,) = plots_of(found, snapshot, forecasts_of(found, snapshot))
    assert plot["data"][0][0] >= (snapshot.grid.start + timedelta(days=9.9)).timestamp()
    assert plot["data"][2][0] is not None


def test_changes_are_marks_from_their_start_to_their_end():
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    rows = [
        {"status": "APPLIED", "started_at": at, "ended_at": at + timedelta(minutes=5)},
        {"status": "ROLLED_BACK", "started_at": at, "ended_at": None},
        {"status": "APPLYING", "started_at": None, "ended_at": None},
    ]
    first, second = change_marks(rows)
    assert (first.kind, first.end - first.begin) == ("ok", 300.0)
    assert (second.kind, second.end) == ("not", second.begin)
    assert first.tip == "APPLIED, started 2026-11-30 12:00Z"


def test_autoscalers_are_drawn_while_analyses_saw_them():
    at = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3, 4, 5)]
    seen = [(at[0], ("VPA",)), (at[1], ("HPA", "VPA")), (at[2], ("HPA",)), (at[3], ("VPA",))]
    hpa, vpa = owner_lanes(seen, at[4])
    spans = [[(mark.begin, mark.end) for mark in lane.marks] for lane in (hpa, vpa)]
    stamps = [one.timestamp() for one in at]
    assert spans == [[(stamps[1], stamps[3])], [(stamps[0], stamps[2]), (stamps[3], stamps[4])]]
    assert [lane.summary for lane in (hpa, vpa)] == ["gone since 04 Nov 00:00Z", "since 04 Nov 00:00Z"]


def test_an_autoscaler_that_stays_has_no_change():
    begin, until = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)
    (lane,) = owner_lanes([(begin, ("KEDA",)), (begin, ("KEDA",))], until)
    assert (lane.label, lane.summary) == ("KEDA", "at each analysis")
    assert list(owner_lanes([(begin, ())], until)) == []
