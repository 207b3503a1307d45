"""Our measured uncertainty against MAPIE, crepes, SciPy and scikit-learn, on the same numbers.

`uncertainty.py NUMBERS`: the crate's example of that name. One line for each comparison; exit 1 if one differs.
"""

import json
import subprocess
import sys
import warnings

import numpy as np
from crepes import ConformalRegressor
from mapie.regression import SplitConformalRegressor
from scipy import optimize, stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

ALPHAS = [0.05, 0.1, 0.2]


def questions(seed):
    chance = np.random.default_rng(seed)
    # 0.9 of 501 is no whole number: where it is one, crepes rounds binary 49.999… down and takes the next score.
    n, m = 500, 200

    def studies(count):
        truth = chance.uniform(20, 70, count)
        deviation = chance.uniform(1, 4, count)
        estimate = truth + 1.4 * deviation * chance.standard_normal(count)
        return truth, np.stack([estimate, estimate - 1.645 * deviation, estimate + 1.645 * deviation, deviation], 1)

    truth, calibration = studies(n)
    _, test = studies(m)
    confidence = chance.uniform(0.5, 1, 300)
    return {
        "alphas": ALPHAS,
        "calibration": np.column_stack([truth, calibration]).tolist(),
        "test": test.tolist(),
        "confidences": confidence.tolist(),
        "correct": (chance.random(300) < confidence**1.5).tolist(),
        "reference": chance.normal(0, 1, 600).tolist(),
        "actual": chance.normal(0.15, 1.2, 450).tolist(),
        "sizes": [100, 300, 500, 1000, 2000],
    }


class Given(RegressorMixin, BaseEstimator):
    """A model whose prediction is its first input, for libraries that want a model."""

    def fit(self, x, y):
        self.is_fitted_ = True
        return self

    def predict(self, x):
        return np.asarray(x)[:, 0]


def intervals(asked, answer):
    """Largest difference of interval ends from those of MAPIE and crepes."""
    calibration, test = np.array(asked["calibration"]), np.array(asked["test"])
    truth, estimate = calibration[:, 0], calibration[:, 1]
    worst = 0.0
    for ours in answer["intervals"]:
        alpha, found = ours["alpha"], np.array(ours["intervals"])
        if ours["score"] == "quantiles":
            # Conformalised quantiles are plain residuals of the nearer quantile: the bound is compared by MAPIE's own rule.
            scores = np.maximum(calibration[:, 2] - truth, truth - calibration[:, 3])
            mapie = SplitConformalRegressor(Given().fit(None, None), confidence_level=1 - alpha, prefit=True)
            shift = scores.min() - 1  # MAPIE takes absolute residuals: scores are moved above zero and back.
            mapie.conformalize(np.zeros((len(scores), 1)), scores - shift)
            _, bounds = mapie.predict_interval(np.zeros((1, 1)))
            bound = bounds[0, 1, 0] + shift
            expected = np.stack([test[:, 1] - bound, test[:, 2] + bound], 1)
        else:
            crepes = ConformalRegressor().fit(truth - estimate, sigmas=calibration[:, 4] + 1)
            expected = crepes.predict_int(test[:, 0], sigmas=test[:, 3] + 1, confidence=1 - alpha)
        worst = max(worst, np.abs(found - np.clip(expected, 0, 100)).max())
    return worst


def expected_calibration_error(confidence, correct):
    """By scikit-learn's reliability curve, whose bins are closed below: no confidence lies on an edge here."""
    share, mean = calibration_curve(correct, confidence, n_bins=10)
    counts = np.histogram(confidence, bins=np.linspace(0, 1, 11))[0]
    return float(np.sum(counts[counts > 0] / len(confidence) * np.abs(share - mean)))


def temperature(asked):
    """By minimising the likelihood numerically."""
    truth, estimate, _, _, deviation = np.array(asked["calibration"]).T
    nll = lambda log: -stats.norm.logpdf(truth, estimate, np.sqrt(np.exp(log)) * deviation).sum()
    return float(np.exp(optimize.minimize_scalar(nll, bounds=(-5, 5), method="bounded", options={"xatol": 1e-12}).x))


def population_stability(reference, actual):
    edges = np.quantile(reference, np.linspace(0.1, 0.9, 9))
    share = lambda values: np.maximum(np.bincount(np.searchsorted(edges, values, side="left"), minlength=10) / len(values), 1e-4)
    expected, found = share(reference), share(actual)
    return float(np.sum((found - expected) * np.log(found / expected)))


def main():
    warnings.simplefilter("ignore")
    failed = False
    for seed in range(3):
        asked = questions(seed)
        said = subprocess.run([sys.argv[1]], input=json.dumps(asked), capture_output=True, text=True, check=True)
        answer = json.loads(said.stdout)
        confidence, correct = np.array(asked["confidences"]), np.array(asked["correct"])
        order = np.argsort(-confidence)
        risks = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
        ks = stats.ks_2samp(asked["reference"], asked["actual"], method="exact")
        beta = [stats.beta(k := int(np.ceil((n + 1) * 0.9 - 1e-9)), n + 1 - k).ppf([0.025, 0.975]) for n in asked["sizes"]]
        comparisons = [
            ("intervals (MAPIE, crepes)", intervals(asked, answer), 0.0, 1e-9),
            ("calibration error (scikit-learn)", answer["ece"], expected_calibration_error(confidence, correct), 1e-12),
            ("Brier score (scikit-learn)", answer["brier"], brier_score_loss(correct, confidence), 1e-12),
            ("log loss (scikit-learn)", answer["nll"], log_loss(correct, confidence), 1e-12),
            ("area under risk and coverage (numpy)", answer["aurc"], risks.mean(), 1e-12),
            ("rank correlation (SciPy)", answer["spearman"], stats.spearmanr(1 - confidence, ~correct).statistic, 1e-12),
            ("temperature (SciPy)", answer["temperature"], temperature(asked), 1e-5),
            ("stability index (numpy)", answer["psi"], population_stability(asked["reference"], asked["actual"]), 1e-12),
            ("Kolmogorov-Smirnov distance (SciPy)", answer["ks"]["distance"], ks.statistic, 1e-12),
            ("Kolmogorov-Smirnov probability (SciPy)", answer["ks"]["p"], ks.pvalue, 1e-9),
            ("range of coverage (SciPy)", np.abs(np.array(answer["coverage"]) - np.array(beta)).max(), 0.0, 1e-6),
        ]
        for name, ours, theirs, tolerance in comparisons:
            agrees = abs(ours - theirs) <= tolerance
            failed |= not agrees
            print(f"{'ok' if agrees else 'FAILED'} {name}: {ours:.12g} {theirs:.12g}")
    print("11 measures on 3 sets agree" if not failed else "measures differ")
    return int(failed)


sys.exit(main())
