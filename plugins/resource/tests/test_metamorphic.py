"""What a size must not depend on, and what it must follow, on real series and on made ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt_resource.model.features import ObservedUse, extract
from perfopt_resource.model.sizing_model import shipped_model

DAY = 288
WEEK = 7 * 86400.0
SAMPLE = Path(__file__).parents[3] / "core/tests/data/bitbrains_three_vms.parquet"


def sizes(cpu, memory, cpu_limit=None, memory_limit=None):
    """Returns cores and bytes, from the 14 days of a container."""
    seen = extract(ObservedUse(np.atleast_2d(cpu), np.atleast_2d(memory), 300, WEEK, cpu_limit, memory_limit))
    chosen = shipped_model().size(seen).recommended
    return np.array([chosen.cpu_cores, chosen.memory_bytes])


def fortnights():
    """Yields cpu and memory of 14 days up to every second day, of VMs that the model was not trained on."""
    pd = pytest.importorskip("pandas")
    frame = pd.read_parquet(SAMPLE)
    frame["step"] = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64") // 300
    for _, of_vm in frame.groupby("series_id", observed=True):
        first, last = of_vm["step"].min(), of_vm["step"].max()
        whole = {}
        for metric in ("cpu_cores", "memory_bytes"):
            rows = of_vm[of_vm["metric"] == metric]
            whole[metric] = np.full(last - first + 1, np.nan)
            whole[metric][rows["step"] - first] = rows["value"]
        for day in range(14, (last - first + 1) // DAY + 1, 2):
            span = slice((day - 14) * DAY, day * DAY)
            yield whole["cpu_cores"][span], whole["memory_bytes"][span]


@pytest.fixture(scope="module")
def histories():
    return list(fortnights())


def moved(one, other):
    return np.abs(np.log(one / other))


def test_a_limit_of_at_least_twice_the_peak_is_no_scale(histories):
    moves = []
    for cpu, memory in histories:
        limits = 3 * np.nanmax(cpu), 3 * np.nanmax(memory)
        one, other = sizes(cpu, memory, *limits), sizes(cpu, memory, 4 * limits[0], 4 * limits[1])
        moves.append(moved(one, other))
    assert np.mean(np.array(moves) > np.log(1.05)) <= 0.05


def test_use_that_is_3_percent_higher_moves_a_size_by_at_most_6(histories):
    moves = [moved(sizes(cpu * 1.03, memory * 1.03), sizes(cpu, memory)) for cpu, memory in histories]
    assert np.max(moves) <= np.log(1.06)


def test_twice_the_use_gives_twice_the_size(histories):
    for cpu, memory in histories:
        if np.nanquantile(cpu, 0.99) > 0.05:
            assert sizes(cpu * 2, memory * 2) == pytest.approx(2 * sizes(cpu, memory), rel=0.02)


def test_the_order_of_pods_does_not_matter(histories):
    cpu, memory = (np.stack(series) for series in zip(*histories[:2], strict=True))
    assert sizes(cpu, memory) == pytest.approx(sizes(cpu[::-1], memory[::-1]))


def test_a_load_that_repeats_weekly_is_sized_alike_on_each_weekday():
    rng = np.random.default_rng(0)
    week = np.repeat([1.0, 1.1, 1.2, 1.1, 1.0, 0.5, 0.4], DAY) * (1 + 0.1 * rng.random(7 * DAY))
    cpu, memory = np.tile(0.5 * week, 3), np.tile(2e9 * week, 3)
    each = np.array([sizes(cpu[d * DAY :][: 14 * DAY], memory[d * DAY :][: 14 * DAY]) for d in range(7)])
    assert (each.max(axis=0) / each.min(axis=0)).max() <= 1.02


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.2, 4), st.floats(0.02, 0.4), st.sampled_from([0.5, 2.0, 8.0]))
def test_a_made_load_scales_with_its_use_and_not_with_its_limit(seed, level, spread, scale):
    rng = np.random.default_rng(seed)
    daily = 1 + 0.3 * np.sin(np.arange(14 * DAY) / DAY * 2 * np.pi)
    cpu = level * daily * rng.lognormal(0, spread, 14 * DAY)
    memory = 1e9 * level * rng.lognormal(0, spread / 4, 14 * DAY)
    base = sizes(cpu, memory)
    assert sizes(cpu * scale, memory * scale) == pytest.approx(scale * base, rel=0.02)
    high = 2.5 * max(base[0], cpu.max()), 2.5 * max(base[1], memory.max())
    assert sizes(cpu, memory, *high) == pytest.approx(sizes(cpu, memory, 4 * high[0], 4 * high[1]), rel=0.05)
