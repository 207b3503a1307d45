//! From what was heard in all askings to the answer of the study, and how far the askings agree.
//!
//! Every entry of the form is decided by itself, by majority; of equally frequent values the one heard first. The number
//! is not voted on: it is the median of the means of the distributions, where most askings give one and their
//! distributions do not mostly decline.

use schemas::{Answer, EfDistribution, Evidence, Finding};

use crate::{
    AbstentionReason, Form,
    asking::Heard,
    distribution::{self, median},
};

/// What all askings came to.
pub(crate) struct Consensus {
    pub(crate) answer: Answer,
    pub(crate) evidence: Evidence,
}

/// The study's answer, or, where more than half of the askings gave none, the worst of their reasons.
pub(crate) fn of(
    form: Form,
    heard: &[Heard],
    dropped: &[AbstentionReason],
) -> Result<Consensus, AbstentionReason> {
    if dropped.len() > heard.len()
        && let Some(worst) = dropped.iter().max()
    {
        return Err(*worst);
    }
    let answers = || heard.iter().map(|heard| &heard.answer);
    // Nothing was asked at all, or nothing of it was heard.
    let Some(quality) = majority(answers().map(|answer| answer.quality)) else {
        return Err(AbstentionReason::NoKeyframes);
    };
    let scored: Vec<_> =
        heard.iter().filter_map(|heard| Some((heard.asked, heard.scores.as_ref()?))).collect();
    let ef = distribution::over(&scored);
    let answer = Answer {
        view: majority(answers().map(|answer| answer.view)).flatten(),
        quality,
        lvef_percent: percent(heard, ef.as_ref()),
        findings: findings(form, heard),
    };
    let agrees = |heard: &&Heard| match form {
        Form::Echo => heard.answer.view == answer.view,
        Form::Pathology => heard.answer.findings == answer.findings,
    };
    let evidence = Evidence {
        ef,
        semantic_entropy: match form {
            Form::Echo => entropy(answers().map(|answer| Band::of(answer.lvef_percent)), Band::COUNT),
            // As many classes as askings: the number of possible ones is far greater, and no entropy would come near 1.
            Form::Pathology => entropy(answers().map(|answer| &answer.findings), heard.len()),
        },
        token_log_probability: token_log_probability(heard),
        askings: (heard.len() + dropped.len()) as u32,
        agreeing: heard.iter().filter(agrees).count() as u32,
    };
    Ok(Consensus { answer, evidence })
}

/// The most frequent value; of equally frequent ones the first.
fn majority<T: PartialEq>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut best: Option<(usize, T)> = None;
    for (count, value) in counted(values) {
        if best.as_ref().is_none_or(|(most, _)| count > *most) {
            best = Some((count, value));
        }
    }
    best.map(|(_, value)| value)
}

/// Each distinct value and how often it came, in order of first coming.
fn counted<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<(usize, T)> {
    let mut counts: Vec<(usize, T)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(_, known)| *known == value) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, value)),
        }
    }
    counts
}

/// Of each group of codes that exclude each other the one heard most, or none where none was heard most.
fn findings(form: Form, heard: &[Heard]) -> Vec<Finding> {
    let named = |group: &[schemas::ReasonCode], heard: &Heard| {
        heard.answer.findings.iter().map(|finding| &finding.code).find(|code| group.contains(code)).cloned()
    };
    let chosen = form.alternatives().into_iter().filter_map(|group| {
        majority(heard.iter().map(|heard| named(&group, heard))).flatten().map(|code| Finding { code })
    });
    chosen.collect()
}

fn percent(heard: &[Heard], ef: Option<&EfDistribution>) -> Option<u8> {
    let numbers = || heard.iter().filter_map(|heard| heard.answer.lvef_percent);
    if 2 * numbers().count() <= heard.len() {
        return None;
    }
    let value = match ef {
        Some(ef) => {
            let mass: f64 = ef.samples.iter().map(|sample| sample.mass).sum();
            let declined: f64 = ef.samples.iter().map(|sample| sample.declined).sum();
            if declined > mass {
                return None;
            }
            ef.estimate
        }
        None => median(numbers().map(f64::from))?,
    };
    Some(value.round().clamp(0.0, 100.0) as u8)
}

/// The bands of the ejection fraction in which heart failure is spoken of, and none (2021 universal definition).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Band {
    AtMost40,
    From41To49,
    From50,
    Absent,
}

impl Band {
    const COUNT: usize = 4;

    const fn of(percent: Option<u8>) -> Self {
        match percent {
            None => Self::Absent,
            Some(..=40) => Self::AtMost40,
            Some(41..=49) => Self::From41To49,
            Some(50..) => Self::From50,
        }
    }
}

/// Discrete semantic entropy, −Σ p ln p / ln K over K classes (Farquhar et al., Nature 2024;630:625): 0 where all askings
/// say the same, 1 where they spread evenly over all classes.
fn entropy<T: PartialEq>(values: impl Iterator<Item = T>, classes: usize) -> f64 {
    let mut counts: Vec<usize> = counted(values).into_iter().map(|(count, _)| count).collect();
    if counts.len() < 2 {
        return 0.0;
    }
    counts.sort_unstable();
    let all = counts.iter().sum::<usize>() as f64;
    let shares = counts.iter().map(|count| *count as f64 / all);
    let entropy: f64 = shares.map(|share| -share * share.ln()).sum();
    (entropy / (classes as f64).ln()).clamp(0.0, 1.0)
}

/// Mean over the tokens of all answers; absent where one of them has none.
fn token_log_probability(heard: &[Heard]) -> Option<f64> {
    let tokens: f64 = heard.iter().map(|heard| f64::from(heard.generated_tokens)).sum();
    let sum: f64 = heard.iter().map(|heard| heard.log_probability).sum::<Option<f64>>()?;
    let mean = sum / tokens;
    mean.is_finite().then_some(mean)
}
