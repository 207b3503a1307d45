//! The text of a report: sentences put in order, and the last look before it leaves.

use schemas::{Bilingual, EfEstimate, FindingsInferred, ReasonCode, Tag, Verdict};

use crate::{
    LanguagePolicy,
    assess::Assessment,
    wording::{Wording, fill},
};

/// The report in full.
pub(crate) fn report(wording: &Wording, input: &FindingsInferred, assessment: &Assessment) -> Bilingual {
    let sentences = &wording.sentences;
    let mut lines = vec![sentences.title.clone()];
    lines.extend(input.study.synthetic.then(|| sentences.synthetic.clone()));
    lines.extend(assessment.abstention.as_ref().map(|code| wording.abstention(code)));
    if let Some(ef) = &assessment.ef {
        let percent = ef.percent.to_string();
        lines.push(fill(&sentences.ef, "{ef}", &Bilingual::new(percent.as_str(), percent.as_str())));
    }
    lines.extend(doubts(wording, input, assessment));
    if let Some(findings) = &assessment.findings {
        let names: Vec<Bilingual> =
            findings.iter().filter_map(|finding| wording.finding(&finding.code)).cloned().collect();
        lines.push(if names.is_empty() {
            sentences.no_findings.clone()
        } else {
            fill(&sentences.findings, "{findings}", &list(wording, &names))
        });
    }
    lines.push(verdict(wording, input.verdict, &input.cautions));
    lines.push(sentences.last_line.clone());
    joined(&lines)
}

/// What stands in place of a text that may not leave: fixed sentences, nothing of the study.
pub(crate) fn silenced(wording: &Wording, synthetic: bool) -> Bilingual {
    let sentences = &wording.sentences;
    let mut lines = vec![sentences.title.clone()];
    lines.extend(synthetic.then(|| sentences.synthetic.clone()));
    lines.push(wording.abstention(&const { ReasonCode::known("LANGUAGE_POLICY") }));
    lines.push(sentences.last_line.clone());
    joined(&lines)
}

/// Whether a text keeps the rules: the last line stands, nothing listed is asserted before it, and the only number is
/// the field's.
pub(crate) fn may_leave(
    policy: &LanguagePolicy,
    wording: &Wording,
    text: &Bilingual,
    ef: Option<&EfEstimate>,
) -> bool {
    let last_line = &wording.sentences.last_line;
    let keeps = |text: &str, last_line: &str| {
        text.strip_suffix(last_line).is_some_and(|body| {
            let agrees = |number: &&str| ef.is_some_and(|ef| number.parse() == Ok(ef.percent));
            let numbers = numbers(body);
            let stated = usize::from(ef.is_some());
            policy.violations(body).is_empty() && numbers.len() == stated && numbers.iter().all(agrees)
        })
    };
    keeps(&text.en, &last_line.en) && keeps(&text.zh, &last_line.zh)
}

/// One sentence for each doubt that belongs beside the answer; an abstention says why by itself.
fn doubts(wording: &Wording, input: &FindingsInferred, assessment: &Assessment) -> Vec<Bilingual> {
    if assessment.findings.is_none() {
        return Vec::new();
    }
    let doubts = &wording.sentences.doubts;
    let sentence = |tag: &Tag| match tag {
        Tag::Uncalibrated => Some(doubts.uncalibrated.clone()),
        Tag::EfDisagree => Some(doubts.ef_disagree.clone()),
        Tag::ViewConflict => Some(doubts.view_conflict.clone()),
        Tag::PhaseUnreliable => Some(doubts.phase_unreliable.clone()),
        // Said in the lines about the study and the gate.
        Tag::Synthetic | Tag::QualityCaution | Tag::LanguagePolicy => None,
    };
    let mut sentences: Vec<Bilingual> = assessment.tags.iter().filter_map(sentence).collect();
    sentences.extend(input.model.synthetic_only.then(|| doubts.demo_model.clone()));
    sentences
}

fn verdict(wording: &Wording, verdict: Verdict, cautions: &[ReasonCode]) -> Bilingual {
    let sentences = &wording.sentences;
    let mut names: Vec<Bilingual> = cautions.iter().map(|code| wording.caution(code)).collect();
    match verdict {
        Verdict::Accept if names.is_empty() => sentences.verdict_accept.clone(),
        Verdict::Accept | Verdict::Caution => {
            if names.is_empty() {
                names.push(sentences.caution_unnamed.clone());
            }
            fill(&sentences.verdict_caution, "{cautions}", &list(wording, &names))
        }
        Verdict::Reject => sentences.verdict_reject.clone(),
    }
}

fn list(wording: &Wording, names: &[Bilingual]) -> Bilingual {
    let separator = &wording.sentences.separator;
    let (en, zh): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (name.en.as_str(), name.zh.as_str())).unzip();
    Bilingual::new(en.join(&separator.en), zh.join(&separator.zh))
}

fn joined(lines: &[Bilingual]) -> Bilingual {
    let (en, zh): (Vec<&str>, Vec<&str>) =
        lines.iter().map(|line| (line.en.as_str(), line.zh.as_str())).unzip();
    Bilingual::new(en.join("\n"), zh.join("\n"))
}

/// The numbers of a text: digits with a decimal part, not those inside a word such as `A4C`.
fn numbers(text: &str) -> Vec<&str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')))
        .map(|word| word.trim_end_matches(['.', '-']))
        .filter(|word| word.bytes().any(|byte| byte.is_ascii_digit()))
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'_'))
        .collect()
}
