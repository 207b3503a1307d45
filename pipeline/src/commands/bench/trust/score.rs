//! What reports on phantoms are worth, beside the phantoms' truth.

use std::collections::BTreeMap;

use calibration::CalibrationSet;
use console::site::ConfirmedStudy;
use jiff::Timestamp;
use reporting::ReportingStage;
use schemas::{Inference, ReportIssued};
use serde::Serialize;
use stage::{
    Ctx, Outcome, Services, Stage as _,
    testing::{MemoryBlobs, MemoryFrames},
};

use super::phantoms::{Group, Read, Way};
use crate::{
    commands::calibrate::{eligible, ranking::Ranking},
    exit::Failure,
    word::word,
};

/// Mean error of numbers on sound apical phantoms in points, at most.
pub(super) const MOST_ERROR: f64 = 2.0;
/// Share of answers with the true view, at least.
pub(super) const LEAST_VIEWS: f64 = 0.95;
/// Share of 90 % intervals that hold the truth.
pub(super) const COVERAGE: [f64; 2] = [0.88, 0.92];
/// Share of phantoms of wrong views, and of spoilt ones, without a number, at least.
pub(super) const LEAST_DECLINED: f64 = 0.95;
/// The same of an untrained model.
pub(super) const LEAST_UNTRAINED_DECLINED: f64 = 0.99;
/// Studies behind the set, and numbers it is judged on, at least.
pub(super) const LEAST_STUDIES: [usize; 2] = [2_000, 4_000];

/// The phantoms of one group.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) group: String,
    /// Sound and apical: a number is wanted.
    pub(super) sound: bool,
    pub(super) phantoms: usize,
    /// Stopped before the model.
    pub(super) rejected: usize,
    /// Reports that abstain.
    pub(super) abstained: usize,
    /// Reports with a number.
    pub(super) numbers: usize,
    /// Why there is none, by code.
    pub(super) reasons: BTreeMap<String, usize>,
}

/// The set behind the intervals.
#[derive(Debug, Serialize)]
pub(super) struct SetUsed {
    pub(super) id: String,
    pub(super) studies: usize,
    pub(super) coverage: f64,
}

/// Everything measured of the configured model.
#[derive(Debug, Serialize)]
pub(super) struct Scores {
    pub(super) rows: Vec<Row>,
    pub(super) set: Option<SetUsed>,
    /// Mean absolute error of the numbers in points; none where there is no number.
    pub(super) error: Option<f64>,
    /// Of saying the mean of the same phantoms each time.
    pub(super) mean_predictor_error: Option<f64>,
    /// Answers, and how many of them name the true view.
    pub(super) answers: usize,
    pub(super) right_views: usize,
    /// Numbers with an interval, how many hold the truth, and their mean width in points.
    pub(super) intervals: usize,
    pub(super) covered: usize,
    pub(super) mean_width: Option<f64>,
    /// Reports on sound apical phantoms by certainty.
    pub(super) certainties: BTreeMap<String, usize>,
    /// Their tags.
    pub(super) tags: BTreeMap<String, usize>,
    #[serde(skip)]
    pub(super) rankings: Vec<Ranking>,
}

/// What an untrained model brings.
#[derive(Debug, Serialize)]
pub(super) struct Untrained {
    pub(super) phantoms: usize,
    /// Reports with a number.
    pub(super) believed: usize,
}

/// The report on each phantom; none where it was rejected before.
pub(super) fn reports(
    reads: &[Read],
    judge: &reporting::Config,
) -> Result<Vec<Option<ReportIssued>>, Failure> {
    let mut reporting = ReportingStage::build(judge.clone(), &Services::without_model())
        .map_err(|error| Failure::usage(format!("stages.reporting.{error}")))?;
    let (blobs, frames) = (MemoryBlobs::default(), MemoryFrames::default());
    let mut ctx = Ctx::new(&blobs, &frames, Timestamp::UNIX_EPOCH, tracing::Span::none());
    let mut report = |read: &Read| {
        let Some(findings) = &read.findings else { return Ok(None) };
        match reporting.process(findings, &mut ctx)? {
            Outcome::Emit(report) => Ok(Some(report)),
            Outcome::Reject(_) => Ok(None),
        }
    };
    reads.iter().map(&mut report).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

impl Scores {
    pub(super) fn of(groups: &[(Group, Vec<Read>)], judge: &reporting::Config) -> Result<Self, Failure> {
        let set = match &judge.calibration_set {
            Some(file) => Some(CalibrationSet::read(&file.text).map_err(Failure::usage)?),
            None => None,
        };
        let mut scores = Self {
            rows: Vec::new(),
            set: set.map(|set| SetUsed {
                id: set.contents().id.clone(),
                studies: set.contents().studies as usize,
                coverage: set.contents().alpha.coverage(),
            }),
            error: None,
            mean_predictor_error: None,
            answers: 0,
            right_views: 0,
            intervals: 0,
            covered: 0,
            mean_width: None,
            certainties: BTreeMap::new(),
            tags: BTreeMap::new(),
            rankings: Vec::new(),
        };
        for (group, reads) in groups {
            let reports = reports(reads, judge)?;
            scores.rows.push(row(*group, reads, &reports));
            if !matches!(group, Group::Corrupted(_)) {
                scores.count_views(reads);
            }
            if *group == Group::Apical {
                scores.judge_numbers(reads, &reports);
                let confirmed: Vec<ConfirmedStudy> = reads.iter().filter_map(Read::confirmed).collect();
                if !confirmed.is_empty() {
                    scores.rankings = eligible(&confirmed, judge)?.rankings();
                }
            }
        }
        Ok(scores)
    }

    fn count_views(&mut self, reads: &[Read]) {
        for read in reads {
            if let Some(Inference::Answer(answer)) =
                read.findings.as_ref().map(|findings| &findings.inference)
            {
                self.answers += 1;
                self.right_views += usize::from(answer.view == Some(read.truth_view));
            }
        }
    }

    fn judge_numbers(&mut self, reads: &[Read], reports: &[Option<ReportIssued>]) {
        for report in reports.iter().flatten() {
            *self.certainties.entry(word(report.certainty)).or_default() += 1;
            for tag in &report.tags {
                *self.tags.entry(word(tag)).or_default() += 1;
            }
        }
        let numbers: Vec<(f64, &schemas::EfEstimate)> = reads
            .iter()
            .zip(reports)
            .filter_map(|(read, report)| Some((read.truth_ef, report.as_ref()?.ef.as_ref()?)))
            .collect();
        self.error = mean(numbers.iter().map(|(truth, ef)| (ef.percent - truth).abs()));
        if let Some(centre) = mean(numbers.iter().map(|(truth, _)| *truth)) {
            self.mean_predictor_error = mean(numbers.iter().map(|(truth, _)| (truth - centre).abs()));
        }
        let intervals: Vec<(f64, [f64; 2])> =
            numbers.iter().filter_map(|(truth, ef)| Some((*truth, ef.interval?))).collect();
        let covered = |(truth, [lower, upper]): &&(f64, [f64; 2])| (*lower..=*upper).contains(truth);
        self.intervals = intervals.len();
        self.covered = intervals.iter().filter(covered).count();
        self.mean_width = mean(intervals.iter().map(|(_, [lower, upper])| upper - lower));
    }

    /// Share of intervals that hold the truth.
    pub(super) fn coverage(&self) -> Option<f64> {
        (self.intervals > 0).then(|| self.covered as f64 / self.intervals as f64)
    }

    /// Share of answers with the true view.
    pub(super) fn view_accuracy(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.right_views as f64 / self.answers as f64)
    }

    /// Share of the phantoms without a number, over the rows that `which` names.
    pub(super) fn declined(&self, which: impl Fn(&Row) -> bool) -> Option<f64> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| which(row)).collect();
        let phantoms: usize = rows.iter().map(|row| row.phantoms).sum();
        let numbers: usize = rows.iter().map(|row| row.numbers).sum();
        (phantoms > 0).then(|| 1.0 - numbers as f64 / phantoms as f64)
    }
}

fn row(group: Group, reads: &[Read], reports: &[Option<ReportIssued>]) -> Row {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut rejected = 0;
    for read in reads {
        if let Way::Rejected(code) = &read.way {
            rejected += 1;
            *reasons.entry(code.to_string()).or_default() += 1;
        }
    }
    for code in reports.iter().flatten().filter_map(|report| report.abstention.as_ref()) {
        *reasons.entry(code.to_string()).or_default() += 1;
    }
    let abstained = reports.iter().flatten().filter(|report| report.abstention.is_some()).count();
    let numbers = reports.iter().flatten().filter(|report| report.ef.is_some()).count();
    Row {
        group: group.name(),
        sound: group == Group::Apical,
        phantoms: reads.len(),
        rejected,
        abstained,
        numbers,
        reasons,
    }
}
