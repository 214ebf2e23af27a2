import numpy as np
import pytest

from perfopt_resource.model.forest import CELLS, GRID, TreeNodes, cell_of, flatten
from perfopt_resource.training.train import train_forest


def stump(threshold, left, right, given=(np.nan, np.nan)):
    """A tree of one split of the first feature; members of its leaves as pairs of cells."""

    def cells(pairs):
        return np.array([cpu * CELLS + memory for cpu, memory in pairs])

    return TreeNodes(
        feature=np.array([0, -2, -2]),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        members={1: cells(left), 2: cells(right)},
        given={1: np.array(given), 2: np.array([np.log(2.0), np.log(8.0)])},
    )


def test_a_container_falls_into_one_leaf_of_each_tree():
    forest = flatten([stump(0.0, [(3, 4)], [(10, 20)]), stump(1.0, [(3, 4)], [(10, 20)])])
    assert forest.leaves(np.array([-1.0])).tolist() == [0, 2]
    assert forest.leaves(np.array([0.0])).tolist() == [0, 2]  # up to the threshold is left
    assert forest.leaves(np.array([0.5])).tolist() == [1, 2]
    assert forest.leaves(np.array([2.0])).tolist() == [1, 3]
    assert forest.leaves(np.array([np.nan])).tolist() == [0, 2]


def test_each_tree_counts_the_same_however_many_examples_its_leaf_has():
    forest = flatten([stump(0.0, [(10, 10)] * 9, [(1, 1)]), stump(0.0, [(30, 30)], [(1, 1)])])
    cells = forest.cells(forest.leaves(np.array([-1.0])))
    assert cells.sum() == pytest.approx(1)
    assert cells[:20, :20].sum() == pytest.approx(0.5, abs=0.01)


def test_what_is_typically_given_is_the_mean_of_the_leaves_that_know_it():
    forest = flatten([stump(0.0, [(1, 1)], [(1, 1)]), stump(1.0, [(1, 1)], [(1, 1)], (np.log(8.0), np.nan))])
    assert forest.typically_given(forest.leaves(np.array([0.5]))) == pytest.approx([4.0, 8.0])
    assert np.isnan(forest.typically_given(forest.leaves(np.array([-1.0])))[1])


def test_needs_lie_in_the_cell_whose_size_is_just_enough():
    assert cell_of(np.array([-5.0, GRID[3], GRID[3] + 0.001, 9.0])).tolist() == [0, 3, 4, len(GRID)]


def test_training_twice_gives_the_same_forest(examples):
    pytest.importorskip("sklearn")
    one, other = train_forest(examples, 3), train_forest(examples, 3)
    for name in one.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_all_examples_fill_the_leaves_of_each_tree(examples):
    pytest.importorskip("sklearn")
    forest = train_forest(examples, 2)
    assert len(forest.member) >= 2 * len(examples.at)
    assert (np.diff(forest.first) > 0).all()
