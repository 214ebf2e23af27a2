"""Exchanges recorded from a real Kubernetes 1.36 API, replayed on the simulated one.

These flows replay fast; `python tests/support/replay_recordings.py --recordings PATH` replays more.
"""

from pathlib import Path

import pytest
from recording_differences import EXPLAINED
from replay_recordings import load, replay

FLOWS = sorted((Path(__file__).parent / "recordings").glob("*.json.gz"))


def test_there_are_recordings():
    assert len(FLOWS) == 16


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name.partition(".")[0])
def test_answers_are_those_of_the_real_api_but_for_what_is_explained(path):
    name = path.name.partition(".")[0]
    flow = replay(load(path))
    unexplained = {
        step: found for step, found in flow.differences.items() if found and (name, step) not in EXPLAINED
    }
    assert not unexplained
    assert len(flow.ours) == len(flow.recording["exchanges"]) > 0
