"""The numbers that SciPy and statsmodels give to the questions of a comparison.

`make_fixtures.py` writes fixtures.json beside itself: questions and their answers, the same every time.
`make_fixtures.py --check PROGRAM [SEED…]` asks PROGRAM (the crate's example `statistics`) about fresh chance and compares;
one line for each comparison, exit 1 if one differs. Without seeds, three of the clock.
"""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
from scipy import stats
from scipy.stats._resampling import BootstrapResult
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

ALPHA = 0.05


def questions(seed, resamples):
    chance = np.random.default_rng(seed)
    sizes = [2, 5, 30, 200]
    totals = [1, 10, 59, 100, 2000]
    count = 40
    baseline = chance.lognormal(0, 0.6, count)
    confidence = chance.uniform(0.05, 1, 120)
    shares = [[0, n] for n in totals] + [[n, n] for n in totals] + [[int(chance.integers(0, n + 1)), n] for n in totals]
    return {
        "alpha": ALPHA,
        "discordant": [[0, 0], [0, 1], [0, 8], [3, 3], [1, 9]] + chance.integers(0, 60, (8, 2)).tolist(),
        "shares": shares,
        "differences": [chance.normal(chance.uniform(-2, 2), chance.uniform(0.5, 6), n).round(3).tolist() for n in sizes],
        "margin": 2.0,
        "probabilities": (chance.random(12) ** 3).tolist() + [0.01, 0.01, 1.0],
        "times": np.column_stack([baseline, baseline * chance.lognormal(0.1, 0.2, count)]).round(6).tolist(),
        "resamples": chance.integers(0, count, (resamples, count)).tolist(),
        "stated": list(zip(confidence.tolist(), (chance.random(120) < confidence**1.3).tolist())),
    }


def agreement(differences):
    """Bland & Altman 1999 by SciPy's t distribution."""
    d, n = np.array(differences), len(differences)
    bias, deviation = d.mean(), d.std(ddof=1)
    z, t = stats.norm.ppf(0.975), stats.t.ppf(1 - ALPHA / 2, n - 1)
    limit = deviation * np.sqrt(1 / n + z**2 / (2 * (n - 1)))
    interval = stats.ttest_1samp(d, 0).confidence_interval(1 - ALPHA)
    lower, upper = bias - z * deviation, bias + z * deviation
    return [bias, interval.low, interval.high, deviation,
            lower, lower - t * limit, lower + t * limit, upper, upper - t * limit, upper + t * limit]


def equivalence(differences, margin):
    described = DescrStatsW(np.array(differences))
    p, _, _ = described.ttost_mean(-margin, margin)
    return [p, *described.tconfint_mean(alpha=2 * ALPHA)]


def mid_p(lost, gained):
    """Twice the one-sided mid-p."""
    least, total = min(lost, gained), lost + gained
    binomial = stats.binom(total, 0.5)
    return min(1.0, 2 * (binomial.cdf(least) - binomial.pmf(least) / 2))


def bounds(count, total):
    return proportion_confint(count, total, alpha=2 * ALPHA, method="beta")


def bootstrap(times, resamples, statistic, method):
    """SciPy's own reading of an interval, off the resamples that are given."""
    times, indices = np.array(times), np.array(resamples)
    ratio = lambda base, other, axis=-1: np.log(statistic(other, axis=axis)) - np.log(statistic(base, axis=axis))
    drawn = ratio(times[indices, 0], times[indices, 1])
    given = BootstrapResult(confidence_interval=None, bootstrap_distribution=drawn, standard_error=None)
    found = stats.bootstrap((times[:, 0], times[:, 1]), ratio, paired=True, vectorized=True, n_resamples=0, method=method,
                            confidence_level=1 - 2 * ALPHA, bootstrap_result=given).confidence_interval
    return [ratio(times[:, 0], times[:, 1]), found.low, found.high]


def calibration(stated):
    """Naeini 2015 by numpy: ten bins, open below."""
    confidence, correct = np.array(stated, dtype=float).T
    bins = np.digitize(confidence, np.linspace(0, 1, 11), right=True)
    gap = lambda chosen: chosen.mean() * abs(confidence[chosen].mean() - correct[chosen].mean())
    return sum(gap(bins == one) for one in np.unique(bins))


def answers(asked):
    return {
        "mcnemar": [[mcnemar([[0, a], [b, 0]], exact=True).pvalue, mid_p(a, b)] for a, b in asked["discordant"]],
        "bounds": [list(bounds(count, total)) for count, total in asked["shares"]],
        "agreement": [agreement(values) for values in asked["differences"]],
        "equivalence": [equivalence(values, asked["margin"]) for values in asked["differences"]],
        "holm": multipletests(asked["probabilities"], method="holm")[1].tolist(),
        "medians": bootstrap(asked["times"], asked["resamples"], np.median, "percentile"),
        "means": bootstrap(asked["times"], asked["resamples"], np.mean, "BCa"),
        "calibration": calibration(asked["stated"]),
    }


def check(program, seeds):
    failed = compared = 0
    for seed in seeds:
        asked = questions(seed, 2000)
        said = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=True)
        ours, theirs = json.loads(said.stdout), answers(asked)
        for name, expected in theirs.items():
            expected, found = np.array(expected, dtype=float), np.array(ours[name], dtype=float)
            worst = float(np.max(np.abs(expected - found) / np.maximum(1, np.abs(expected))))
            agrees = expected.shape == found.shape and worst <= 1e-9
            failed, compared = failed + (not agrees), compared + 1
            print(f"{'ok' if agrees else 'FAILED'} {name}, seed {seed}: {expected.size} numbers, largest difference {worst:.1e}")
    print(f"{compared} comparisons agree" if not failed else f"{failed} of {compared} comparisons differ")
    return int(failed > 0)


def main(arguments):
    if arguments[:1] == ["--check"] and len(arguments) > 1:
        return check(arguments[1], [int(seed) for seed in arguments[2:]] or [time.time_ns() // 1000 + k for k in range(3)])
    if arguments:
        print(__doc__, file=sys.stderr)
        return 64
    asked = questions(20261121, 60)
    plain = lambda value: value.item() if isinstance(value, np.generic) else value
    written = json.dumps({"questions": asked, "answers": answers(asked)}, default=plain)
    pathlib.Path(__file__).with_name("fixtures.json").write_text(written + "\n")
    return 0


sys.exit(main(sys.argv[1:]))
