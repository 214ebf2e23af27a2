import numpy as np

from perfopt.plugin import DeclineCode, Declined

GIB = 2**30


def test_an_unknown_runtime_is_declined_and_says_how_to_state_it(bench):
    made = bench.ask(image="registry.example/portfolio:1", cpu_limit_cores=2.0)
    assert isinstance(made, Declined)
    assert made.code is DeclineCode.UNKNOWN_STATE
    assert "perfopt.io/runtime" in made.reason


def test_settings_that_are_right_are_said_to_be_right(bench):
    proposal = bench.ask(image="golang:1.22", env={"GOMAXPROCS": "2"}, cpu_limit_cores=2.0)
    assert proposal.no_change_needed
    assert (
        proposal.target
        == bench.context(
            image="golang:1.22", env={"GOMAXPROCS": "2"}, cpu_limit_cores=2.0
        ).snapshot.workload.state
    )
    assert "GOMAXPROCS" in proposal.description


def test_what_cannot_be_read_is_not_changed(bench):
    made = bench.ask(image="node:22", env=None, args=None, memory_limit_bytes=GIB)
    assert isinstance(made, Declined)
    assert "perfopt.io/knob.node_max_old_space_size" in made.reason


def test_a_missing_limit_is_named(bench):
    made = bench.ask(image="node:22")
    assert isinstance(made, Declined)
    assert "its rule needs memory_limit_bytes, which is unknown" in made.reason


def test_demand_needs_three_sevenths_of_the_validity_as_history(bench):
    short = {
        "service": {"db_pool_busy": 30, "db_pool_waiting": 0, "db_pool_max": 30},
        "annotations": {"perfopt.io/runtime": "asyncpg"},
    }
    assert isinstance(bench.ask(**short, steps=288), Declined)
    assert bench.knobs(**short, steps=4 * 288) == {"asyncpg_max_size": 38}


def test_an_annotation_says_what_a_knob_is(bench):
    stated = {"perfopt.io/knob.gomaxprocs": "2"}
    assert bench.knobs(image="golang:1.22", env=None, cpu_limit_cores=2.0, annotations=stated) == {}
    wrong = bench.ask(
        image="golang:1.22", cpu_limit_cores=2.0, annotations={"perfopt.io/knob.gomaxprocs": "two"}
    )
    assert "which is no value of it" in wrong.reason


def test_a_sidecar_is_the_meshs_to_tune(bench):
    made = bench.ask(image="golang:1.22", cpu_limit_cores=2.0, sidecar=True)
    assert isinstance(made, Declined)


def test_a_history_of_gaps_is_survived(bench):
    proposal = bench.ask(
        image="golang:1.22", cpu_limit_cores=2.0, metrics={"cpu_cores": np.full(4032, np.nan)}
    )
    assert proposal.target.extra["knobs"] == {"main": {"gomaxprocs": 2}}
