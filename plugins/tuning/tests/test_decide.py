"""The decision on each knob: what applies, what is missing, and what the reason says."""

import pytest

from perfopt.plugin import Declined, Slo

KNOB = """\
runtimes:
  app: {title: App, env: [THREADS, QUEUE]}
inputs:
  disks: {what: disks of the database, default: 2}
  clients: {what: clients of the service}
knobs:
  threads:
    title: Threads
    runtime: app
    unit: threads
    minimum: 1
    maximum: 64
    read: [{env: THREADS}]
    set: {env: THREADS}
    formula: FORMULA
    because: Each thread waits.
    source: A book
    safety: Takes effect at the next start.
EXTRA
"""


def ask(bench, formula, *more, knobs="", env=None, **given):
    """Asks about a container that runs one runtime with one knob, set to 5 threads."""
    lines = "".join(f"    {line}\n" for line in more)
    text = KNOB.replace("FORMULA", formula).replace("EXTRA\n", lines + knobs)
    return bench.ask(
        env={"THREADS": "5"} if env is None else env,
        settings={"knob_catalogue": {"path": "own.yaml", "content": text.encode()}},
        **given,
    )


def threads(answer):
    return answer.target.extra["knobs"]["main"]["threads"]


@pytest.mark.parametrize(
    ("formula", "given", "value"),
    [
        ("4 * cpu_limit_cores", {"cpu_limit_cores": 2.0}, 8),
        ("4 * cpu_request_cores", {"cpu_request_cores": 3.0}, 12),
        ("memory_limit_bytes / GiB", {"memory_limit_bytes": 3 * 2**30}, 3),
        ("memory_request_bytes / GiB", {"memory_request_bytes": 4 * 2**30}, 4),
        ("2 * max_replicas", {"replicas": 3}, 6),
        ("2 * max_replicas", {"replicas": 3, "hpa": 10}, 20),
        ("slo_latency_ms / 100", {"slo": Slo(latency_ms=900)}, 9),
        ("disks + 1", {}, 3),
        ("disks + 1", {"annotations": {"perfopt.io/input.disks": "6"}}, 7),
        ("last(thread_pool_max)", {"service": {"thread_pool_max": 11}}, 11),
        ("thread_pool_max", {"service": {"thread_pool_max": 11}}, 11),
        ("current + 2", {}, 7),
    ],
)
def test_formulas_read_the_facts_of_the_container(bench, formula, given, value):
    assert threads(ask(bench, formula, **given)) == value


@pytest.mark.parametrize(
    ("formula", "given", "missing"),
    [
        ("cpu_limit_cores", {}, "its rule needs cpu_limit_cores, which is unknown."),
        ("slo_latency_ms", {}, "its rule needs slo_latency_ms, which is unknown."),
        ("requests_in_flight", {}, "its rule needs requests_in_flight, which is unknown."),
        ("max_replicas", {"replicas": 0}, "its rule needs max_replicas, which is unknown."),
        ("clients", {}, "its rule needs clients of the service (annotation perfopt.io/input.clients)."),
        (
            "disks",
            {"annotations": {"perfopt.io/input.disks": "many"}},
            "its rule needs disks of the database (annotation perfopt.io/input.disks).",
        ),
        ("current + 1", {"env": {"QUEUE": "3"}}, "its rule needs a value that is unset or unknown."),
        ("gomaxprocs", {}, "its rule needs a value that is unset or unknown."),
    ],
)
def test_a_missing_fact_is_named_with_how_to_state_it(bench, formula, given, missing):
    answer = ask(bench, formula, **given)
    assert isinstance(answer, Declined)
    assert f"main: Threads stays: {missing}" in answer.reason


def test_a_rule_that_does_not_apply_changes_nothing(bench):
    answer = ask(bench, "9", "when: current > 5")
    assert isinstance(answer, Declined)
    assert "main: Threads stays: its rule does not apply here." in answer.reason
    assert threads(ask(bench, "9", "when: current > 4")) == 9


def test_a_formula_that_fails_or_gives_nothing_leaves_the_knob(bench):
    assert "stays: its formula gives no value that it takes." in ask(bench, "1e308 * 1e10").reason
    assert "division by zero" in ask(bench, "1 / (current - 5)").reason.lower()


def test_a_value_that_is_accepted_needs_no_change(bench):
    answer = ask(bench, "6", "accept: value - 1 <= current <= value")
    assert answer.no_change_needed
    [reason] = [one for one in answer.reasons if one.code == "knob_right"]
    assert reason.text == "main: Threads needs no change (5 threads, in THREADS)."
    assert reason.data == {"knob": "threads", "current": 5, "value": 6}
    assert threads(ask(bench, "7", "accept: value - 1 <= current <= value")) == 7


def test_without_a_range_only_the_value_itself_needs_no_change(bench):
    assert ask(bench, "5").no_change_needed
    assert threads(ask(bench, "6")) == 6


def test_a_change_that_is_not_safe_is_not_made(bench):
    answer = ask(bench, "9", "safe: value <= 8")
    assert isinstance(answer, Declined)
    assert (
        "the formula gives 9 threads, which is not safe here. Takes effect at the next start."
        in answer.reason
    )
    assert threads(ask(bench, "8", "safe: value <= 8")) == 8
    assert isinstance(ask(bench, "9", "safe: cpu_limit_cores > 1"), Declined)  # unknown is not safe


def test_a_reason_has_the_numbers_it_was_computed_with(bench):
    answer = ask(
        bench,
        "max(4 * cpu_limit_cores, p99(thread_pool_max))",
        cpu_limit_cores=2.0,
        service={"thread_pool_max": 3},
    )
    assert answer.reasons[0].text == (
        "main: set Threads to 8 threads (current: 5 threads, in THREADS). Each thread waits."
        " Formula: max(4 * cpu_limit_cores, p99(thread_pool_max)), with cpu_limit_cores = 2,"
        " p99(thread_pool_max) = 3. Source: A book. Takes effect at the next start."
    )


def test_a_value_that_is_not_set_is_said_to_be_not_set(bench):
    answer = ask(bench, "9", env={"QUEUE": "3"})
    assert "main: set Threads to 9 threads (current: not set). Each" in answer.reasons[0].text
    assert "Formula: 9. Source" in answer.reasons[0].text
    assert answer.reasons[0].data == {"knob": "threads", "current": None, "value": 9}


QUEUE = """\
  queue:
    title: Queue
    runtime: app
    minimum: 1
    maximum: 999
    read: [{env: QUEUE}]
    set: {env: QUEUE}
    formula: 10 * threads
    because: It holds what waits.
    source: A book
    safety: Takes effect at the next start.
"""


def test_a_knob_sees_those_decided_before_it(bench):
    knobs = ask(bench, "8", knobs=QUEUE).target.extra["knobs"]["main"]
    assert knobs == {"threads": 8, "queue": 80}


def test_a_knob_sees_the_current_value_of_one_that_stays(bench):
    knobs = ask(bench, "5", knobs=QUEUE).target.extra["knobs"]["main"]
    assert knobs == {"queue": 50}


@pytest.mark.parametrize(
    ("formula", "more", "given", "code"),
    [
        ("9", (), {"annotations": {"perfopt.io/knob.threads": "many"}}, "knob_unreadable"),
        ("9", ("when: current > 5",), {}, "knob_not_applicable"),
        ("cpu_limit_cores", (), {}, "knob_needs"),
        ("1 / (current - 5)", (), {}, "knob_unknown"),
        ("1e308 * 1e10", (), {}, "knob_unknown"),
        ("9", ("safe: value <= 8",), {}, "knob_unsafe"),
    ],
)
def test_a_knob_that_stays_has_a_code_beside_those_that_change(bench, formula, more, given, code):
    answer = ask(bench, formula, *more, knobs=QUEUE.replace("10 * threads", "70"), **given)
    assert answer.target.extra["knobs"]["main"] == {"queue": 70}
    [reason] = [one for one in answer.reasons if "Threads stays" in one.text]
    assert (reason.code, reason.data) == (code, {"knob": "threads"})
