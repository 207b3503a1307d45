//! The stage: every fit instance, then the study.

use schemas::{
    Bilingual, CheckVerdict, Clip, Domain, GatedInstance, Keyframe, KeyframesExtracted, ReasonCode,
    Rejection, RejectionReason, StudyAccepted, Timing, TimingSource, Verdict,
};
use stage::{ConfigError, Ctx, Outcome, Services, Stage, StageError};

use crate::{
    Config, pathology, picture,
    trace::{NO_KEYFRAMES, Reading, read},
};

/// Which frames carry the finding?
#[derive(Debug)]
pub struct Keyframes {
    config: Config,
}

impl Stage for Keyframes {
    const NAME: &'static str = "keyframes";
    type Config = Config;
    type In = StudyAccepted;
    type Out = KeyframesExtracted;

    fn build(config: Config, _services: &Services) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config })
    }

    fn process(
        &mut self,
        input: &StudyAccepted,
        ctx: &mut Ctx<'_>,
    ) -> Result<Outcome<KeyframesExtracted>, StageError> {
        let fit = || input.instances.iter().filter(|one| one.applicable && one.verdict != Verdict::Reject);
        let clips = match input.study.domain {
            Domain::Pathology => pathology::clips(&input.instances, &self.config.pathology, ctx)?,
            Domain::Echo | Domain::Unknown => {
                fit().map(|instance| self.loop_of(instance, ctx)).collect::<Result<Vec<_>, _>>()?
            }
        };
        if clips.iter().all(|clip| clip.keyframes.is_empty()) {
            return Ok(Outcome::Reject(rejection(input.study.domain, &clips)));
        }
        let warnings = fit().flat_map(|one| &one.checks).filter(|check| check.verdict == CheckVerdict::Warn);
        let mut cautions: Vec<ReasonCode> = warnings.filter_map(|check| check.code.clone()).collect();
        cautions.sort_unstable();
        cautions.dedup();
        Ok(Outcome::Emit(KeyframesExtracted {
            study: input.study.clone(),
            verdict: input.verdict,
            cautions,
            clips,
        }))
    }
}

impl Keyframes {
    fn loop_of(&self, instance: &GatedInstance, ctx: &Ctx<'_>) -> Result<Clip, StageError> {
        let Reading { trace, header } = match read(instance, ctx.frames(), &self.config)? {
            Ok(reading) => reading,
            Err(code) => return Ok(empty(instance, code)),
        };
        let stored = trace.keyframes.iter().map(|traced| {
            let picture = picture::store(&header, &instance.blob, traced.frame, ctx)?;
            Ok(Keyframe {
                kind: traced.kind,
                frame: traced.frame,
                time_ms: traced.time_ms,
                beat: traced.beat,
                confidence: traced.confidence,
                source: traced.source,
                bbox: picture.bbox,
                image: picture.blob,
                normalised: None,
            })
        });
        Ok(Clip {
            keyframes: stored.collect::<Result<Vec<_>, StageError>>()?,
            timing: header.timing,
            view: header.view.or(instance.view),
            geometry: trace.geometry,
            flags: trace.flags,
            ..bare(instance)
        })
    }
}

/// A clip of which nothing could be taken, with the code that says why.
pub(crate) fn empty(instance: &GatedInstance, why: ReasonCode) -> Clip {
    Clip { flags: vec![why], ..bare(instance) }
}

/// A clip of which nothing is said yet.
pub(crate) fn bare(instance: &GatedInstance) -> Clip {
    Clip {
        series_uid: instance.series_uid.clone(),
        instance_uid: instance.instance_uid.clone(),
        view: instance.view,
        timing: instance.timing.unwrap_or(Timing { source: TimingSource::Unknown, fps: None }),
        keyframes: Vec::new(),
        geometry: None,
        flags: Vec::new(),
    }
}

/// No clip gave a keyframe.
fn rejection(domain: Domain, clips: &[Clip]) -> Rejection {
    let advice = match domain {
        Domain::Pathology => Bilingual::new(
            "No tile with tissue could be taken: scan the slide again, or send a field of view on tissue.",
            "未能取得含组织的图块：请重新扫描切片，或发送含组织的视野。",
        ),
        Domain::Echo | Domain::Unknown => Bilingual::new(
            "No beating ventricle could be made out: acquire an apical four-chamber B-mode loop again.",
            "未能辨认出搏动的心室：请重新采集心尖四腔二维动态图像。",
        ),
    };
    let mut reasons =
        vec![RejectionReason { code: NO_KEYFRAMES, instance_uid: None, advice: advice.clone() }];
    reasons.extend(clips.iter().flat_map(|clip| {
        clip.flags.iter().map(|code| RejectionReason {
            code: code.clone(),
            instance_uid: Some(clip.instance_uid.clone()),
            advice: advice.clone(),
        })
    }));
    Rejection { reasons, instances: Vec::new() }
}
