//! The stage: every instance, then the study.

use schemas::{
    AcquiredInstance, CheckVerdict, Domain, ReasonCode, Rejection, RejectionReason, StudyAccepted,
    StudyAcquired, Verdict,
};
use stage::{ConfigError, Ctx, FrameError, Outcome, Services, Stage, StageError};

use crate::{
    Config,
    applicability::NotApplicable,
    checks::{decodable, fan},
    echo,
    gate::{Gated, Record},
    pathology,
};

/// Is this study fit to be read?
#[derive(Debug)]
pub struct QualityGate {
    config: Config,
}

impl Stage for QualityGate {
    const NAME: &'static str = "quality_gate";
    type Config = Config;
    type In = StudyAcquired;
    type Out = StudyAccepted;

    fn build(config: Config, _services: &Services) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config })
    }

    fn process(
        &mut self,
        input: &StudyAcquired,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<StudyAccepted>, StageError> {
        let gated = input
            .instances
            .iter()
            .map(|instance| self.gate(input.study.domain, instance, ctx))
            .collect::<Result<Vec<_>, _>>()?;
        let fit = gated.iter().filter(|one| one.instance.applicable).map(|one| one.instance.verdict);
        match fit.min() {
            Some(verdict @ (Verdict::Accept | Verdict::Caution)) => Ok(Outcome::Emit(StudyAccepted {
                study: input.study.clone(),
                verdict,
                instances: gated.into_iter().map(|one| one.instance).collect(),
            })),
            Some(Verdict::Reject) | None => Ok(Outcome::Reject(rejection(input.study.domain, gated))),
        }
    }
}

impl QualityGate {
    fn gate(&self, domain: Domain, acquired: &AcquiredInstance, ctx: &Ctx<'_>) -> Result<Gated, StageError> {
        let mut record = Record::of(acquired);
        if let Some(reason) = acquired.not_analysable {
            return Ok(record.not_applicable(NotApplicable::NotAnalysable(reason)));
        }
        if domain == Domain::Unknown {
            return Ok(record.not_applicable(NotApplicable::UnknownDomain));
        }
        let header = match ctx.frames().header(&acquired.blob) {
            Ok(header) => header,
            Err(FrameError::NotAnalysable { reason }) => {
                return Ok(record.not_applicable(NotApplicable::NotAnalysable(reason)));
            }
            Err(FrameError::Damaged { code, .. }) => {
                record.note(if code == fan::NO_FAN {
                    fan::missing(self.config.echo.fan)
                } else {
                    decodable::unreadable(code, self.config.damaged.reject)
                });
                return Ok(record.judged());
            }
            Err(error) => return Err(error.into()),
        };
        record.note_header(&header);
        match domain {
            Domain::Pathology => pathology::gate(record, &header, &acquired.blob, &self.config, ctx.frames()),
            Domain::Echo | Domain::Unknown => {
                echo::gate(record, &header, &acquired.blob, &self.config, ctx.frames())
            }
        }
    }
}

/// Why nothing can be used: failures of instances that were meant for the purpose before those that were not.
fn rejection(domain: Domain, gated: Vec<Gated>) -> Rejection {
    let failures = gated.iter().filter(|one| one.instance.applicable).flat_map(|one| {
        let rejects = one.instance.checks.iter().filter(|check| check.verdict == CheckVerdict::Reject);
        rejects.filter_map(|check| {
            Some(RejectionReason {
                code: check.code.clone()?,
                instance_uid: Some(one.instance.instance_uid.clone()),
                advice: check.advice.clone()?,
            })
        })
    });
    let mut reasons: Vec<RejectionReason> = failures.collect();
    if reasons.is_empty() {
        reasons.push(RejectionReason {
            code: ReasonCode::known("NO_APPLICABLE_INSTANCE"),
            instance_uid: None,
            advice: NotApplicable::study_advice(domain),
        });
    }
    reasons.extend(gated.iter().filter_map(|one| {
        one.not_applicable.map(|why| RejectionReason {
            code: why.code(),
            instance_uid: Some(one.instance.instance_uid.clone()),
            advice: why.advice(),
        })
    }));
    Rejection { reasons, instances: gated.into_iter().map(|one| one.instance).collect() }
}
