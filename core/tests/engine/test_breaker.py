from perfopt.engine.breaker import PluginCircuitBreaker

PLUGIN = ("bad", "1.0")


def test_three_in_a_row_pause_that_version_and_time_lets_it_try_again():
    now = [0.0]
    breaker = PluginCircuitBreaker(failures=3, pause_seconds=60, clock=lambda: now[0])
    for _ in range(3):
        assert breaker.allows(PLUGIN)
        breaker.record(PLUGIN, failed=True)
    assert not breaker.allows(PLUGIN)
    assert breaker.allows(("bad", "1.1"))
    now[0] = 60.0
    assert breaker.allows(PLUGIN)
    breaker.record(PLUGIN, failed=True)
    assert not breaker.allows(PLUGIN)


def test_a_success_in_between_starts_the_count_anew():
    breaker = PluginCircuitBreaker(failures=3)
    for failed in (True, True, False, True, True):
        breaker.record(PLUGIN, failed=failed)
    assert breaker.allows(PLUGIN)
