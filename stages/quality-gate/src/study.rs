//! The stage: every instance, then the study.

use schemas::{
    AcquiredInstance, Bilingual, CheckVerdict, Domain, GatedInstance, ReasonCode, Rejection, RejectionReason,
    StudyAccepted, StudyAcquired, Verdict,
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
        Self::try_new(config)
    }

    fn process(
        &mut self,
        input: &StudyAcquired,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<StudyAccepted>, StageError> {
        let gated = match input.study.domain {
            // Together: a slide may lie in several instances.
            Domain::Pathology => pathology::gate(&input.instances, &self.config, ctx.frames())?,
            domain => input
                .instances
                .iter()
                .map(|instance| self.gate(domain, instance, ctx))
                .collect::<Result<Vec<_>, _>>()?,
        };
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

/// The gate's word on one instance by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Verdict, code and checks, as the study's own gate will give them.
    pub instance: GatedInstance,
    /// What to do about the code; absent on `accept`.
    pub advice: Option<Bilingual>,
}

impl QualityGate {
    /// A gate for [`Self::judge`], which needs no services.
    ///
    /// # Errors
    /// A value that contradicts another.
    pub fn try_new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config })
    }

    /// Judges one instance while its study is still open, by the same checks as [`Stage::process`].
    ///
    /// # Errors
    /// As [`Stage::process`]: only the machinery's own trouble.
    pub fn judge(
        &mut self,
        domain: Domain,
        acquired: &AcquiredInstance,
        ctx: &Ctx<'_>,
    ) -> Result<Judged, StageError> {
        let alone = match domain {
            Domain::Pathology => {
                pathology::gate(std::slice::from_ref(acquired), &self.config, ctx.frames())?.pop()
            }
            Domain::Echo | Domain::Unknown => None,
        };
        let Gated { instance, not_applicable } = match alone {
            Some(gated) => gated,
            None => self.gate(domain, acquired, ctx)?,
        };
        let of_check = || {
            let code = instance.code.as_ref()?;
            let same = instance.checks.iter().filter(|check| check.code.as_ref() == Some(code));
            same.max_by_key(|check| check.verdict)?.advice.clone()
        };
        let advice = not_applicable.map(NotApplicable::advice).or_else(of_check);
        Ok(Judged { instance, advice })
    }

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
            // A still is no failure, whatever it shows.
            Err(FrameError::Damaged { code, .. })
                if code == fan::NO_FAN && domain == Domain::Echo && acquired.frames <= 1 =>
            {
                return Ok(record.not_applicable(NotApplicable::SingleFrame));
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
        echo::gate(record, &header, &acquired.blob, &self.config, ctx.frames())
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
