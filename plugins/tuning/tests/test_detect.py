"""Values that a manifest takes from elsewhere, command lines with secrets, runtimes by their own word."""

import pytest

from perfopt.plugin import CONCEALED
from perfopt_tuning.knobs.detect import runtimes_of

GIB = 2**30
JVM = {"image": "eclipse-temurin:21-jre", "cpu_limit_cores": 2.0, "memory_limit_bytes": 2 * GIB}


def said(bench, **container):
    proposal = bench.ask(**container)
    return (
        proposal.reason
        if hasattr(proposal, "reason")
        else " ".join(reason.text for reason in proposal.reasons)
    )


@pytest.mark.parametrize("variable", ["JAVA_TOOL_OPTIONS", "*"])
def test_a_value_that_stands_in_a_config_map_is_not_taken_for_unset(bench, variable):
    elsewhere = {"env": {}, "args": ("-jar", "app.jar"), "env_elsewhere": {variable: "ConfigMap pricing"}}
    text = said(bench, **JVM, **elsewhere)
    assert "from ConfigMap pricing, which is not read" in text
    assert "annotation perfopt.io/knob.jvm_max_ram_percentage" in text


def test_a_variable_with_a_value_counts_beside_a_config_map(bench):
    found = bench.knobs(
        **JVM,
        env={"JAVA_TOOL_OPTIONS": "-XX:+UseSerialGC"},
        args=(),
        env_elsewhere={"*": "ConfigMap pricing"},
        service={"jvm_processors": 2},
    )
    assert found["jvm_collector"] == "G1"


def test_a_measured_value_is_put_right_where_it_comes_from(bench):
    settings = bench.settings(
        image="golang:1.22",
        cpu_limit_cores=2.0,
        env={},
        env_elsewhere={"GOMAXPROCS": "key procs of ConfigMap go"},
        service={"go_gomaxprocs": 16},
    )
    assert "env" not in settings
    assert settings["by_hand"] == ["Set GOMAXPROCS of main to 2 in key procs of ConfigMap go."]


def test_a_command_line_with_a_concealed_secret_is_never_written_back(bench):
    settings = bench.settings(
        env={},
        args=("gunicorn", "app:app", "--workers", "9", "--token", CONCEALED),
        cpu_limit_cores=1.0,
        memory_limit_bytes=4 * GIB,
        memory_peak=GIB // 2,
    )
    assert "args" not in settings
    assert "Change the args of main to --workers 3." in settings["by_hand"]


def test_a_variable_with_a_concealed_secret_is_never_written_back(bench):
    settings = bench.settings(
        **JVM, env={"JAVA_TOOL_OPTIONS": f"-XX:+UseSerialGC -Dstore.password={CONCEALED}"}, args=()
    )
    assert "env" not in settings
    assert any("Add -XX:+UseG1GC to JAVA_TOOL_OPTIONS" in sentence for sentence in settings["by_hand"])


@pytest.mark.parametrize(
    ("runtime", "version", "number"),
    [
        ("go", "go1.24.1", 124),
        ("jvm", "21.0.2+13-LTS", 2100),
        ("jvm", "1.8.0_402-b06", 800),
        ("node", "v20.11.0", 2011),
        ("go", "devel", None),
    ],
)
def test_a_runtime_is_what_it_says_that_it_is(bench, runtime, version, number):
    context = bench.context(runtimes={runtime: version}, image="registry/pricing:7")
    container = context.snapshot.workload.state.containers[0]
    versions = runtimes_of(container, context.snapshot, bench.strategy.catalogue)
    assert versions[runtime] == number
