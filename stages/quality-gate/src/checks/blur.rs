//! The picture is sharp, by two measures that fail differently: the re-blur metric ignores gain, the variance of
//! the Laplacian is the one people know. Only both together, or gross blur, reject.

use schemas::{Check, CheckVerdict, ReasonCode};

use crate::rule::{Limits, Rule, Worse};

const CODE: ReasonCode = ReasonCode::known("BLUR");
const ADVICE: [&str; 2] = [
    "The picture is blurred: check focus and probe contact, acquire again.",
    "图像模糊：请检查焦点位置和探头接触后重新采集。",
];
const REBLUR: Rule = Rule { name: "blur", unit: "1", worse: Worse::Above, code: CODE, advice: ADVICE };
const LAPLACIAN: Rule =
    Rule { name: "laplacian_variance", unit: "{grey}2", worse: Worse::Below, code: CODE, advice: ADVICE };

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharpness {
    pub(crate) reblur: f64,
    pub(crate) laplacian_variance: f64,
}

/// Judges both measures; each rejects at its milder bound once the other agrees.
pub(crate) fn checks(sharpness: Sharpness, reblur: Limits, laplacian: Limits) -> [Check; 2] {
    let soft = REBLUR.worse.beyond(sharpness.reblur, reblur.warn);
    let flat = LAPLACIAN.worse.beyond(sharpness.laplacian_variance, laplacian.reject);
    let reblurred = REBLUR.judge(sharpness.reblur, reblur);
    let reblurred = if soft && flat && reblurred.verdict == CheckVerdict::Warn {
        REBLUR.check(Some(sharpness.reblur), reblur.warn, CheckVerdict::Reject)
    } else {
        reblurred
    };
    let laplacian = if soft { laplacian } else { laplacian.warning_only(Worse::Below) };
    [reblurred, LAPLACIAN.judge(sharpness.laplacian_variance, laplacian)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_laplacian_variance_rejects_only_together_with_the_reblur_metric() {
        let verdicts = |reblur, laplacian_variance| {
            let limits = (Limits { warn: 0.60, reject: 0.75 }, Limits { warn: 100.0, reject: 50.0 });
            checks(Sharpness { reblur, laplacian_variance }, limits.0, limits.1)
                .map(|check| (check.verdict, check.threshold))
        };
        let (pass, warn, reject) = (CheckVerdict::Pass, CheckVerdict::Warn, CheckVerdict::Reject);
        assert_eq!(verdicts(0.26, 4127.0), [(pass, 0.60), (pass, 100.0)]);
        assert_eq!(
            verdicts(0.50, 40.0),
            [(pass, 0.60), (warn, 100.0)],
            "a smooth scanner is not a blurred picture"
        );
        assert_eq!(verdicts(0.63, 99.0), [(warn, 0.60), (warn, 100.0)]);
        assert_eq!(verdicts(0.63, 32.0), [(reject, 0.60), (reject, 50.0)]);
        assert_eq!(verdicts(0.80, 500.0), [(reject, 0.75), (pass, 100.0)], "noise over a blurred picture");
    }
}
