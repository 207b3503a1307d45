//! The calibration set: a file that says which interval belongs to which model, and how that is known.
//!
//! ```text
//!   { "format": …, "sha256": of the set in compact form, "set": { id, model, fingerprint, alpha, groups, … } }
//! ```
//! Invariants:
//! - A set that was read is whole and consistent: every number finite, a bound for all studies, no group of its own bound
//!   below [`LEAST_STUDIES`].
//! - It serves the model and fingerprint it was made with and no other, and studies of its own kind only: one made of
//!   phantoms never stands behind a number of a patient. An adapter is part of both digests.

use jiff::Timestamp;
use schemars::JsonSchema;
use schemas::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    conformal::{Alpha, Prediction, Score, reported_interval},
    drift::Reference,
    groups::{ALL, Key, Traits, labels},
};

/// Studies from which a group gets a bound of its own. Of 100, the true coverage of 90 % intervals lies between 84 and
/// 95 %.
pub const LEAST_STUDIES: usize = 100;
/// Values of a feature kept for the drift monitors, at most.
pub const MOST_REFERENCES: usize = 1_000;
/// Bytes of a file at most.
pub const LONGEST_FILE: usize = 4 << 20;
/// Groups of a set at most.
const MOST_GROUPS: usize = 10_000;
/// Format and version of the file.
const FORMAT: &str = "prescreen calibration set 1";

/// Studies of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they have in common, for example `all` or `quality=good,view=A4C`.
    pub label: String,
    /// How many of the set.
    pub studies: u32,
    /// The bound on their scores; absent where they are too few, and the parent group's holds.
    pub bound: Option<f64>,
    /// Share of their intervals that hold the truth, by cross-validation.
    pub coverage: f64,
    /// Mean width of these intervals in points.
    pub mean_width: f64,
}

/// How the intervals fared on studies that had no part in them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossValidation {
    /// Parts of the set, each judged by the others.
    pub folds: u32,
    /// Share of intervals that hold the truth.
    pub coverage: f64,
    /// Mean width in points.
    pub mean_width: f64,
}

/// Mean absolute errors in points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Of the model.
    pub model: f64,
    /// Of always saying the mean of the other studies.
    pub mean_predictor: f64,
}

/// What a set says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Name and version: 1 to 64 of a-z, 0-9, '.', '-', '_'.
    #[schemars(extend("pattern" = "^[a-z0-9._-]{1,64}$"))]
    pub id: String,
    /// When it was made (RFC 3339, UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub made_at: Timestamp,
    /// SHA-256 of the model it belongs to, adapter included.
    pub model: Digest,
    /// The inference fingerprint it belongs to.
    pub fingerprint: Digest,
    /// Made of phantoms: it serves no patient.
    pub synthetic: bool,
    /// In what terms bounds are given.
    pub score: Score,
    /// The share of intervals that may miss.
    pub alpha: Alpha,
    /// How many studies.
    pub studies: u32,
    /// What tells groups apart, the key that is dropped first at the front.
    pub group_by: Vec<Key>,
    /// Every kind of study met, `all` first.
    pub groups: Vec<Group>,
    /// How its intervals fared.
    pub cross_validation: CrossValidation,
    /// The model beside a constant.
    pub errors: Errors,
    /// Temperature that brings the model's stated spread to its errors; 1 where it states none.
    pub temperature: f64,
    /// What its studies looked like, for the drift monitors.
    pub reference: Reference,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `prescreen calibration set 1`.
    #[schemars(extend("const" = "prescreen calibration set 1"))]
    pub format: String,
    /// SHA-256 of the set as compact JSON with keys in the order of the type.
    pub sha256: Digest,
    /// The set.
    pub set: Contents,
}

/// Why a file is no calibration set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Longer than any set.
    #[error("has {bytes} bytes; a calibration set has at most {LONGEST_FILE}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON of a set.
    #[error("is not the JSON of a calibration set: {reason}")]
    Malformed {
        /// What the reader met, with line and column.
        reason: String,
    },
    /// Of another format.
    #[error("has format {found:?}; this build reads {FORMAT:?}")]
    Format {
        /// The format named.
        found: String,
    },
    /// Changed after it was written.
    #[error(
        "is damaged or was edited by hand: its contents have SHA-256 {found}, it names {named}; write it again"
    )]
    Damaged {
        /// Of the contents.
        found: Digest,
        /// As the file says.
        named: Digest,
    },
    /// Contradicts itself.
    #[error("contradicts itself: {what}")]
    Inconsistent {
        /// In what.
        what: &'static str,
    },
}

/// Which study wants an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// SHA-256 of the model that answered.
    pub model: Digest,
    /// The inference fingerprint of the answer.
    pub fingerprint: Digest,
    /// Whether the study is a phantom.
    pub synthetic: bool,
}

/// Why a set stands behind no number of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Made of phantoms, and the study is a patient's.
    #[error("the calibration set was made of phantoms and the study is a patient's")]
    MadeOfPhantoms,
    /// Made of patients, and the study is a phantom.
    #[error("the calibration set was made of patients and the study is a phantom")]
    MadeOfPatients,
    /// Made with another model or adapter.
    #[error("the calibration set belongs to model {set}, the answer comes from {found}; calibrate again")]
    OtherModel {
        /// The set's model.
        set: Digest,
        /// The model that answered.
        found: Digest,
    },
    /// Made with another prompt, decoder, number format or code.
    #[error("the calibration set belongs to inference {set}, the answer comes from {found}; calibrate again")]
    OtherFingerprint {
        /// The set's fingerprint.
        set: Digest,
        /// The answer's.
        found: Digest,
    },
}

/// An interval and the group whose bound made it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval<'a> {
    /// Lower and upper end in percent, as reports give them.
    pub bounds: [f64; 2],
    /// Whose bound.
    pub group: &'a Group,
}

impl Interval<'_> {
    /// Its width in points.
    pub fn width(&self) -> f64 {
        self.bounds[1] - self.bounds[0]
    }
}

/// A calibration set, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationSet {
    contents: Contents,
    digest: Digest,
}

impl CalibrationSet {
    /// Checks `contents` and gives the set with the digest its file will have.
    pub fn new(contents: Contents) -> Result<Self, SetError> {
        check(&contents)?;
        let digest = Digest::of(text_of(&contents).as_bytes());
        Ok(Self { contents, digest })
    }

    /// Reads a file's text.
    pub fn read(text: &str) -> Result<Self, SetError> {
        if text.len() > LONGEST_FILE {
            return Err(SetError::TooLong { bytes: text.len() });
        }
        let File { format, sha256, set } =
            serde_json::from_str(text).map_err(|error| SetError::Malformed { reason: error.to_string() })?;
        if format != FORMAT {
            return Err(SetError::Format { found: format.chars().take(80).collect() });
        }
        let found = digest_of(&set);
        if found != sha256 {
            return Err(SetError::Damaged { found, named: sha256 });
        }
        check(&set)?;
        Ok(Self { contents: set, digest: Digest::of(text.as_bytes()) })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        text_of(&self.contents)
    }

    /// What it says.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether it may stand behind a number of the study `asked`.
    pub fn serves(&self, asked: &Asked) -> Result<(), Refusal> {
        let set = &self.contents;
        match (set.synthetic, asked.synthetic) {
            (true, false) => return Err(Refusal::MadeOfPhantoms),
            (false, true) => return Err(Refusal::MadeOfPatients),
            _ => {}
        }
        if set.model != asked.model {
            return Err(Refusal::OtherModel { set: set.model, found: asked.model });
        }
        if set.fingerprint != asked.fingerprint {
            return Err(Refusal::OtherFingerprint { set: set.fingerprint, found: asked.fingerprint });
        }
        Ok(())
    }

    /// The interval around `prediction` for a study with `traits`. Whether it may be given, [`Self::serves`] says.
    pub fn interval(&self, prediction: &Prediction, traits: &Traits) -> Interval<'_> {
        let set = &self.contents;
        let (group, bound) = bound_of(&set.groups, &set.group_by, traits);
        let bounds = reported_interval(set.score.interval(prediction, bound), prediction.reported());
        Interval { bounds, group }
    }
}

/// The group with a bound that `traits` lead to. The groups are checked: the first one has a bound and holds every study.
fn bound_of<'a>(groups: &'a [Group], keys: &[Key], traits: &Traits) -> (&'a Group, f64) {
    let labels = labels(keys, traits);
    let found = labels.iter().find_map(|label| {
        let group = groups.iter().find(|group| group.label == *label)?;
        Some((group, group.bound?))
    });
    #[expect(clippy::expect_used, reason = "every set has a bound for all studies: `check` saw to it")]
    found.expect("a bound for all studies")
}

fn text_of(contents: &Contents) -> String {
    let file = File { format: FORMAT.to_owned(), sha256: digest_of(contents), set: contents.clone() };
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let mut text = serde_json::to_string_pretty(&file).expect("a set serialises");
    text.push('\n');
    text
}

fn digest_of(contents: &Contents) -> Digest {
    #[expect(clippy::expect_used, reason = "plain structs with string keys: serialisation cannot fail")]
    let compact = serde_json::to_vec(contents).expect("a set serialises");
    Digest::of(&compact)
}

fn check(set: &Contents) -> Result<(), SetError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let share = |value: f64| (0.0..=1.0).contains(&value);
    let positive = |value: f64| value.is_finite() && value >= 0.0;
    let mut keys = set.group_by.clone();
    keys.sort();
    keys.dedup();
    let mut names: Vec<&str> = set.groups.iter().map(|group| group.label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let first = set.groups.first();
    let group_is_sound = |group: &Group| {
        share(group.coverage)
            && positive(group.mean_width)
            && (1..=set.studies).contains(&group.studies)
            && group.bound.is_none_or(|bound| bound.is_finite() && group.studies as usize >= LEAST_STUDIES)
    };
    let sample_is_sound = |sample: &Vec<f64>| {
        !sample.is_empty()
            && sample.len() <= MOST_REFERENCES
            && sample.iter().all(|value| value.is_finite())
            && sample.is_sorted()
    };
    let rules: [(bool, &'static str); 9] = [
        (
            (1..=64).contains(&set.id.len()) && set.id.bytes().all(allowed),
            "its id is not 1 to 64 of a-z, 0-9, '.', '-', '_'",
        ),
        (keys.len() == set.group_by.len(), "a key of groups stands twice"),
        (
            set.groups.len() <= MOST_GROUPS && names.len() == set.groups.len(),
            "a group stands twice, or too many do",
        ),
        (
            first.is_some_and(|all| all.label == ALL && all.studies == set.studies && all.bound.is_some()),
            "its first group is not `all` with every study and a bound",
        ),
        (
            set.groups.iter().all(group_is_sound),
            "a group has impossible numbers, or a bound of too few studies",
        ),
        (
            share(set.cross_validation.coverage)
                && positive(set.cross_validation.mean_width)
                && set.cross_validation.folds >= 2,
            "its cross-validation has impossible numbers",
        ),
        (
            positive(set.errors.model) && positive(set.errors.mean_predictor),
            "its errors have impossible numbers",
        ),
        (set.temperature.is_finite() && set.temperature > 0.0, "its temperature is not above 0"),
        (
            set.reference.values().all(sample_is_sound),
            "a reference sample is empty, too long, unsorted or not finite",
        ),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(SetError::Inconsistent { what }),
        None => Ok(()),
    }
}
