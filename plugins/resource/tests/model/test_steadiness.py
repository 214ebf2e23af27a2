import math

import numpy as np
import pytest

from perfopt_resource.model.features import NAMES, ObservedUse, UseFeatures, extract
from perfopt_resource.model.forest import CELLS, GRID
from perfopt_resource.model.sizing_model import shipped_model
from perfopt_resource.model.steadiness import own_evidence, with_own_evidence

WEEK = 7 * 86400.0
MIB = 2.0**20


def seen(span=0.0, blocks=14.0, references=None):
    """Features of a history whose days needed as much, up to a span of logarithms."""
    values = np.zeros(len(NAMES))
    for name in ("cpu_needs", "memory_peaks"):
        values[NAMES.index(f"{name}_low")] = -span
    for resource in ("cpu", "memory"):
        values[NAMES.index(f"{resource}_needs_count")] = blocks
    return UseFeatures(values, {"cpu": 1.0, "memory": 1e9} if references is None else references)


def test_the_flatter_the_history_the_more_it_counts():
    weights = [own_evidence(seen(span), "cpu").weight for span in (0.0, 0.1, 0.2, 1.0)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == pytest.approx(0.85)
    assert weights[2] == pytest.approx(0.85 / math.e)
    assert weights[3] < 0.01


def test_a_short_history_that_is_nearly_idle_does_not_speak_for_itself():
    def weights(blocks, cores):
        return [
            own_evidence(seen(blocks=b, references={"cpu": c}), "cpu").weight for b in blocks for c in cores
        ]

    assert weights((3, 7, 8.5, 10, 14), (0.02,)) == pytest.approx([0, 0, 0.425, 0.85, 0.85])
    assert weights((3,), (0.1, 0.1 * 2**0.5, 0.2, 9.0)) == pytest.approx([0, 0.425, 0.85, 0.85])
    assert own_evidence(seen(blocks=3, references={"memory": 1e9}), "memory").weight == 0


def test_a_history_too_short_for_days_is_as_flat_as_its_samples():
    steady, restless = (
        own_evidence(extract(ObservedUse(np.array([use]), None, 300, WEEK)), "cpu").weight
        for use in (np.full(200, 0.5), np.r_[np.full(150, 0.1), np.full(50, 0.5)])
    )
    assert steady == pytest.approx(0.85, abs=0.01)
    assert restless < 0.01


def test_an_own_need_is_about_what_was_needed_and_wider_where_days_differ():
    narrow, wide = (own_evidence(seen(span), "cpu").cells for span in (0.0, 0.5))
    assert narrow.sum() == pytest.approx(1)
    within = np.searchsorted(GRID, 0.08) + 1
    assert narrow[:within].sum() > 0.99
    assert wide[:within].sum() < 0.8


def test_the_own_evidence_of_one_resource_leaves_what_is_known_of_the_other():
    cells = np.random.default_rng(0).random((CELLS, CELLS))
    cells /= cells.sum()
    mixed = with_own_evidence(cells, seen(references={"cpu": 1.0}))
    np.testing.assert_allclose(mixed.sum(axis=0), cells.sum(axis=0))
    own = own_evidence(seen(), "cpu")
    np.testing.assert_allclose(mixed.sum(axis=1), 0.15 * cells.sum(axis=1) + 0.85 * own.cells)
    assert with_own_evidence(cells, seen(span=np.nan)) == pytest.approx(cells)


@pytest.mark.parametrize("level", [0.05, 0.2, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("validity", [WEEK, 86400.0])
def test_flat_use_is_sized_close_to_what_is_used(level, noise, validity):
    rng = np.random.default_rng(1)
    cpu, memory = (
        use * (1 + noise * rng.standard_normal((1, 4032))).clip(0.8, 1.2)
        for use in (level, 1500 * MIB * level)
    )
    chosen = shipped_model().size(extract(ObservedUse(cpu, memory, 300, validity))).recommended
    assert np.quantile(cpu, 0.99) <= chosen.cpu_cores <= 1.5 * np.quantile(cpu, 0.99)
    assert memory.max() <= chosen.memory_bytes <= 1.5 * memory.max()
    assert chosen.confidence > 0.93
