"""Real worker processes, killed at every step of a change; real PostgreSQL and NATS, a simulated cluster."""

from collections import Counter

import pytest
from apply_kills import NAMES, expected_status, survive_kills, wanted

from perfopt_api.settings import ServiceSettings

ENDS = {"APPLIED": "optimization_applied", "ROLLED_BACK": "optimization_rolled_back"}


@pytest.mark.timeout(240)
async def test_workers_killed_at_every_step_leave_every_change_at_its_right_end(
    database_url, nats_url, tmp_path
):
    settings = ServiceSettings(database_url=database_url, nats_url=nats_url, lease_seconds=2.0)
    outcome = await survive_kills(settings, tmp_path)
    assert outcome.killed == set(NAMES)
    assert outcome.statuses == {name: expected_status(name) for name in NAMES}
    assert outcome.requests == {name: wanted(name) for name in NAMES}
    assert (outcome.missing, outcome.doubled) == (0, 0)
    for name in NAMES:
        status = expected_status(name)
        expected = Counter({"optimization_job_status_changed": 2, ENDS[status]: 1})
        if name.startswith("held"):
            expected["optimization_attention_needed"] = 1
        assert outcome.written[name] == expected, name
        assert outcome.codes[name].count("taken") == 1, outcome.codes[name]
        assert outcome.codes[name].count("restored") == (status == "ROLLED_BACK"), outcome.codes[name]
