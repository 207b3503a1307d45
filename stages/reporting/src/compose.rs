//! The text of a report: what is known put on a page, rendered in both languages, and the last look before it leaves.
//!
//! ```text
//!   content ─▶ page ─▶ template ─▶ body ─▶ guard ──────────────▶ + references ─▶ + last line ─▶ text
//!                                            │ a listed term that cannot be reworded,
//!                                            │ or a number that is not in its field
//!                                            ▼
//!                                          withheld: a fixed text, tag LANGUAGE_POLICY
//! ```

use std::{collections::BTreeSet, sync::LazyLock};

use schemas::{
    Bilingual, CalibrationUsed, Certainty, Domain, EfEstimate, Finding, ReasonCode, Reference, Rejection,
    StudyHead, Tag, Verdict,
};
use stage::ConfigError;

use crate::{
    LanguagePolicy, Material, Softened,
    fingerprint::Texts,
    numbers::{self, quoted, shown},
    references::{CorpusError, Library},
    templates::{
        AbstentionOnPage, CalibrationOnPage, EfOnPage, IntervalOnPage, Kind, Language, Page, ReasonOnPage,
        TemplateError, Templates,
    },
    words::{DOUBTS, Words},
};

/// Ends every text. Fixed here and in no template, so that no edit can lose it (science study §6.5).
pub const LAST_LINE: [&str; 2] = [
    "AI-assisted pre-screening result, for reference only; it requires review and confirmation by a licensed physician before use.",
    "本结果由人工智能辅助生成,仅供参考,须经执业医师复核确认后方可生效。",
];

const WORDS: &str = include_str!("../../../config/reports/words.json");
const WORDS_FILE: &str = "words.json";

/// Read and tried once in a process: it never changes, and a stage is built anew for each worker.
static BUILT_IN: LazyLock<ReportWriter> = LazyLock::new(|| {
    let material = &Material::BuiltIn;
    #[expect(
        clippy::expect_used,
        reason = "the files are part of this build; every test of the crate reads them"
    )]
    ReportWriter::read(Materials { language: material, reports: material, references: material })
        .expect("built-in texts are usable")
});

/// What a report says, before it has words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) study: &'a StudyHead,
    pub(crate) verdict: Verdict,
    pub(crate) cautions: &'a [ReasonCode],
    pub(crate) certainty: Certainty,
    pub(crate) tags: &'a BTreeSet<Tag>,
    pub(crate) abstention: Option<&'a ReasonCode>,
    pub(crate) ef: Option<&'a EfEstimate>,
    pub(crate) calibration: Option<&'a CalibrationUsed>,
    /// Features that may be named; none where the answer as a whole is not believed.
    pub(crate) features: Option<&'a [Finding]>,
    /// The model was trained on phantoms only.
    pub(crate) demo_model: bool,
}

/// A text that kept the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Composed {
    pub(crate) text: Bilingual,
    /// A wording rule was broken at first.
    pub(crate) reworded: bool,
}

/// The files that decide what reports say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Materials<'a> {
    pub(crate) language: &'a Material,
    pub(crate) reports: &'a Material,
    pub(crate) references: &'a Material,
}

/// Writes the texts of reports and of rejections.
#[derive(Debug, Clone)]
pub struct ReportWriter {
    words: Words,
    words_digest: schemas::Digest,
    templates: Templates,
    policy: LanguagePolicy,
    library: Library,
}

impl ReportWriter {
    /// With the words, templates, lists and passages that this build carries.
    pub fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// Reads the files and tries every kind of text with them.
    pub(crate) fn load(materials: Materials<'_>) -> Result<Self, ConfigError> {
        let Materials { language, reports, references } = materials;
        if [language, reports, references].iter().all(|material| **material == Material::BuiltIn) {
            return Ok(Self::built_in());
        }
        Self::read(materials)
    }

    fn read(materials: Materials<'_>) -> Result<Self, ConfigError> {
        let refuse = |key, material: &Material, cause: &dyn std::error::Error| ConfigError {
            key,
            value: material.name(),
            expected: reasons(cause),
        };
        let lists = materials
            .language
            .text("", crate::language::EMBEDDED)
            .map_err(|cause| refuse("language", materials.language, &cause))?;
        let policy =
            LanguagePolicy::parse(&lists).map_err(|cause| refuse("language", materials.language, &cause))?;
        let words_text = materials
            .reports
            .text(WORDS_FILE, WORDS)
            .map_err(|cause| refuse("reports", materials.reports, &cause))?;
        let words: Words = serde_json::from_str(&words_text)
            .map_err(|cause| refuse("reports", materials.reports, &cause))?;
        if let Some(missing) = words.missing() {
            let expected = format!("words.json to name {missing}");
            return Err(ConfigError { key: "reports", value: materials.reports.name(), expected });
        }
        let templates = Templates::load(materials.reports)
            .map_err(|cause: TemplateError| refuse("reports", materials.reports, &cause))?;
        let library = Library::load(materials.references, &policy)
            .map_err(|cause: CorpusError| refuse("references", materials.references, &cause))?;
        let words_digest = schemas::Digest::of(words_text.as_bytes());
        let writer = Self { words, words_digest, templates, policy, library };
        writer.try_samples().map_err(|problem| ConfigError {
            key: "reports",
            value: materials.reports.name(),
            expected: problem,
        })?;
        Ok(writer)
    }

    /// The word lists.
    pub fn policy(&self) -> &LanguagePolicy {
        &self.policy
    }

    /// What it writes with, for the run fingerprint.
    pub(crate) fn texts(&self) -> Texts {
        Texts {
            codes: crate::codes::digest(),
            references: self.library.digest(),
            templates: self.templates.digest,
            words: self.words_digest,
        }
    }

    /// Whether a feature has a name.
    pub(crate) fn knows(&self, feature: &ReasonCode) -> bool {
        self.words.feature(feature).is_some()
    }

    /// The report, or nothing where it may not leave.
    pub(crate) fn report(&self, content: &Content<'_>, references: &[Reference]) -> Option<Composed> {
        let kind = match content.verdict {
            _ if content.abstention.is_some() => Kind::Abstain,
            Verdict::Accept if content.cautions.is_empty() => Kind::Accept,
            Verdict::Accept | Verdict::Caution | Verdict::Reject => Kind::Caution,
        };
        let body = |language| {
            let body = self.templates.render(kind, language, &self.page(content, language)).ok()?;
            let (body, reworded) = self.guarded(&body)?;
            numbers::agree(&body, content.ef, content.calibration).then_some((body, reworded))
        };
        let ((en, reworded_en), (zh, reworded_zh)) = (body(Language::En)?, body(Language::Zh)?);
        let text = Bilingual::new(
            self.closed(en, Language::En, references),
            self.closed(zh, Language::Zh, references),
        );
        Some(Composed { text, reworded: reworded_en || reworded_zh })
    }

    /// What stands in place of a text that may not leave: fixed sentences, nothing of the study.
    pub(crate) fn withheld(&self, study: &StudyHead) -> Bilingual {
        self.fixed(&page_of(study.domain, study.synthetic))
    }

    fn fixed(&self, page: &Page) -> Bilingual {
        let text = |language| {
            // Tried when the templates were read; should it fail all the same, the last line alone is safe.
            let body = self.templates.render(Kind::Withheld, language, page).unwrap_or_default();
            self.closed(body, language, &[])
        };
        Bilingual::new(text(Language::En), text(Language::Zh))
    }

    /// The text of a rejection: why the study is not fit to be read and what to acquire again.
    pub fn rejected(&self, domain: Domain, synthetic: bool, rejection: &Rejection) -> Bilingual {
        let page = page_of(domain, synthetic);
        self.rejection(&page, rejection).unwrap_or_else(|| self.fixed(&page))
    }

    fn rejection(&self, page: &Page, rejection: &Rejection) -> Option<Bilingual> {
        let text = |language| {
            let mut reasons: Vec<ReasonOnPage> = Vec::new();
            for reason in &rejection.reasons {
                let name = in_language(self.words.caution(&reason.code), language);
                let reason = ReasonOnPage { name, advice: in_language(reason.advice.clone(), language) };
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            let advised: Vec<String> = reasons.iter().map(|reason| reason.advice.clone()).collect();
            let page = Page { gate: "reject", reasons, ..page.clone() };
            let (body, _) = self.guarded(&self.templates.render(Kind::Reject, language, &page).ok()?)?;
            // The advice may name a number to reach; the text adds none.
            let known = |number: &&str| advised.iter().any(|advice| numbers::stated(advice).contains(number));
            numbers::stated(&body).iter().all(known).then(|| self.closed(body, language, &[]))
        };
        Some(Bilingual::new(text(Language::En)?, text(Language::Zh)?))
    }

    /// Passages about what the report speaks of. They are looked up by codes, never by anything the model wrote.
    pub(crate) fn references(&self, content: &Content<'_>) -> Vec<Reference> {
        let mut subjects: Vec<Bilingual> = Vec::new();
        let features = content.features.unwrap_or_default();
        subjects.extend(features.iter().filter_map(|finding| self.words.feature(&finding.code)).cloned());
        if let Some(code) = content.abstention {
            subjects.push(self.words.why(code));
        }
        subjects.extend(content.tags.iter().filter_map(|tag| self.words.doubt(*tag)).cloned());
        subjects.extend(content.cautions.iter().map(|code| self.words.caution(code)));
        self.library.references(&subjects)
    }

    fn page(&self, content: &Content<'_>, language: Language) -> Page {
        let one = |words: Bilingual| in_language(words, language);
        let features = content.features.map(|features| {
            let names = features.iter().filter_map(|finding| self.words.feature(&finding.code));
            names.cloned().map(one).collect()
        });
        let believed = content.features.is_some();
        let doubts = DOUBTS.iter().filter(|tag| believed && content.tags.contains(tag));
        let doubts = doubts.filter_map(|tag| self.words.doubt(*tag));
        let demo_model = self.words.demo_model().filter(|_| believed && content.demo_model);
        Page {
            certainty: one(self.words.certainty(content.certainty)),
            ef: content.ef.map(|ef| EfOnPage {
                percent: shown(ef.percent),
                interval: ef.interval.map(|[low, high]| IntervalOnPage {
                    low: shown(low),
                    high: shown(high),
                    coverage: numbers::coverage(content.calibration),
                }),
                geometric: ef.geometric_percent.map(shown),
            }),
            calibration: content.calibration.filter(|_| content.ef.is_some()).map(|set| CalibrationOnPage {
                id: quoted(&set.id),
                group: quoted(&set.group),
                studies: set.studies.to_string(),
                synthetic: set.synthetic,
            }),
            features,
            doubts: doubts.chain(demo_model).cloned().map(one).collect(),
            abstention: content.abstention.map(|code| AbstentionOnPage {
                why: one(self.words.why(code)),
                acquire: self.words.acquire(code, content.study.domain).cloned().map(one).unwrap_or_default(),
            }),
            gate: match content.verdict {
                Verdict::Accept => "accept",
                Verdict::Caution => "caution",
                Verdict::Reject => "reject",
            },
            cautions: content.cautions.iter().map(|code| one(self.words.caution(code))).collect(),
            ..page_of(content.study.domain, content.study.synthetic)
        }
    }

    /// The body with every line as the wording rules want it, and whether one had to be reworded.
    fn guarded(&self, body: &str) -> Option<(String, bool)> {
        let mut reworded = false;
        let mut lines = Vec::new();
        for line in body.lines() {
            match self.policy.soften(line) {
                Softened::AsItIs => lines.push(line.to_owned()),
                Softened::Reworded(line) => {
                    reworded = true;
                    lines.push(line);
                }
                Softened::Withheld(_) => return None,
            }
        }
        let body = lines.join("\n");
        self.policy.violations(&body).is_empty().then_some((body, reworded))
    }

    /// With its references and the last line.
    fn closed(&self, body: String, language: Language, references: &[Reference]) -> String {
        let mut lines = vec![body];
        if !references.is_empty() {
            lines.push(in_language(self.words.references.clone(), language));
        }
        for reference in references {
            let source = in_language(reference.source.clone(), language);
            lines.push(format!("[{}] {source}", reference.number));
        }
        let [en, zh] = LAST_LINE;
        lines.push(match language {
            Language::En => en.to_owned(),
            Language::Zh => zh.to_owned(),
        });
        lines.join("\n")
    }

    /// Every kind of text with every word once; the first problem, in words for the operator.
    fn try_samples(&self) -> Result<(), String> {
        crate::samples::each(&self.words, |sample| {
            for language in [Language::En, Language::Zh] {
                let page = match &sample.content {
                    Some(content) => self.page(content, language),
                    None => Page {
                        gate: "reject",
                        reasons: sample.reasons(language),
                        ..page_of(sample.study.domain, sample.study.synthetic)
                    },
                };
                let body = self
                    .templates
                    .render(sample.kind, language, &page)
                    .map_err(|error| format!("templates that fill in: {}", reasons(&error)))?;
                if body.is_empty() {
                    return Err(format!("a text of kind {:?}", sample.kind));
                }
                if let Some(violation) = self.policy.violations(&body).first() {
                    return Err(format!(
                        "texts within the wording rules; kind {:?} says {:?}",
                        sample.kind, violation.term
                    ));
                }
                let (ef, calibration) =
                    sample.content.map_or((None, None), |content| (content.ef, content.calibration));
                if !numbers::agree(&body, ef, calibration) {
                    return Err(format!(
                        "the numbers of the fields and no others in the text; kind {:?} differs",
                        sample.kind
                    ));
                }
            }
            Ok(())
        })
    }
}

/// A page about a study and nothing else.
fn page_of(domain: Domain, synthetic: bool) -> Page {
    Page {
        domain: match domain {
            Domain::Echo => "echo",
            Domain::Pathology => "pathology",
            Domain::Unknown => "unknown",
        },
        synthetic,
        certainty: String::new(),
        ef: None,
        calibration: None,
        features: None,
        doubts: Vec::new(),
        abstention: None,
        gate: "accept",
        cautions: Vec::new(),
        reasons: Vec::new(),
    }
}

pub(crate) fn in_language(words: Bilingual, language: Language) -> String {
    match language {
        Language::En => words.en,
        Language::Zh => words.zh,
    }
}

/// An error and its causes on one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
