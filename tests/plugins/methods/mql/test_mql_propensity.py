"""Logistic regression against scikit-learn and a closed form, weights and effective sample size by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from icrl_plugins.methods.mql.propensity import effective_sample_size, fit_logistic_regression, importance_weights
from icrl_registry.errors import NumericalError


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("inverse_regularisation", [0.05, 1.0, 100.0])
@pytest.mark.parametrize(("size", "overlap"), [(1, 1.0), (15, 1.0), (30, 0.05)])
def test_equals_scikit_learn(generator, inverse_regularisation, size, overlap):
    linear_model = pytest.importorskip("sklearn.linear_model")
    labels = np.arange(300) < 170
    features = overlap * generator.standard_normal((300, size)) + 0.5 * labels[:, None]
    ours = fit_logistic_regression(features, labels, inverse_regularisation)
    reference = linear_model.LogisticRegression(C=inverse_regularisation, tol=1e-10, max_iter=10_000)
    reference.fit(features, labels)
    assert_allclose(ours.coefficients, reference.coef_[0], rtol=2e-4, atol=1e-5)
    assert_allclose(ours.log_odds(features), reference.decision_function(features), rtol=2e-4, atol=1e-4)


def test_two_gaussians_have_the_log_odds_of_their_density_ratio(generator):
    """log N(x; μ, Σ) / N(x; ν, Σ) = (μ − ν)ᵀ Σ⁻¹ (x − (μ + ν)/2), linear in x."""
    covariance = np.array([[1.0, 0.3], [0.3, 0.5]])
    old, new, count = np.array([0.4, -0.2]), np.array([-0.3, 0.3]), 400_000
    features = np.concatenate([generator.multivariate_normal(mean, covariance, count) for mean in (old, new)])
    model = fit_logistic_regression(features, np.arange(2 * count) < count, 1.0)
    coefficients = np.linalg.solve(covariance, old - new)
    assert_allclose(model.coefficients, coefficients, atol=0.02)
    assert_allclose(model.intercept, -coefficients @ (old + new) / 2, atol=0.02)
    points = generator.uniform(-0.5, 0.5, (20, 2))
    ratio = np.exp(-(points - (old + new) / 2) @ coefficients)  # new over old
    assert_allclose(importance_weights(model.log_odds(points), clip=3.0, floor=0.0), ratio, rtol=0.03)


def test_separable_classes_converge(generator):
    features = np.concatenate([generator.normal(-50, 1, (100, 3)), generator.normal(50, 1, (100, 3))])
    model = fit_logistic_regression(features, np.arange(200) >= 100, 0.1)
    assert (np.sign(model.log_odds(features)) == np.sign(features[:, 0])).all()


def test_weights_are_clipped_and_floored():
    odds = np.array([-5.0, -1.0, -0.5, 0.0, 2.0, np.log(10) + 1e-9, 50.0])
    assert_allclose(importance_weights(odds, clip=1.0, floor=0.1), [np.e, np.e, np.exp(0.5), 1, np.exp(-2), 0, 0])


def test_effective_sample_size_by_hand():
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert_allclose(effective_sample_size(weights), [1.0, 0.25, 16 / 40, np.nan])


def test_a_feature_that_is_not_finite_is_an_error():
    with pytest.raises(NumericalError, match="not finite"):
        fit_logistic_regression(np.array([[1.0], [np.nan]]), np.array([True, False]), 1.0)
