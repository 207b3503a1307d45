//! A report of every kind, with every word once: what a site's templates and words are tried with before the first study.

use std::collections::BTreeSet;

use schemas::{
    CalibrationUsed, Certainty, Digest, Domain, EfEstimate, Finding, Priority, Revision, StudyHead, StudyUid,
    Tag, Verdict,
};

use crate::{
    compose::{Content, in_language},
    templates::{Kind, Language, ReasonOnPage},
    words::{DOUBTS, Words},
};

/// One text to try.
pub(crate) struct Sample<'a> {
    pub(crate) kind: Kind,
    pub(crate) study: &'a StudyHead,
    /// None where the template speaks of the study alone.
    pub(crate) content: Option<Content<'a>>,
    words: &'a Words,
}

impl Sample<'_> {
    /// Every reason that has a name, for the text of a rejection.
    pub(crate) fn reasons(&self, language: Language) -> Vec<ReasonOnPage> {
        let advice = || if language == Language::En { "again" } else { "重新采集" }.to_owned();
        let name = |code| in_language(self.words.caution(code), language);
        self.words.caution_codes().map(|code| ReasonOnPage { name: name(code), advice: advice() }).collect()
    }
}

/// Calls `tried` with each sample until one fails.
pub(crate) fn each(
    words: &Words,
    mut tried: impl FnMut(&Sample<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let features: Vec<Finding> = words.feature_codes().map(|code| Finding { code: code.clone() }).collect();
    let cautions: Vec<_> = words.caution_codes().cloned().collect();
    let all_tags: BTreeSet<Tag> = DOUBTS.into_iter().collect();
    let calibration = CalibrationUsed {
        id: "set-1".to_owned(),
        digest: Digest::of(b"set-1"),
        alpha: 0.1,
        group: "quality=good,view=A4C".to_owned(),
        studies: 512,
        synthetic: true,
    };
    let bare = EfEstimate { percent: 57.0, interval: None, geometric_percent: None };
    let full = EfEstimate { percent: 41.5, interval: Some([36.2, 47.0]), geometric_percent: Some(43.1) };
    for (domain, synthetic) in
        [(Domain::Echo, false), (Domain::Echo, true), (Domain::Pathology, false), (Domain::Unknown, true)]
    {
        #[expect(clippy::expect_used, reason = "a constant that is a UID")]
        let study_uid = StudyUid::new("2.25.1").expect("a UID");
        let study = StudyHead {
            study_uid,
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain,
            synthetic,
        };
        let no_tags = BTreeSet::new();
        let plain = Content {
            study: &study,
            verdict: Verdict::Accept,
            cautions: &[],
            certainty: Certainty::Low,
            tags: &no_tags,
            abstention: None,
            ef: None,
            calibration: None,
            features: Some(&[]),
            demo_model: false,
        };
        let sample = |kind, content| Sample { kind, study: &study, content, words };
        let is_echo = domain == Domain::Echo;
        if is_echo {
            tried(&sample(Kind::Accept, Some(Content { ef: Some(&bare), ..plain })))?;
        }
        let answered = Content {
            ef: is_echo.then_some(&full),
            calibration: is_echo.then_some(&calibration),
            features: Some(&features),
            tags: &all_tags,
            demo_model: true,
            ..plain
        };
        for certainty in [Certainty::Low, Certainty::Medium, Certainty::High] {
            tried(&sample(Kind::Accept, Some(Content { certainty, ..answered })))?;
        }
        let cautioned = Content { verdict: Verdict::Caution, ..answered };
        tried(&sample(Kind::Caution, Some(cautioned)))?;
        tried(&sample(Kind::Caution, Some(Content { cautions: &cautions, ..cautioned })))?;
        for code in words.abstention_codes() {
            let silent = Content {
                certainty: Certainty::Abstain,
                abstention: Some(code),
                features: None,
                verdict: Verdict::Reject,
                ..plain
            };
            tried(&sample(Kind::Abstain, Some(silent)))?;
        }
        tried(&sample(Kind::Reject, None))?;
        tried(&sample(Kind::Withheld, None))?;
    }
    Ok(())
}
