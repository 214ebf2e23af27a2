"""Each rule of the shipped catalogue against cases computed by hand."""

import pytest

from perfopt.plugin import Declined

GIB, MIB = 2**30, 2**20
JVM = "eclipse-temurin:21-jre"


@pytest.mark.parametrize(
    ("limit", "now", "wanted"),
    [
        (1.5, None, 2),
        (4.0, "16", 4),
        (3.2, "2", 4),
        (0.5, "8", 2),
        (2.0, "2", None),
        (0.5, "1", None),
        (1.0, "2", None),
    ],
)
def test_gomaxprocs_is_the_limit_rounded_up_and_at_least_two(bench, limit, now, wanted):
    env = {} if now is None else {"GOMAXPROCS": now}
    knobs = bench.knobs(image="golang:1.22", env=env, cpu_limit_cores=limit)
    assert knobs.get("gomaxprocs") == wanted


def test_go_1_25_sets_gomaxprocs_itself(bench):
    proposal = bench.ask(image="golang:1.25", cpu_limit_cores=3.0)
    assert proposal.no_change_needed
    assert "GOMAXPROCS needs no change (3 threads, by default)" in proposal.reasons[0].text


def test_what_go_reports_counts_more_than_what_is_set(bench):
    assert bench.knobs(service={"go_gomaxprocs": 32}, cpu_limit_cores=2.0) == {"gomaxprocs": 2}


def test_gomaxprocs_of_an_unknown_go_version_is_left_alone(bench):
    assert (
        bench.knobs(
            env={"GOGC": "50", "GOMEMLIMIT": "460MiB"}, cpu_limit_cores=2.0, memory_limit_bytes=GIB // 2
        )
        == {}
    )


def test_gomemlimit_leaves_a_tenth(bench):
    wanted = bench.knobs(
        image="golang:1.25", cpu_limit_cores=2.0, memory_limit_bytes=GIB, memory_peak=500 * MIB
    )
    assert wanted == {"gomemlimit": 921}  # floor(0.9 * 1024)
    near = bench.ask(image="golang:1.25", cpu_limit_cores=2.0, memory_limit_bytes=GIB, memory_peak=900 * MIB)
    assert near.no_change_needed
    assert "is not safe" in near.reasons[1].text


@pytest.mark.parametrize(
    ("service", "env", "limit", "wanted"),
    [
        ({}, {}, 2 * GIB, 75),
        ({}, {}, GIB // 2, 50),
        ({}, {"JAVA_TOOL_OPTIONS": "-XX:MaxRAMPercentage=70.0"}, 2 * GIB, None),
        # 95 - 100 * (1.1 * 300 + 100) / 1024 = 53.0
        ({"jvm_nonheap_bytes": 300 * MIB, "jvm_threads": 100}, {}, GIB, 53),
        # 900 of 1024 MiB are 88 %; the live set 1.3 times over fits into 53 %
        (
            {"jvm_nonheap_bytes": 300 * MIB, "jvm_threads": 100, "jvm_heap_live_bytes": 200 * MIB},
            {"JAVA_TOOL_OPTIONS": "-Xmx900m"}, GIB, 53,
        ),
        # ... but not where it holds 500 MiB
        (
            {"jvm_nonheap_bytes": 300 * MIB, "jvm_threads": 100, "jvm_heap_live_bytes": 500 * MIB},
            {"JAVA_TOOL_OPTIONS": "-Xmx900m"}, GIB, None,
        ),
        ({"jvm_heap_max_bytes": 0.72 * 2 * GIB}, {}, 2 * GIB, None),
    ],
)  # fmt: skip
def test_heap_share_leaves_room_for_what_is_not_heap(bench, service, env, limit, wanted):
    knobs = bench.knobs(image=JVM, service=service, env=env, cpu_limit_cores=2.0, memory_limit_bytes=limit)
    assert knobs.get("jvm_max_ram_percentage") == wanted


@pytest.mark.parametrize(
    ("limit", "seen", "wanted"),
    [(2.0, 16, 2), (1.0, 16, 2), (1.0, 1, None), (4.0, 4, None), (None, 64, 3), (None, 8, None)],
)
def test_processors_of_a_jvm_are_those_it_may_use(bench, limit, seen, wanted):
    knobs = bench.knobs(
        image=JVM, service={"jvm_processors": seen}, cpu_limit_cores=limit, cpu_request_cores=0.5, cpu=2.5
    )
    assert knobs.get("jvm_active_processor_count") == wanted


@pytest.mark.parametrize(
    ("cores", "memory", "options", "wanted"),
    [
        (4.0, 4 * GIB, "-XX:+UseSerialGC", "G1"),
        (1.0, 4 * GIB, "-XX:+UseZGC", "Serial"),
        (4.0, 1 * GIB, "-XX:+UseG1GC", "Serial"),
        (4.0, 4 * GIB, "-XX:+UseZGC", None),
        (4.0, 4 * GIB, "", None),
    ],
)
def test_the_collector_suits_processors_and_memory(bench, cores, memory, options, wanted):
    env = {"JAVA_TOOL_OPTIONS": f"{options} -XX:MaxRAMPercentage=75"}
    knobs = bench.knobs(image=JVM, env=env, cpu_limit_cores=cores, memory_limit_bytes=memory)
    assert knobs.get("jvm_collector") == wanted


@pytest.mark.parametrize(
    ("cores", "threads", "wanted"), [(2.0, 16, 2), (16.0, 16, 13), (16.0, 13, None), (8.0, 8, None)]
)
def test_collector_threads_follow_hotspots_own_formula(bench, cores, threads, wanted):
    env = {"JAVA_TOOL_OPTIONS": f"-XX:ParallelGCThreads={threads}"}
    assert bench.knobs(image=JVM, env=env, cpu_limit_cores=cores).get("jvm_gc_threads") == wanted


@pytest.mark.parametrize(
    ("options", "heap", "wanted"),
    [
        ("", 100 * MIB, 1536),
        ("--max-old-space-size=4096", 100 * MIB, 1536),
        ("--max_old_space_size=1500", 0, None),
        ("", 1400 * MIB, None),
    ],
)
def test_nodes_heap_is_three_quarters_of_the_limit(bench, options, heap, wanted):
    proposal = bench.ask(
        image="node:22-alpine", env={"NODE_OPTIONS": options}, memory_limit_bytes=2 * GIB,
        service={"node_heap_used_bytes": heap},
    )  # fmt: skip
    knobs = {} if isinstance(proposal, Declined) else proposal.target.extra.get("knobs", {}).get("main", {})
    assert knobs.get("node_max_old_space_size") == wanted


@pytest.mark.parametrize(
    ("args", "limit", "peak", "memory", "wanted"),
    [
        (("gunicorn", "-w", "65", "app:app"), 2.0, 65 * 10 * MIB, 8 * GIB, 5),  # 2 * 2 + 1
        (("gunicorn", "--workers=9", "app:app"), 4.0, 9 * 200 * MIB, 1500 * MIB, 6),  # 0.8 * 1500 / 200
        (("gunicorn", "app:app"), 1.0, 100 * MIB, GIB, 3),
        (("gunicorn", "-w", "4", "app:app"), 2.0, 400 * MIB, GIB, None),
    ],
)
def test_gunicorn_has_twice_the_limits_cores_and_one_and_fits_into_memory(
    bench, args, limit, peak, memory, wanted
):
    knobs = bench.knobs(args=args, cpu_limit_cores=limit, memory_peak=peak, memory_limit_bytes=memory)
    assert knobs.get("gunicorn_workers") == wanted


@pytest.mark.parametrize(
    ("args", "name", "wanted"),
    [
        (("uvicorn", "app:app", "--workers", "16"), "uvicorn_workers", 3),
        (("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "16"), "uvicorn_workers", 3),
        (("granian", "--workers", "16", "app:app"), "granian_workers", 3),
        (("uvicorn", "app:app", "--workers", "2"), "uvicorn_workers", None),
    ],
)
def test_event_loops_are_as_many_as_the_limits_cores(bench, args, name, wanted):
    knobs = bench.knobs(args=args, cpu_limit_cores=2.5, memory_peak=160 * MIB, memory_limit_bytes=GIB)
    assert knobs.get(name) == wanted
    assert "gunicorn_workers" not in knobs


def test_threads_hold_what_is_in_flight(bench):
    # L = 80/s * 0.5 s / 2 replicas = 20; 1.25 * 20 / 5 workers = 5
    knobs = bench.knobs(
        args=("gunicorn", "-w", "5", "--threads", "2", "app:app"), cpu_limit_cores=2.0, memory_peak=100 * MIB,
        memory_limit_bytes=GIB, service={"requests_per_second": 80, "latency_avg_ms": 500},
    )  # fmt: skip
    assert knobs == {"gunicorn_threads": 5}


def test_tomcat_threads_follow_littles_law_from_quantiles_where_there_is_no_mean(bench):
    # mean <= 0.5 * 400 + 0.49 * 1000 + 0.01 * 1000 = 700 ms; L = 1000 * 0.7 / 2 = 350; 1.25 * 350 = 437.5
    knobs = bench.knobs(
        annotations={"perfopt.io/runtime": "jvm21, tomcat"},
        service={"requests_per_second": 1000, "latency_p50_ms": 400, "latency_p99_ms": 1000},
    )
    assert knobs == {"tomcat_max_threads": 438}


def test_keep_alive_outlasts_the_load_balancer(bench):
    given = {
        "args": ("uvicorn", "app:app"),
        "cpu_limit_cores": 1.0,
        "memory_peak": MIB,
        "memory_limit_bytes": GIB,
    }
    assert bench.knobs(**given) == {}
    stated = {"perfopt.io/input.load_balancer_idle_seconds": "60"}
    assert bench.knobs(**given, annotations=stated) == {"uvicorn_keep_alive": 65}


def test_blas_threads_are_the_limits_cores(bench):
    assert bench.knobs(env={"OMP_NUM_THREADS": "32"}, cpu_limit_cores=1.5) == {"omp_num_threads": 2}
    assert bench.knobs(env={"OMP_NUM_THREADS": "1"}, cpu_limit_cores=1.5) == {}


@pytest.mark.parametrize(
    ("busy", "waiting", "size", "cores", "wanted"),
    [
        (10, 6, 10, None, 20),  # 1.25 * 16
        (8, 0, 10, None, None),
        (4, 0, 100, None, 5),
        (4, 0, 100, 4, 4),  # (2 * 4 + 1) / 2 replicas
        (4, 0, 12, 32, None),
    ],
)
def test_hikari_holds_demand_within_what_the_database_can_work_on(bench, busy, waiting, size, cores, wanted):
    knobs = bench.knobs(
        image=JVM,
        cpu_limit_cores=2.0,
        service={"db_pool_busy": busy, "db_pool_waiting": waiting, "db_pool_max": size},
        annotations={} if cores is None else {"perfopt.io/input.database_cores": str(cores)},
    )
    assert knobs.get("hikari_maximum_pool_size") == wanted


def test_an_autoscalers_max_replicas_share_the_database(bench):
    knobs = bench.knobs(
        annotations={"perfopt.io/runtime": "asyncpg", "perfopt.io/input.database_cores": "16"},
        service={"db_pool_busy": 4, "db_pool_waiting": 0, "db_pool_max": 60}, hpa=10,
    )  # fmt: skip
    assert knobs == {"asyncpg_max_size": 3}  # floor((2 * 16 + 1) / 10)


def test_a_reason_states_formula_numbers_source_and_what_it_is_now(bench):
    proposal = bench.ask(image="golang:1.22", env={"GOMAXPROCS": "16"}, cpu_limit_cores=3.5)
    text = proposal.reasons[0].text
    assert "set GOMAXPROCS to 4 threads (current: 16 threads, in GOMAXPROCS)" in text
    assert "max(2, ceil(cpu_limit_cores)), with cpu_limit_cores = 3.5" in text
    assert "https://go.dev/blog/container-aware-gomaxprocs" in text
    assert proposal.reasons[0].data == {"knob": "gomaxprocs", "current": 16, "value": 4}


def test_a_rule_makes_no_claim_of_latency(bench):
    claim = bench.ask(image="golang:1.22", env={"GOMAXPROCS": "16"}, cpu_limit_cores=3.5).claim
    assert claim.latency_ms is None
    assert claim.performance_gain_percent is None
