import pytest

GIB, MIB = 2**30, 2**20
JVM = "eclipse-temurin:21-jre"


def test_a_variable_of_its_own_is_set(bench):
    assert bench.settings(image="golang:1.22", cpu_limit_cores=2.0) == {"env": {"GOMAXPROCS": "2"}}


def test_an_option_joins_the_others_in_its_variable(bench):
    env = {"JAVA_TOOL_OPTIONS": "-Xmx2g -Dfile.encoding=UTF-8"}
    made = bench.settings(image=JVM, env=env, cpu_limit_cores=2.0, memory_limit_bytes=8 * GIB)
    assert made["env"] == {"JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8 -XX:MaxRAMPercentage=75"}


def test_several_options_share_a_variable(bench):
    env = {"JAVA_TOOL_OPTIONS": "-XX:+UseSerialGC -XX:ParallelGCThreads=32"}
    made = bench.settings(image=JVM, env=env, cpu_limit_cores=4.0, memory_limit_bytes=8 * GIB)
    assert made["env"]["JAVA_TOOL_OPTIONS"].split() == [
        "-XX:MaxRAMPercentage=75", "-XX:+UseG1GC", "-XX:ParallelGCThreads=4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (("gunicorn", "-w", "9", "app:app"), ["gunicorn", "-w", "3", "app:app"]),
        (("gunicorn", "--workers=9", "app:app"), ["gunicorn", "--workers=3", "app:app"]),
        (
            ("sh", "-c", "exec gunicorn --workers 9 app:app"),
            ["sh", "-c", "exec gunicorn --workers 3 app:app"],
        ),
    ],
)
def test_a_flag_is_changed_where_it_stands(bench, args, wanted):
    made = bench.settings(args=args, cpu_limit_cores=1.0, memory_peak=90 * MIB, memory_limit_bytes=GIB)
    assert made == {"args": wanted}


def test_an_option_on_the_command_line_is_changed_there(bench):
    made = bench.settings(
        image=JVM,
        command=("java", "-Xmx2g", "-jar", "app.jar"),
        cpu_limit_cores=2.0,
        memory_limit_bytes=8 * GIB,
    )
    assert made == {
        "command": ["java", "-XX:MaxRAMPercentage=75", "-jar", "app.jar"],
        "values": {"jvm_max_ram_percentage": "75%"},
    }


def test_a_variable_that_is_not_known_is_not_overwritten(bench):
    made = bench.settings(image=JVM, env=None, service={"jvm_processors": 64}, cpu_limit_cores=2.0)
    assert made == {
        "by_hand": ["Add -XX:ActiveProcessorCount=2 to JAVA_TOOL_OPTIONS of main, whatever else is in it."]
    }


def test_what_only_code_can_set_is_said(bench):
    made = bench.settings(
        annotations={"perfopt.io/runtime": "asyncpg"},
        service={"db_pool_busy": 30, "db_pool_waiting": 2, "db_pool_max": 30},
    )
    assert made == {"by_hand": ["Pass max_size=40 to asyncpg.create_pool."]}
