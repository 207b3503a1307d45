//! Studies made up from a seed, and the rows that an arm would have kept of them: real messages of every stage.

use std::{collections::BTreeMap, sync::Mutex};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use replay::result::{Arm, Ended, ModelUse, StageResult};
use schemas::{
    Abstention, Answer, Area, Bilingual, BlobRef, CalibrationUsed, Certainty, Check, CheckVerdict, Clip,
    Digest, Domain, EfDistribution, EfEstimate, EventId, Evidence, Finding, FindingsInferred, FinishReason,
    FrameNumber, GatedInstance, GenerationStats, Geometry, Inference, InstanceUid, Keyframe, KeyframeKind,
    KeyframeSource, KeyframesExtracted, ModelIdentity, Priority, Quality, ReasonCode, Rejection,
    RejectionReason, ReportIssued, ReportStatus, Revision, SeriesUid, StudyAccepted, StudyHead,
    StudyRejected, StudyUid, Tag, Timing, TimingSource, Verdict, View,
};
use serde::Serialize;

/// What an arm makes of one study.
#[derive(Debug, Clone)]
pub(crate) struct Study {
    pub(crate) number: u32,
    pub(crate) sharpness: f64,
    pub(crate) blurred_below: f64,
    pub(crate) fails_at: Option<&'static str>,
    pub(crate) truth: f64,
    pub(crate) ef: f64,
    pub(crate) geometric: f64,
    pub(crate) half_width: f64,
    pub(crate) ed: u32,
    pub(crate) quality: Quality,
    pub(crate) findings: Vec<&'static str>,
    pub(crate) abstains: bool,
    pub(crate) remark: Bilingual,
    pub(crate) seconds: f64,
    pub(crate) generated_tokens: u64,
    pub(crate) memo_hits: u64,
}

pub(crate) fn uid(number: u32) -> StudyUid {
    StudyUid::new(&format!("2.25.7{number:05}")).unwrap()
}

/// `count` studies of the same seed.
pub(crate) fn studies(count: u32, seed: u64) -> Vec<Study> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|number| {
            let truth = chance.random_range(25.0..70.0_f64).round();
            let ef = (truth + chance.random_range(-4.0..4.0_f64)).round();
            Study {
                number,
                sharpness: chance.random_range(0.3..1.0),
                blurred_below: 0.3,
                fails_at: None,
                truth,
                ef,
                geometric: truth + chance.random_range(-3.0..3.0),
                half_width: 3.0 + chance.random_range(0.0..4.0),
                ed: chance.random_range(5..9),
                quality: if chance.random_bool(0.7) { Quality::Good } else { Quality::Fair },
                findings: if ef < 50.0 { vec!["LV_SYSTOLIC_FUNCTION_REDUCED"] } else { vec![] },
                abstains: false,
                remark: Bilingual::new("No further feature is named.", "未提示其他特征。"),
                seconds: 1.5 * (chance.random_range(-0.4..0.4_f64)).exp(),
                generated_tokens: chance.random_range(30..50),
                memo_hits: 0,
            }
        })
        .collect()
}

/// A grey picture of its own for each (study, frame), PNG. Made once: every row of a study refers to it.
pub(crate) fn png(number: u32, frame: u32) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<(u32, u32), Vec<u8>>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry((number, frame)).or_insert_with(|| draw(number, frame)).clone()
}

fn draw(number: u32, frame: u32) -> Vec<u8> {
    let picture = image::GrayImage::from_fn(96, 72, |x, y| {
        let (dx, dy) = (f64::from(x) - 48.0, f64::from(y) - 4.0);
        let (radius, angle) = (dx.hypot(dy), dx.atan2(dy).abs());
        let chamber = (dx / (12.0 + f64::from(frame % 9))).powi(2) + ((dy - 36.0) / 20.0).powi(2);
        let tissue = 90 + (x * 7 + y * 13 + number * 31) % 60;
        image::Luma([if angle > 0.7 || radius > 66.0 {
            0
        } else if chamber < 1.0 {
            18
        } else {
            tissue as u8
        }])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Frame of end-systole, of every study.
pub(crate) const SYSTOLE: u32 = 17;

impl Study {
    pub(crate) fn is_rejected(&self) -> bool {
        self.sharpness < self.blurred_below
    }

    fn head(&self) -> StudyHead {
        StudyHead {
            study_uid: uid(self.number),
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Echo,
            synthetic: true,
        }
    }

    fn instance_uid(&self) -> InstanceUid {
        InstanceUid::new(&format!("2.25.8{:05}", self.number)).unwrap()
    }

    fn gated(&self) -> GatedInstance {
        let code = ReasonCode::known("BLUR");
        let (verdict, check, code) = if self.is_rejected() {
            (Verdict::Reject, CheckVerdict::Reject, Some(code))
        } else {
            (Verdict::Accept, CheckVerdict::Pass, None)
        };
        GatedInstance {
            series_uid: SeriesUid::new("2.25.9").unwrap(),
            instance_uid: self.instance_uid(),
            blob: BlobRef::of(Area::Raw, &self.number.to_le_bytes()),
            frames: 40,
            applicable: true,
            verdict,
            code: code.clone(),
            view: Some(View::A4C),
            timing: None,
            checks: vec![Check {
                name: "blur".to_owned(),
                value: Some(self.sharpness),
                unit: "1".to_owned(),
                threshold: self.blurred_below,
                verdict: check,
                code,
                advice: None,
            }],
        }
    }

    fn clip(&self) -> Clip {
        let keyframe = |kind, frame: u32| Keyframe {
            kind,
            frame: FrameNumber(frame),
            time_ms: Some(f64::from(frame) * 20.0),
            beat: 1,
            confidence: 0.9,
            source: KeyframeSource::AreaCurve,
            bbox: None,
            image: BlobRef::of(Area::Frames, &png(self.number, frame)),
            normalised: None,
        };
        Clip {
            series_uid: SeriesUid::new("2.25.9").unwrap(),
            instance_uid: self.instance_uid(),
            view: Some(View::A4C),
            timing: Timing { source: TimingSource::FrameTime, fps: Some(50.0) },
            keyframes: vec![keyframe(KeyframeKind::ED, self.ed), keyframe(KeyframeKind::ES, SYSTOLE)],
            geometry: Some(Geometry {
                ef_percent: self.geometric,
                method: "single-plane discs".to_owned(),
                flags: vec![],
            }),
            flags: vec![],
        }
    }

    fn inference(&self) -> Inference {
        if self.abstains {
            return Inference::Abstained(Abstention {
                code: ReasonCode::known("ANSWER_UNPARSABLE"),
                detail: "the answer has not the form asked for".to_owned(),
            });
        }
        Inference::Answer(Answer {
            view: Some(View::A4C),
            quality: self.quality,
            lvef_percent: Some(self.ef as u8),
            findings: self
                .findings
                .iter()
                .map(|code| Finding { code: ReasonCode::new(code).unwrap() })
                .collect(),
        })
    }

    fn model() -> ModelIdentity {
        ModelIdentity {
            name: "phantom".to_owned(),
            digest: Digest::of(b"model"),
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            untrained: false,
            synthetic_only: true,
        }
    }

    fn inferred(&self) -> FindingsInferred {
        let spread = self.half_width / 1.645;
        FindingsInferred {
            study: self.head(),
            verdict: Verdict::Accept,
            cautions: vec![],
            clips: vec![self.clip()],
            model: Self::model(),
            fingerprint: Digest::of(b"fingerprint"),
            inference: self.inference(),
            generation: Some(GenerationStats {
                finish_reason: FinishReason::Stop,
                prompt_tokens: 700,
                vision_tokens: 600,
                generated_tokens: self.generated_tokens as u32,
            }),
            evidence: (!self.abstains).then(|| Evidence {
                ef: Some(EfDistribution {
                    estimate: self.ef,
                    q05: self.ef - self.half_width,
                    q50: self.ef,
                    q95: self.ef + self.half_width,
                    entropy: 2.0,
                    mass: 0.99,
                    variance_within: spread * spread,
                    variance_between: 0.0,
                    samples: vec![],
                }),
                semantic_entropy: 0.1,
                token_log_probability: None,
                askings: 1,
                agreeing: 1,
            }),
        }
    }

    fn reported(&self) -> ReportIssued {
        let interval = [self.ef - self.half_width, self.ef + self.half_width];
        let certainty = match self.half_width {
            _ if self.abstains => Certainty::Abstain,
            half if half <= 6.0 => Certainty::Low,
            half if half <= 10.0 => Certainty::Medium,
            _ => Certainty::High,
        };
        let code = ReasonCode::known("ANSWER_UNPARSABLE");
        let (ef, low, high) = (self.ef, interval[0], interval[1]);
        let number = |en: String, abstaining: &str| if self.abstains { abstaining.to_owned() } else { en };
        ReportIssued {
            study: self.head(),
            status: ReportStatus::AiDraft,
            verdict: Verdict::Accept,
            cautions: vec![],
            certainty,
            tags: vec![Tag::Synthetic],
            abstention: self.abstains.then_some(code),
            ef: (!self.abstains).then_some(EfEstimate {
                percent: ef,
                interval: Some(interval),
                geometric_percent: None,
            }),
            inference: self.inference(),
            calibration: Some(CalibrationUsed {
                id: "phantoms".to_owned(),
                digest: Digest::of(b"set"),
                alpha: 0.1,
                group: "all".to_owned(),
                studies: 500,
                synthetic: true,
            }),
            references: vec![],
            codes: vec![],
            text: Bilingual::new(
                format!(
                    "{}\n{}\nAI-assisted pre-screening result, for reference only.",
                    number(
                        format!("LVEF approximately {ef:.0} % (90 % interval {low:.1} to {high:.1} %)."),
                        "ABSTAIN."
                    ),
                    self.remark.en,
                ),
                format!(
                    "{}\n{}\n本结果由人工智能辅助生成,仅供参考。",
                    number(format!("LVEF 约 {ef:.0}%(90% 区间 {low:.1}–{high:.1}%)。"), "不作判断。"),
                    self.remark.zh,
                ),
            ),
            clips: vec![self.clip()],
            model: Self::model(),
            inference_fingerprint: Digest::of(b"fingerprint"),
            run_fingerprint: Digest::of(b"run"),
        }
    }

    /// The rows of this study, of every stage it came to.
    pub(crate) fn rows(&self, arm: Arm) -> Vec<StageResult> {
        let computed = arm != Arm::Live;
        let row = |stage: &str, ended: Ended, output: serde_json::Value, seconds: f64| StageResult {
            arm,
            study_uid: uid(self.number),
            revision: Revision::FIRST,
            stage: stage.to_owned(),
            input_event: EventId(uuid::Uuid::nil()),
            ended,
            output_sha256: Digest::of(output.to_string().as_bytes()),
            output,
            seconds: computed.then_some(seconds),
            model: (computed && stage == "inference").then_some(ModelUse {
                requests: 1,
                prompt_tokens: 700,
                vision_tokens: 600,
                generated_tokens: self.generated_tokens,
            }),
            memo_hits: if stage == "inference" { self.memo_hits } else { 0 },
        };
        if self.is_rejected() {
            let rejected = StudyRejected {
                study: self.head(),
                stage: "quality_gate".to_owned(),
                rejection: Rejection {
                    reasons: vec![RejectionReason {
                        code: ReasonCode::known("BLUR"),
                        instance_uid: Some(self.instance_uid()),
                        advice: Bilingual::new("refocus", "重新对焦"),
                    }],
                    instances: vec![self.gated()],
                },
            };
            return vec![row("quality_gate", Ended::Rejected, json(&rejected), 0.2 * self.seconds)];
        }
        let accepted =
            StudyAccepted { study: self.head(), verdict: Verdict::Accept, instances: vec![self.gated()] };
        let extracted = KeyframesExtracted {
            study: self.head(),
            verdict: Verdict::Accept,
            cautions: vec![],
            clips: vec![self.clip()],
        };
        let mut rows = vec![
            row("quality_gate", Ended::Emitted, json(&accepted), 0.2 * self.seconds),
            row("keyframes", Ended::Emitted, json(&extracted), 0.2 * self.seconds),
            row("inference", Ended::Emitted, json(&self.inferred()), 0.59 * self.seconds),
            row("reporting", Ended::Emitted, json(&self.reported()), 0.01 * self.seconds),
        ];
        if let Some(stage) = self.fails_at {
            let at = rows.iter().position(|row| row.stage == stage).unwrap();
            rows.truncate(at + 1);
            rows[at].ended = Ended::Failed;
            rows[at].output =
                serde_json::json!({ "cause": "invalid", "detail": "the frame cannot be decoded" });
        }
        rows
    }
}

fn json(message: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(message).unwrap()
}

/// The rows of an arm that makes this of the studies.
pub(crate) fn rows(studies: &[Study], arm: Arm) -> Vec<StageResult> {
    studies.iter().flat_map(|study| study.rows(arm)).collect()
}

/// What the live system keeps: reports and rejections.
pub(crate) fn live(studies: &[Study]) -> Vec<StageResult> {
    let mut rows = rows(studies, Arm::Live);
    rows.retain(|row| row.stage == "reporting" || row.ended == Ended::Rejected);
    rows
}
