"""The page of one service that was throttled, killed and restarted, with an autoscaler."""

import csv
import math
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from perfopt.cli.output.lanes import TimelineLane, TimelineMark
from perfopt.cli.output.pictures import pictures
from perfopt.domain.recommendation import AnalysisResult, PredictionSeries
from perfopt.testing import make_recommendation, make_snapshot

START, STEPS = datetime(2026, 11, 1, tzinfo=UTC), 5 * 288
KILLED = (100, 400, 401)


@pytest.fixture
def page(run, tmp_path):
    with (tmp_path / "trace.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("series_id", "timestamp", "metric", "value"))
        for step in range(STEPS):
            cpu = 0.5 + 0.35 * math.sin(2 * math.pi * step / 288)
            at = (START + step * timedelta(minutes=5)).isoformat()
            for metric, value in (
                ("cpu_cores", cpu),
                ("memory_bytes", (600 + 100 * cpu) * 2**20),
                ("cpu_throttled_fraction", max(0.0, cpu - 0.75)),
                ("oom_kills", int(step in KILLED)),
                ("restarts", int(step in (*KILLED, 200))),
                ("replicas", 2 if cpu < 0.5 else 4),
            ):
                rows.writerow(("svc", at, metric, value))
    (tmp_path / "services.yaml").write_text(
        "services:\n  svc:\n    requests: {cpu: 700m, memory: 1Gi}\n    limits: {cpu: 1, memory: 1Gi}\n"
        "    replicas: 4\n    hpa: {min_replicas: 2, max_replicas: 6, target_cpu_utilization_percent: 70}\n"
    )
    given = ("--source", tmp_path / "trace.csv", "--services", tmp_path / "services.yaml", "--all")
    drawn = run("analyze", *given, "--validity", "1d", "--html", tmp_path / "page.html")
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout == run("analyze", *given, "--validity", "1d").stdout
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_events_are_marked_with_their_counts(page):
    assert len(re.findall(r"<title>[12] OOM kills</title>", page)) == 2
    assert len(re.findall(r"<title>[12] restarts</title>", page)) == 3
    assert re.search(r">throttled</text>.*?of time</text>", page)


def test_backtest_and_unchanged_requests_are_judged_on_the_same_windows(page):
    assert re.search(r">backtest</text>.*?>\d of \d accurate</text>", page)
    assert re.search(r">unchanged</text>.*?>0 of \d safe</text>", page)


def test_replicas_are_drawn_with_the_bounds_of_the_autoscaler(page):
    assert "current maximum 6" in page
    assert "current minimum 2" in page


@pytest.mark.parametrize(("mode", "shown"), [("Auto", True), ("Off", False), (None, False)])
def test_a_vpa_that_sets_requests_is_named(mode, shown):
    snapshot = make_snapshot({"main": {"cpu_cores": np.full(14 * 288, 0.5)}})
    end, state = snapshot.grid.end, {"replicas": 2} | ({"vpa_mode": mode} if mode else {})
    made = make_recommendation(
        workload="w",
        current_state=state,
        recommended_state=state,
        made_at=end,
        valid_until=end + timedelta(days=7),
    )
    result = AnalysisResult(
        service_name="svc", workload="w", recommendations=(made,), declined=(), warnings=()
    )
    assert ("container main, requests set by a VPA (Auto)" in pictures(result, snapshot)) == shown


def test_a_forecast_and_changes_stand_on_the_time_axis_of_use():
    cpu = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(14 * 288) / 288)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu}})
    end = snapshot.grid.end
    made = make_recommendation(workload="w", made_at=end, valid_until=end + timedelta(days=7))
    result = AnalysisResult(
        service_name="svc", workload="w", recommendations=(made,), declined=(), warnings=()
    )
    forecast = PredictionSeries(
        unit="cores",
        start=end,
        step_seconds=3600,
        quantiles={"0.05": [0.4] * 168, "0.5": [0.6] * 168, "0.95": [0.9] * 168},
    )
    at = end.timestamp() - 86400
    mark = TimelineMark(at, at + 600, "ok", "APPLIED")
    late = TimelineMark(at + 30 * 86400, at + 30 * 86400, "ok", "too late to be shown")
    plain = pictures(result, snapshot)
    assert 'class="band forecast"' not in plain
    assert ">changes</text>" not in plain
    drawn = pictures(result, snapshot, {"main/cpu_cores": forecast}, [mark, late])
    assert drawn.count('class="band forecast"') == drawn.count('class="use forecast"') == 1
    assert "<title>APPLIED</title>" in drawn
    assert "1 made" in drawn
    assert "too late" not in drawn
    lane = TimelineLane("HPA", (TimelineMark(at - 90 * 86400, at, "info", "HPA sets it"),), "gone since then")
    gone = TimelineLane("VPA", (late,), "since then")
    drawn = pictures(result, snapshot, owners=[lane, gone])
    assert "gone since then" in drawn
    assert ">VPA</text>" not in drawn
    stored = replace(made, predictions={"main/cpu_cores": forecast})
    assert 'class="band forecast"' in pictures(replace(result, recommendations=(stored,)), snapshot)


@pytest.mark.parametrize("hours", [20, 26, 31, 53, 60, 100, 250, 500])
def test_labels_of_the_time_axis_do_not_touch_and_name_its_zone(hours):
    snapshot = make_snapshot({"main": {"cpu_cores": np.full(hours * 12, 0.5)}})
    none = AnalysisResult(service_name="svc", workload="w", recommendations=(), declined=(), warnings=())
    first = pictures(none, snapshot).partition("</svg>")[0]
    axis = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="tick middle">([^<]+)', first)
    at = [float(x) for x, _ in axis]
    assert 2 <= len(at) <= 10
    assert all(b - a > 7 * len(text) for a, b, (_, text) in zip(at, at[1:], axis, strict=False))
    assert ">UTC</text>" in first
