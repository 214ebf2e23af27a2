import numpy as np
import pytest

from perfopt.domain.enums import ServiceClass
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES
from perfopt_resource.model.features import ObservedUse, extract
from perfopt_resource.model.sizing_model import ModelError, SizingModel, shipped_model
from perfopt_resource.training.build import build
from perfopt_resource.training.examples import collect


def features_of(series, **changed):
    cpu, memory = series.cpu_cores[:, -576:], series.memory_bytes[:, -576:]
    known = {"cpu_cores": cpu, "memory_bytes": memory, "cpu_limit_cores": 4.0, "memory_limit_bytes": 4e9}
    return extract(ObservedUse(step_seconds=300, validity_seconds=86400.0, **(known | changed)))


def test_the_same_room_is_less_sure_for_a_restless_service_than_for_a_steady_one(model, fleet):
    def sure(series):
        features = features_of(series)
        return model.confidence(features, {name: 1.2 * size for name, size in features.references.items()})

    assert np.mean([sure(s) for s in fleet[0::2]]) < np.mean([sure(s) for s in fleet[1::2]]) - 0.05


def test_the_class_sets_how_sure_a_size_is(model, fleet):
    features = features_of(fleet[0])
    sure = [
        model.size(features, UNDER_PROVISIONING_PENALTIES[c]).recommended.confidence
        for c in (ServiceClass.BATCH, ServiceClass.STANDARD, ServiceClass.CRITICAL)
    ]
    assert sure == sorted(sure)


def test_the_frontier_goes_from_cheap_to_sure_and_holds_the_recommendation(model, fleet):
    sizing = model.size(features_of(fleet[0]))
    sure = [choice.confidence for choice in sizing.frontier]
    assert sure == sorted(sure)
    assert sizing.recommended in sizing.frontier
    assert sizing.recommended.cost_change == 0


def test_confidence_of_the_recommended_size_is_what_was_promised(model, fleet):
    features = features_of(fleet[1])
    chosen = model.size(features).recommended
    stated = model.confidence(features, {"cpu": chosen.cpu_cores, "memory": chosen.memory_bytes})
    assert stated == pytest.approx(chosen.confidence, abs=1e-6)


def test_what_is_needed_more_surely_lies_in_a_wider_interval(model, fleet):
    distribution = model.distribution(features_of(fleet[0]))
    lows, highs = zip(*(distribution.interval("cpu", level) for level in (0.5, 0.8, 0.95)), strict=True)
    assert lows[0] > lows[1] > lows[2]
    assert highs[0] < highs[1] < highs[2]
    assert lows[0] < highs[0]


def test_less_memory_is_less_sure(model, fleet):
    features = features_of(fleet[1])
    chosen = model.size(features).recommended
    less = model.confidence(features, {"cpu": chosen.cpu_cores, "memory": chosen.memory_bytes * 0.7})
    assert less < chosen.confidence


def test_cpu_alone_is_sized_alone(model, fleet):
    chosen = model.size(features_of(fleet[0], memory_bytes=None, memory_limit_bytes=None)).recommended
    assert chosen.memory_bytes is None
    assert chosen.cpu_cores is not None


def test_sizes_are_whole_millicores_and_bytes_above_the_floors(model):
    idle = extract(ObservedUse(np.full((1, 576), 1e-4), np.full((1, 576), 1e6), 300, 86400.0))
    chosen = model.size(idle).recommended
    assert chosen.cpu_cores >= 0.01
    assert chosen.memory_bytes >= 16 * 2**20
    assert (chosen.cpu_cores * 1000) == pytest.approx(round(chosen.cpu_cores * 1000))
    assert chosen.memory_bytes == round(chosen.memory_bytes)


def test_a_file_gives_the_same_model_and_the_same_bytes(model, fleet, tmp_path):
    digest = model.save(tmp_path / "one.npz")
    again = SizingModel.load(tmp_path / "one.npz")
    assert again.save(tmp_path / "two.npz") == digest
    assert again.size(features_of(fleet[3])) == model.size(features_of(fleet[3]))
    assert again.card == model.card


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 broken"])
def test_another_file_is_refused_in_plain_words(content, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a sizing model"):
        SizingModel.load(path)


def test_a_model_of_other_features_is_refused(model, tmp_path, monkeypatch):
    model.save(tmp_path / "model.npz")
    monkeypatch.setattr("perfopt_resource.model.sizing_model.NAMES", ("other",))
    with pytest.raises(ModelError, match="other features"):
        SizingModel.load(tmp_path / "model.npz")


def test_too_small_a_fleet_is_refused_with_what_is_missing(fleet):
    from perfopt.errors import InvalidInputError

    pytest.importorskip("sklearn")
    with pytest.raises(InvalidInputError, match="10 are needed"):
        build(collect(fleet[:3]), name="n", version="1", data=(), command="none")


def test_the_shipped_model_answers(fleet):
    shipped = shipped_model()
    chosen = shipped.size(features_of(fleet[1])).recommended
    assert 0 < chosen.confidence < 1
    assert shipped.card.series == 244


def test_a_model_knows_what_it_was_trained_on_without_naming_it(model, fleet):
    assert all(model.card.saw(one.name) for one in fleet)
    assert not model.card.saw("another")
    assert fleet[0].name not in model.card.seen


def test_the_least_utility_rises_with_the_penalty(model):
    floors = [model.card.floor(penalty) for penalty in (2.0, 5.5, 7.5, 30.0)]
    assert floors == sorted(floors)


def test_a_higher_fleet_accuracy_takes_a_higher_penalty():
    card = shipped_model().card
    penalties = [card.penalty_for(accuracy) for accuracy in (0.85, 0.92, 0.95, 0.9999)]
    assert penalties == sorted(penalties)
    assert penalties[0] < penalties[-1] == card.accuracies[-1][0]
    known, reached = zip(*card.accuracies, strict=True)
    assert np.interp(penalties[2], known, reached) == pytest.approx(0.95, abs=0.002)


def test_every_class_has_a_cost_of_shortage():
    assert set(UNDER_PROVISIONING_PENALTIES) == set(ServiceClass)
