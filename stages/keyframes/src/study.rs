//! The stage: every fit instance, then the study.

use schemas::{
    Bilingual, CheckVerdict, Clip, Domain, FrameNumber, GatedInstance, Keyframe, KeyframeKind,
    KeyframeSource, KeyframesExtracted, ReasonCode, Rejection, RejectionReason, StudyAccepted, Timing,
    TimingSource, Verdict,
};
use stage::{ClipHeader, ConfigError, Ctx, FrameError, Outcome, Services, Stage, StageError};

use crate::{
    Config,
    beats::{Beat, clearest, phases},
    blood::blood_signal,
    cine::{Cine, CineError},
    picture,
};

/// The clip shows no phases at all: nothing moves that looks like a ventricle.
const NO_KEYFRAMES: ReasonCode = ReasonCode::known("NO_KEYFRAMES");

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
        let clips = fit()
            .map(|instance| match input.study.domain {
                Domain::Pathology => whole_image(instance, ctx),
                Domain::Echo | Domain::Unknown => self.loop_of(instance, ctx),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if clips.iter().all(|clip| clip.keyframes.is_empty()) {
            return Ok(Outcome::Reject(rejection(&clips)));
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
        let header = match header(instance, ctx)? {
            Ok(header) => header,
            Err(code) => return Ok(empty(instance, code)),
        };
        let cine = match Cine::read(&header, &instance.blob, ctx.frames(), self.config.max_frames) {
            Ok(cine) => cine,
            Err(CineError::Unreadable(code)) => return Ok(empty(instance, code)),
            Err(CineError::Stage(error)) => return Err(error),
        };
        let blood = blood_signal(&cine, header.timing.fps);
        let Some(phases) = blood.and_then(|blood| phases(&blood, &header)) else {
            return Ok(empty(instance, NO_KEYFRAMES));
        };
        let mut flags = phases.flags;
        if header.timing.fps.is_none() {
            flags.push(ReasonCode::known("TIMING_UNKNOWN"));
        }
        let mut keyframes = Vec::new();
        for beat in clearest(phases.beats, self.config.max_beats as usize) {
            for (kind, index, source) in ends(&beat) {
                let number = FrameNumber::from_index(cine.nearest_readable(index) as u32);
                let picture = picture::store(&header, &instance.blob, number, ctx)?;
                keyframes.push(Keyframe {
                    kind,
                    frame: number,
                    time_ms: header.frame_times_ms.get(number.index() as usize).copied().map(thousandths),
                    beat: beat.number,
                    confidence: thousandths(beat.confidence),
                    source,
                    bbox: picture.bbox,
                    image: picture.blob,
                    normalised: None,
                });
            }
        }
        keyframes.sort_by_key(|keyframe| keyframe.frame);
        Ok(Clip {
            timing: header.timing,
            view: header.view.or(instance.view),
            keyframes,
            flags,
            ..bare(instance)
        })
    }
}

/// To three decimals, so that it survives JSON unchanged.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn ends(beat: &Beat) -> [(KeyframeKind, usize, KeyframeSource); 2] {
    [
        (KeyframeKind::ED, beat.diastole, beat.diastole_source),
        (KeyframeKind::ES, beat.systole, KeyframeSource::AreaCurve),
    ]
}

/// The header of a gated instance, or the code under which it cannot be read any more.
fn header(instance: &GatedInstance, ctx: &Ctx<'_>) -> Result<Result<ClipHeader, ReasonCode>, StageError> {
    match ctx.frames().header(&instance.blob) {
        Ok(header) => Ok(Ok(header)),
        Err(FrameError::Damaged { code, .. }) => Ok(Err(code)),
        Err(error) => Err(error.into()),
    }
}

/// A field of view stands for itself.
fn whole_image(instance: &GatedInstance, ctx: &Ctx<'_>) -> Result<Clip, StageError> {
    let header = match header(instance, ctx)? {
        Ok(header) => header,
        Err(code) => return Ok(empty(instance, code)),
    };
    let frame = FrameNumber::from_index(0);
    let picture = picture::store(&header, &instance.blob, frame, ctx)?;
    let tile = Keyframe {
        kind: KeyframeKind::Tile,
        frame,
        time_ms: None,
        beat: 1,
        confidence: 1.0,
        source: KeyframeSource::WholeImage,
        bbox: picture.bbox,
        image: picture.blob,
        normalised: None,
    };
    Ok(Clip { timing: header.timing, keyframes: vec![tile], ..bare(instance) })
}

/// A clip of which nothing could be taken, with the code that says why.
fn empty(instance: &GatedInstance, why: ReasonCode) -> Clip {
    Clip { flags: vec![why], ..bare(instance) }
}

fn bare(instance: &GatedInstance) -> Clip {
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
fn rejection(clips: &[Clip]) -> Rejection {
    let advice = Bilingual::new(
        "No beating ventricle could be made out: acquire an apical four-chamber B-mode loop again.",
        "未能辨认出搏动的心室：请重新采集心尖四腔二维动态图像。",
    );
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
