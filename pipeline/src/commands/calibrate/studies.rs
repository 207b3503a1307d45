//! Studies with a confirmed ejection fraction: where they come from, and which of them a set is made of.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use calibration::{Case, Key};
use console::site::ConfirmedStudy;
use schemas::{Digest, FindingsInferred};

use crate::{api_client::ApiClient, cli::Options, exit::Failure};

/// Bytes of one line at most: findings of an exam of many clips.
const LONGEST_LINE: u64 = 8 << 20;

/// Why a file's studies cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StudiesError {
    /// The file itself.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that is no study.
    #[error("{path} line {line} is no study with findings and truth_ef: {reason}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the reader met.
        reason: String,
    },
    /// No study at all.
    #[error("there are no studies with a confirmed ejection fraction")]
    Nothing,
    /// Answers of several models, inferences or kinds of study.
    #[error(
        "the studies come from {count} sources (model, inference fingerprint, synthetic or not); a set belongs to one: {sources}"
    )]
    Mixed {
        /// How many.
        count: usize,
        /// Each with its number of studies.
        sources: String,
    },
    /// A truth that cannot be.
    #[error("study {study} has the truth {truth} percent; expected 0 to 100")]
    Truth {
        /// Study Instance UID.
        study: String,
        /// The value found.
        truth: f64,
    },
    /// A vendor that cannot stand in a group's label.
    #[error("study {study} has a vendor that cannot name a group")]
    Vendor {
        /// Study Instance UID.
        study: String,
        /// Why.
        source: calibration::groups::TraitError,
    },
}

/// Studies of a file of JSON lines.
pub(super) fn of_file(path: &Path) -> Result<Vec<ConfirmedStudy>, Failure> {
    let unreadable = |source| StudiesError::File { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable).map_err(Failure::usage)?);
    let mut studies = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |reason: String| {
            Failure::usage(StudiesError::Line { path: path.to_owned(), line: number, reason })
        };
        if read as u64 == LONGEST_LINE {
            return Err(wrong(format!("longer than {LONGEST_LINE} bytes")));
        }
        studies.push(serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(studies)
}

/// Studies that physicians have decided on, by the running system's API.
pub(super) fn reviewed(options: &Options, data_dir: &Path) -> Result<Vec<ConfirmedStudy>, Failure> {
    Ok(ApiClient::connect(options, data_dir)?.confirmed_studies()?)
}

/// Where answers come from: a set belongs to one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) model: Digest,
    pub(crate) fingerprint: Digest,
    pub(crate) synthetic: bool,
}

impl Source {
    fn of(findings: &FindingsInferred) -> Self {
        Self {
            model: findings.model.digest,
            fingerprint: findings.fingerprint,
            synthetic: findings.study.synthetic,
        }
    }
}

/// Studies that a set can be made of: those of which a report gives a number.
#[derive(Debug)]
pub(crate) struct Eligible {
    pub(crate) source: Source,
    pub(crate) cases: Vec<Case>,
    /// What is measured beside the number, in the order of the cases.
    pub(crate) doubts: Vec<Doubts>,
    /// Studies without a number, by the code that says why.
    declined: BTreeMap<String, usize>,
    /// Truths that were given before the model's number was seen.
    pub(crate) blinded: usize,
}

/// Signals that might rank errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Doubts {
    /// Standard deviation within askings, in points.
    pub(crate) token_spread: Option<f64>,
    /// Standard deviation between askings, in points.
    pub(crate) between_beats: Option<f64>,
    /// Points between model and contours.
    pub(crate) geometric_gap: Option<f64>,
    /// Semantic entropy of the bands.
    pub(crate) semantic_entropy: Option<f64>,
    /// Warnings of the gate.
    pub(crate) gate_warnings: f64,
    /// Mean negative log-probability of the answers' tokens.
    pub(crate) token_surprise: Option<f64>,
}

impl Doubts {
    fn of(findings: &FindingsInferred, case: &Case) -> Self {
        let evidence = findings.evidence.as_ref();
        let ef = evidence.and_then(|evidence| evidence.ef.as_ref());
        Self {
            token_spread: ef.map(|ef| ef.variance_within.sqrt()),
            between_beats: ef.filter(|ef| ef.samples.len() > 1).map(|ef| ef.variance_between.sqrt()),
            geometric_gap: case.geometric.map(|geometry| (case.prediction.estimate - geometry).abs()),
            semantic_entropy: evidence.map(|evidence| evidence.semantic_entropy),
            gate_warnings: findings.cautions.len() as f64,
            token_surprise: evidence.and_then(|evidence| evidence.token_log_probability).map(|log| -log),
        }
    }
}

impl Eligible {
    /// Studies without a number, in words.
    pub(crate) fn left_out(&self) -> String {
        let counts: Vec<String> =
            self.declined.iter().map(|(code, count)| format!("{code} {count}")).collect();
        counts.join(", ")
    }
}

/// Judges `confirmed` as reports are judged under `config`. Of several revisions of a study the latest counts.
pub(crate) fn eligible(
    confirmed: &[ConfirmedStudy],
    config: &reporting::Config,
) -> Result<Eligible, StudiesError> {
    let mut latest: BTreeMap<&str, u32> = BTreeMap::new();
    for study in confirmed {
        let head = &study.findings.study;
        let revision = latest.entry(head.study_uid.as_str()).or_default();
        *revision = head.revision.0.max(*revision);
    }
    let mut sources: BTreeMap<Source, usize> = BTreeMap::new();
    let (mut cases, mut doubts, mut declined, mut blinded) = (Vec::new(), Vec::new(), BTreeMap::new(), 0);
    for ConfirmedStudy { findings, truth_ef, vendor, subject, blinded: unseen } in confirmed {
        let uid = findings.study.study_uid.as_str();
        // Taken out once counted, so that a study that stands twice counts once.
        if latest.get(uid) != Some(&findings.study.revision.0) {
            continue;
        }
        latest.remove(uid);
        *sources.entry(Source::of(findings)).or_default() += 1;
        if !(0.0..=100.0).contains(truth_ef) {
            return Err(StudiesError::Truth { study: uid.to_owned(), truth: *truth_ef });
        }
        let number = match reporting::number(findings, config) {
            Ok(Some(number)) => number,
            Ok(None) => {
                *declined.entry("NO_NUMBER".to_owned()).or_default() += 1;
                continue;
            }
            Err(code) => {
                *declined.entry(code.to_string()).or_default() += 1;
                continue;
            }
        };
        let traits = match vendor {
            None => number.traits,
            Some(vendor) => number
                .traits
                .with(Key::Vendor, vendor)
                .map_err(|source| StudiesError::Vendor { study: uid.to_owned(), source })?,
        };
        let case = Case {
            unit: subject.clone().unwrap_or_else(|| uid.to_owned()),
            prediction: number.prediction,
            truth: *truth_ef,
            traits,
            geometric: number.geometric_percent,
        };
        doubts.push(Doubts::of(findings, &case));
        cases.push(case);
        blinded += usize::from(*unseen);
    }
    let mut origins = sources.iter();
    let Some((source, _)) = origins.next() else { return Err(StudiesError::Nothing) };
    if origins.next().is_some() {
        let named = |(source, count): (&Source, &usize)| {
            let kind = if source.synthetic { "phantoms" } else { "patients" };
            format!(
                "{count} {kind} by {:.8} / {:.8}",
                source.model.to_string(),
                source.fingerprint.to_string()
            )
        };
        let named: Vec<String> = sources.iter().map(named).collect();
        return Err(StudiesError::Mixed { count: sources.len(), sources: named.join(", ") });
    }
    Ok(Eligible { source: *source, cases, doubts, declined, blinded })
}
