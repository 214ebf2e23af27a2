import pytest

from perfopt.cli.resume import stored_in


@pytest.fixture
def computed():
    return []


@pytest.fixture
def part(computed):
    def compute():
        computed.append(1)
        return b"result"

    return compute


def test_a_finished_part_is_computed_once(tmp_path, part, computed):
    for _ in range(2):
        assert stored_in(tmp_path, "train", [1])("a", part) == b"result"
    assert len(computed) == 1
    stored_in(tmp_path, "train", [1])("b", part)
    assert len(computed) == 2


@pytest.mark.parametrize(("command", "examples"), [("train --all", [1]), ("train", [2])])
def test_parts_of_another_training_are_not_taken(tmp_path, part, computed, command, examples):
    stored_in(tmp_path, "train", [1])("a", part)
    stored_in(tmp_path, command, examples)("a", part)
    assert len(computed) == 2


def test_a_part_that_failed_is_computed_again(tmp_path, part, computed):
    def fail():
        raise KeyboardInterrupt

    once = stored_in(tmp_path, "train", [1])
    with pytest.raises(KeyboardInterrupt):
        once("a", fail)
    assert once("a", part) == b"result"
