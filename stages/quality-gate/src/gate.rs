//! The word on one instance, put together from its checks.

use schemas::{AcquiredInstance, Check, CheckVerdict, GatedInstance, Verdict};
use stage::ClipHeader;

use crate::applicability::NotApplicable;

/// The gate's word on one instance, and why the purpose does not apply if it does not.
pub(crate) struct Gated {
    pub(crate) instance: GatedInstance,
    pub(crate) not_applicable: Option<NotApplicable>,
}

/// Collects what is learned about one instance.
pub(crate) struct Record<'a> {
    acquired: &'a AcquiredInstance,
    header: Option<ClipHeader>,
    checks: Vec<Check>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(acquired: &'a AcquiredInstance) -> Self {
        Self { acquired, header: None, checks: Vec::new() }
    }

    /// Notes the header, and a check for each thing in it worth a warning.
    pub(crate) fn note_header(&mut self, header: &ClipHeader) {
        self.checks.extend(crate::checks::header::checks(&header.warnings));
        self.header = Some(header.clone());
    }

    pub(crate) fn note(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == CheckVerdict::Reject)
    }

    /// Ends with the verdict of the checks.
    pub(crate) fn judged(self) -> Gated {
        let worst = self.checks.iter().map(|check| check.verdict).max().unwrap_or(CheckVerdict::Pass);
        let verdict = match worst {
            CheckVerdict::Pass => Verdict::Accept,
            CheckVerdict::Warn => Verdict::Caution,
            CheckVerdict::Reject => Verdict::Reject,
        };
        let deciding = self.checks.iter().find(|check| check.verdict == worst);
        let code = deciding.and_then(|check| check.code.clone());
        Gated { instance: self.instance(true, verdict, code), not_applicable: None }
    }

    /// Ends because the purpose does not apply.
    pub(crate) fn not_applicable(self, why: NotApplicable) -> Gated {
        Gated { instance: self.instance(false, Verdict::Reject, Some(why.code())), not_applicable: Some(why) }
    }

    fn instance(
        self,
        applicable: bool,
        verdict: Verdict,
        code: Option<schemas::ReasonCode>,
    ) -> GatedInstance {
        GatedInstance {
            series_uid: self.acquired.series_uid.clone(),
            instance_uid: self.acquired.instance_uid.clone(),
            blob: self.acquired.blob.clone(),
            frames: self.header.as_ref().map_or(self.acquired.frames, |header| header.frames),
            applicable,
            verdict,
            code,
            view: self.header.as_ref().and_then(|header| header.view),
            timing: self.header.as_ref().map(|header| header.timing),
            checks: self.checks,
        }
    }
}
