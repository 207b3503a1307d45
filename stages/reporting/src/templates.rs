//! The templates of the texts: one per kind of report and language, and the parts they share.
//!
//! ```text
//!   <language>/accept, caution, abstain    head, the part of the domain, certainty, doubts, gate
//!   <language>/reject                      head, reasons, what to acquire again
//!   <language>/withheld                    what stands in place of a text that may not leave
//! ```
//!
//! Strict: a variable that a page does not have is an error. A template ends before the references and the last line:
//! those are not a template's to leave out.

use minijinja::{Environment, UndefinedBehavior};
use schemas::Digest;
use serde::Serialize;

use crate::material::{Material, MaterialError};

macro_rules! built_in {
    ($($language:literal: $($name:literal),+;)+) => {
        [$($((
            concat!($language, "/", $name),
            include_str!(concat!("../../../config/reports/", $language, "/", $name, ".j2")),
        )),+),+]
    };
}

/// Name and text of every template this build carries.
const BUILT_IN: [(&str, &str); 20] = built_in! {
    "en": "head", "gate", "echo", "pathology", "unknown", "accept", "caution", "abstain", "reject", "withheld";
    "zh": "head", "gate", "echo", "pathology", "unknown", "accept", "caution", "abstain", "reject", "withheld";
};

/// The two languages of every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    En,
    Zh,
}

/// What kind of report it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The gate accepted it.
    Accept,
    /// The gate accepted it with warnings.
    Caution,
    /// No judgement.
    Abstain,
    /// The study never reached the model.
    Reject,
    /// The text broke a wording rule.
    Withheld,
}

impl Kind {
    fn template(self, language: Language) -> &'static str {
        match (language, self) {
            (Language::En, Self::Accept) => "en/accept",
            (Language::En, Self::Caution) => "en/caution",
            (Language::En, Self::Abstain) => "en/abstain",
            (Language::En, Self::Reject) => "en/reject",
            (Language::En, Self::Withheld) => "en/withheld",
            (Language::Zh, Self::Accept) => "zh/accept",
            (Language::Zh, Self::Caution) => "zh/caution",
            (Language::Zh, Self::Abstain) => "zh/abstain",
            (Language::Zh, Self::Reject) => "zh/reject",
            (Language::Zh, Self::Withheld) => "zh/withheld",
        }
    }
}

/// What a template may speak of, all of it in its language. Numbers come as they are to be shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Page {
    /// `echo`, `pathology` or `unknown`.
    pub(crate) domain: &'static str,
    pub(crate) synthetic: bool,
    pub(crate) certainty: String,
    pub(crate) ef: Option<EfOnPage>,
    pub(crate) calibration: Option<CalibrationOnPage>,
    /// Names; none where the answer as a whole is not believed.
    pub(crate) features: Option<Vec<String>>,
    pub(crate) doubts: Vec<String>,
    pub(crate) abstention: Option<AbstentionOnPage>,
    /// `accept`, `caution` or `reject`.
    pub(crate) gate: &'static str,
    pub(crate) cautions: Vec<String>,
    /// Of a rejection.
    pub(crate) reasons: Vec<ReasonOnPage>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct EfOnPage {
    pub(crate) percent: String,
    pub(crate) interval: Option<IntervalOnPage>,
    pub(crate) geometric: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct IntervalOnPage {
    pub(crate) low: String,
    pub(crate) high: String,
    /// The share of intervals that hold, in percent.
    pub(crate) coverage: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CalibrationOnPage {
    /// In quotation marks, as the group.
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) studies: String,
    pub(crate) synthetic: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct AbstentionOnPage {
    pub(crate) why: String,
    /// Empty where there is nothing to acquire again.
    pub(crate) acquire: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonOnPage {
    pub(crate) name: String,
    pub(crate) advice: String,
}

/// Templates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("template {name} cannot be read")]
    Syntax { name: &'static str, source: minijinja::Error },
}

/// The templates, ready to fill in.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    pub(crate) digest: Digest,
}

impl Templates {
    /// Reads `<language>/<name>.j2` below `material`; every one must be there.
    pub(crate) fn load(material: &Material) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        let mut all = String::new();
        for (name, built_in) in BUILT_IN {
            let text = material.text(&format!("{name}.j2"), built_in)?;
            all.push_str(name);
            all.push('\0');
            all.push_str(&text);
            all.push('\0');
            environment
                .add_template_owned(name, text)
                .map_err(|source| TemplateError::Syntax { name, source })?;
        }
        Ok(Self { environment, digest: Digest::of(all.as_bytes()) })
    }

    /// The text without blank lines, without references and last line.
    pub(crate) fn render(
        &self,
        kind: Kind,
        language: Language,
        page: &Page,
    ) -> Result<String, minijinja::Error> {
        let rendered = self.environment.get_template(kind.template(language))?.render(page)?;
        let lines: Vec<&str> = rendered.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Ok(lines.join("\n"))
    }
}
