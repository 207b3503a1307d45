//! The report as JUnit XML: one test case for each measure, so that any build server shows what changed.
//!
//! A regression is a `failure`; what is left open is an `error`, because a build must not go green on it; what is not
//! judged is `skipped`.

use super::{FOR_REFERENCE_ONLY, Report, words};
use crate::verdict::{Measure, Outcome, Verdict};

/// The XML, UTF-8.
pub fn to_junit(report: &Report) -> String {
    let of = |wanted: Case| report.measures.iter().filter(|measure| case(measure.outcome) == wanted).count();
    let whole = match report.verdict {
        Verdict::Pass => Case::Passed,
        Verdict::Regression => Case::Failed,
        Verdict::Inconclusive => Case::Open,
    };
    let also = |wanted: Case| of(wanted) + usize::from(whole == wanted);
    let suite = format!(
        "<testsuites>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
        escape(&format!("replay {}", report.run)),
        report.measures.len() + 1,
        also(Case::Failed),
        also(Case::Open),
        of(Case::Skipped),
    );
    let properties = format!(
        "<properties>\n<property name=\"verdict\" value=\"{}\"/>\n<property name=\"notice\" value=\"{}\"/>\n</properties>\n",
        report.verdict.as_str(),
        escape(FOR_REFERENCE_ONLY),
    );
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{suite}{properties}");
    let reasons: Vec<String> = report.reasons.iter().map(|reason| words::reason(report, reason).en).collect();
    xml += &test_case(
        "replay",
        "verdict",
        whole,
        words::meaning(report.verdict).en.as_str(),
        &reasons.join("\n"),
    );
    for measure in &report.measures {
        let class = format!("replay.{}", measure.what.subject);
        let message = words::outcome(measure.outcome).en;
        xml += &test_case(
            &class,
            &measure.what.property.name(),
            case(measure.outcome),
            &message,
            &detail(measure),
        );
    }
    xml + "</testsuite>\n</testsuites>\n"
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Passed,
    Failed,
    Open,
    Skipped,
}

fn case(outcome: Outcome) -> Case {
    match outcome {
        Outcome::Regressed => Case::Failed,
        Outcome::Noisy | Outcome::Unclear | Outcome::TooFew => Case::Open,
        Outcome::Improved | Outcome::Within => Case::Passed,
        Outcome::Shown | Outcome::Empty => Case::Skipped,
    }
}

fn detail(measure: &Measure) -> String {
    let needed =
        measure.pairs_needed.map_or_else(String::new, |pairs| format!("; needs about {pairs} pairs"));
    let margin = words::margin(measure.margin).en;
    format!("{}; margin {margin}; {} pairs{needed}", words::numbers(measure).en, measure.pairs)
}

fn test_case(class: &str, name: &str, case: Case, message: &str, detail: &str) -> String {
    let (class, name, message, detail) = (escape(class), escape(name), escape(message), escape(detail));
    let head = format!("<testcase classname=\"{class}\" name=\"{name}\"");
    match case {
        Case::Passed => format!("{head}><system-out>{detail}</system-out></testcase>\n"),
        Case::Failed => {
            format!(
                "{head}><failure type=\"regression\" message=\"{message}\">{detail}</failure></testcase>\n"
            )
        }
        Case::Open => {
            format!("{head}><error type=\"inconclusive\" message=\"{message}\">{detail}</error></testcase>\n")
        }
        Case::Skipped => format!("{head}><skipped message=\"{message}\"/></testcase>\n"),
    }
}

/// For text and attributes; characters that XML 1.0 forbids (2.2) become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(character),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}
