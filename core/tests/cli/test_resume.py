import msgspec
import pytest

from perfopt.cli.resume import stored_in


class Options(msgspec.Struct, frozen=True):
    epochs: int = 2


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
        assert stored_in(tmp_path, "train", Options(), [1])("a", part) == b"result"
    assert len(computed) == 1
    stored_in(tmp_path, "train", Options(), [1])("b", part)
    assert len(computed) == 2


@pytest.mark.parametrize(
    ("command", "options", "examples"),
    [("train --all", Options(), [1]), ("train", Options(epochs=3), [1]), ("train", Options(), [2])],
)
def test_parts_of_another_training_are_not_taken(tmp_path, part, computed, command, options, examples):
    stored_in(tmp_path, "train", Options(), [1])("a", part)
    stored_in(tmp_path, command, options, examples)("a", part)
    assert len(computed) == 2


def test_a_part_that_failed_is_computed_again(tmp_path, part, computed):
    def fail():
        raise KeyboardInterrupt

    once = stored_in(tmp_path, "train", Options(), [1])
    with pytest.raises(KeyboardInterrupt):
        once("a", fail)
    assert once("a", part) == b"result"


def test_two_parts_of_one_training_have_two_names(tmp_path, part):
    once = stored_in(tmp_path, "train", Options(), [1])
    once("a", part)
    with pytest.raises(ValueError, match="'a'"):
        once("a", part)
