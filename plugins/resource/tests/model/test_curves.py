import numpy as np
import pytest

from perfopt_resource.model.curves import flatten
from perfopt_resource.training import train

sklearn = pytest.importorskip("sklearn")


def test_interval_arithmetic_gives_what_walking_the_trees_gives(examples, monkeypatch):
    from sklearn.ensemble import HistGradientBoostingClassifier as Booster

    fitted, original = [], Booster.fit

    def fit(self, *arguments, **options):
        fitted.append(original(self, *arguments, **options))
        return self

    monkeypatch.setattr(Booster, "fit", fit)
    columns = train.columns("cpu")
    trees = flatten(columns, *train._boosted(examples, examples.features, "cpu"))
    at = np.linspace(-0.9137, 1.7713, 40)  # not on a threshold, where rounding to 32 bits decides
    rows = train._design(columns, examples.features[:10], np.tile(at, (10, 1)))
    walked = fitted[0].predict_proba(rows)[:, 1].reshape(10, -1)
    curves = np.array([trees.probabilities(row, at) for row in examples.features[:10]])
    np.testing.assert_allclose(curves, walked, atol=1e-6)


def test_a_larger_size_is_never_less_sure(model, examples):
    for resource in ("cpu", "memory"):
        for row in examples.features:
            assert (np.diff(model.trees[resource].probabilities(row, model.grid)) >= -1e-12).all()


def test_unknown_features_are_answered_too(model, examples):
    curve = model.trees["cpu"].probabilities(np.full(examples.features.shape[1], np.nan), model.grid)
    assert np.isfinite(curve).all()
