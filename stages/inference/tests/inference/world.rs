//! Studies, stored pictures, and a model whose words and probabilities are written down.

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

use inference::{Config, InferenceStage, PromptConfig, PromptsConfig, Variation};
use schemas::{
    Area, BlobRef, Clip, Digest, Domain, Evidence, FindingsInferred, FinishReason, FrameNumber, Inference,
    InstanceUid, Keyframe, KeyframeKind, KeyframeSource, KeyframesExtracted, ModelIdentity, Priority,
    Revision, SeriesUid, StudyHead, StudyUid, Timing, TimingSource, Verdict, View,
};
use stage::{
    BackendError, Blobs as _, Generation, Image, ModelBackend, ModelRequest, Outcome, Picture, Presentation,
    Services, Stage as _, StageError,
    testing::{self, MemoryBlobs, MemoryFrames},
};

pub(crate) const ECHO_EN: &str = include_str!("../../../../config/prompts/echo.en.md");
pub(crate) const ECHO_ZH: &str = include_str!("../../../../config/prompts/echo.zh.md");
pub(crate) const PATHOLOGY_EN: &str = include_str!("../../../../config/prompts/pathology.en.md");
pub(crate) const PATHOLOGY_ZH: &str = include_str!("../../../../config/prompts/pathology.zh.md");
pub(crate) const GOOD: &str =
    r#"{"view":"A4C","quality":"good","lvef_percent":57,"findings":["LV_DILATED"]}"#;
pub(crate) const TILE: &str = r#"{"tissue":"glandular","nuclei":"high","artefact":null,"quality":"good"}"#;

/// What the model says of one picture.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) finish_reason: FinishReason,
    pub(crate) log_probability: Option<f64>,
    /// Log-probabilities of 0 to 100 and null; none where the backend cannot score.
    pub(crate) scores: Option<Vec<f64>>,
}

impl Reply {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            finish_reason: FinishReason::Stop,
            log_probability: Some(-1.5),
            scores: Some(peak(57, 0.9, 0.05)),
        }
    }

    pub(crate) fn echo(view: &str, lvef: Option<u8>) -> Self {
        let number = lvef.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let text = format!(r#"{{"view":"{view}","quality":"good","lvef_percent":{number},"findings":[]}}"#);
        Self { scores: Some(peak(lvef.unwrap_or(50), 0.9, 0.05)), ..Self::new(&text) }
    }
}

/// All the mass on one number.
pub(crate) fn peak(number: u8, mass: f64, declined: f64) -> Vec<f64> {
    let mut scores = vec![f64::NEG_INFINITY; 102];
    scores[usize::from(number)] = mass.ln();
    scores[101] = declined.ln();
    scores
}

/// A model that looks at the first pixel of its first picture, replies what is written down for it, and keeps what it
/// was asked.
pub(crate) struct Scripted {
    pub(crate) identity: ModelIdentity,
    presentation: Presentation,
    /// By the level of the first pixel.
    replies: Vec<(u8, Reply)>,
    otherwise: Reply,
    asked: Mutex<Vec<ModelRequest>>,
    scored: Mutex<Vec<(ModelRequest, Vec<String>)>>,
}

impl Scripted {
    pub(crate) fn new(otherwise: Reply) -> Self {
        let identity = ModelIdentity {
            name: "scripted".into(),
            digest: Digest::of(b"scripted"),
            dtype: "f32".into(),
            device: "cpu".into(),
            untrained: false,
            synthetic_only: false,
        };
        Self {
            identity,
            presentation: Presentation::Stills,
            replies: vec![],
            otherwise,
            asked: Mutex::default(),
            scored: Mutex::default(),
        }
    }

    /// One that wants each beat as a video.
    pub(crate) fn of_beats(otherwise: Reply) -> Arc<Self> {
        Arc::new(Self { presentation: Presentation::Beats, ..Self::new(otherwise) })
    }

    pub(crate) fn saying(text: &str) -> Arc<Self> {
        Arc::new(Self::new(Reply::new(text)))
    }

    pub(crate) fn of_each(replies: impl IntoIterator<Item = (u8, Reply)>) -> Arc<Self> {
        Arc::new(Self {
            replies: replies.into_iter().collect(),
            ..Self::new(Reply::new("unexpected picture"))
        })
    }

    pub(crate) fn questions(&self) -> Vec<ModelRequest> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn scorings(&self) -> Vec<(ModelRequest, Vec<String>)> {
        self.scored.lock().unwrap().clone()
    }

    fn reply(&self, request: &ModelRequest) -> &Reply {
        let level = first_picture(request).rgb[0];
        self.replies.iter().find(|(known, _)| *known == level).map_or(&self.otherwise, |(_, reply)| reply)
    }
}

/// The first picture, or the first frame of the first beat.
pub(crate) fn first_picture(request: &ModelRequest) -> &Image {
    match &request.pictures[0] {
        Picture::Still(image) | Picture::Beat([image, _]) => image,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("this server gives no log-probabilities")]
struct NoScores;

impl ModelBackend for Scripted {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn presentation(&self) -> Presentation {
        self.presentation
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        self.asked.lock().unwrap().push(request.clone());
        let reply = self.reply(request);
        Ok(Generation {
            text: reply.text.clone(),
            finish_reason: reply.finish_reason,
            prompt_tokens: 10,
            vision_tokens: 4,
            generated_tokens: 3,
            log_probability: reply.log_probability,
        })
    }

    fn score(&self, request: &ModelRequest, continuations: &[String]) -> Result<Vec<f64>, BackendError> {
        self.scored.lock().unwrap().push((request.clone(), continuations.to_vec()));
        self.reply(request).scores.clone().ok_or_else(|| BackendError::Refused(NoScores.into()))
    }
}

pub(crate) fn config() -> Config {
    let prompt = |id: &str, text: &str| PromptConfig { id: id.into(), text: text.into() };
    Config {
        prompts: PromptsConfig {
            echo: prompt("echo.en", ECHO_EN),
            pathology: prompt("pathology.en", PATHOLOGY_EN),
        },
        beats: 5,
        tiles: 4,
        variations: vec![Variation::Original],
        askings: 15,
        max_new_tokens: 256,
        allow_demo_model: false,
    }
}

pub(crate) fn services(model: &Arc<Scripted>) -> Services {
    Services { model: Arc::clone(model) as Arc<dyn ModelBackend> }
}

pub(crate) fn build(model: &Arc<Scripted>, config: Config) -> InferenceStage {
    InferenceStage::build(config, &services(model)).unwrap()
}

/// Stores a picture whose every pixel is `gray`.
pub(crate) fn picture(blobs: &MemoryBlobs, size: [u32; 2], gray: u8) -> BlobRef {
    let mut png = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(size[0], size[1], image::Luma([gray]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    blobs.put(Area::Frames, png.get_ref()).unwrap()
}

/// A keyframe whose picture is 6 × 4 pixels of the level of its frame number.
pub(crate) fn keyframe(
    blobs: &MemoryBlobs,
    kind: KeyframeKind,
    frame: u32,
    beat: u32,
    confidence: f64,
) -> Keyframe {
    Keyframe {
        kind,
        frame: FrameNumber(frame),
        time_ms: None,
        beat,
        confidence,
        source: KeyframeSource::AreaCurve,
        bbox: None,
        image: picture(blobs, [6, 4], frame as u8),
        normalised: None,
    }
}

pub(crate) fn clip(number: u32, view: Option<View>, keyframes: Vec<Keyframe>) -> Clip {
    Clip {
        series_uid: SeriesUid::new("2.25.10").unwrap(),
        instance_uid: InstanceUid::new(&format!("2.25.{}", 100 + number)).unwrap(),
        view,
        timing: Timing { source: TimingSource::FrameTime, fps: Some(50.0) },
        keyframes,
        geometry: None,
        flags: vec![],
    }
}

pub(crate) fn study(clips: Vec<Clip>) -> KeyframesExtracted {
    KeyframesExtracted {
        study: StudyHead {
            study_uid: StudyUid::new("2.25.1").unwrap(),
            revision: Revision::FIRST,
            priority: Priority::Routine,
            domain: Domain::Echo,
            synthetic: false,
        },
        verdict: Verdict::Accept,
        cautions: vec![],
        clips,
    }
}

/// Both phases of a beat; its end-diastolic picture has the level `level`, the end-systolic one more.
pub(crate) fn beat(blobs: &MemoryBlobs, number: u32, level: u8, confidence: f64) -> Vec<Keyframe> {
    let frame = u32::from(level);
    vec![
        keyframe(blobs, KeyframeKind::ED, frame, number, confidence),
        keyframe(blobs, KeyframeKind::ES, frame + 1, number, confidence),
    ]
}

pub(crate) fn one_beat(blobs: &MemoryBlobs) -> KeyframesExtracted {
    study(vec![clip(1, Some(View::A4C), beat(blobs, 1, 30, 0.9))])
}

/// One clip with a beat for each of `levels`, the first the most certain.
pub(crate) fn beats(blobs: &MemoryBlobs, levels: &[u8]) -> KeyframesExtracted {
    let keyframes = (1..)
        .zip(levels)
        .flat_map(|(number, level)| beat(blobs, number, *level, 1.0 - 0.1 * f64::from(number)));
    study(vec![clip(1, None, keyframes.collect())])
}

/// One slide with a tile for each of `levels`, the first the best.
pub(crate) fn tiles(blobs: &MemoryBlobs, levels: &[u8]) -> KeyframesExtracted {
    let keyframes = (1..).zip(levels).map(|(number, level)| {
        keyframe(blobs, KeyframeKind::Tile, u32::from(*level), 1, 1.0 - 0.1 * f64::from(number))
    });
    let mut study = study(vec![clip(1, None, keyframes.collect())]);
    study.study.domain = Domain::Pathology;
    study
}

pub(crate) fn outcome_of(
    model: &Arc<Scripted>,
    config: &Config,
    input: &KeyframesExtracted,
    blobs: &MemoryBlobs,
) -> Result<Outcome<FindingsInferred>, StageError> {
    let frames = MemoryFrames::default();
    let mut ctx = testing::ctx(blobs, &frames);
    testing::check(|| build(model, config.clone()), std::slice::from_ref(input), &mut ctx).remove(0)
}

pub(crate) fn answer_of(
    model: &Arc<Scripted>,
    config: &Config,
    input: &KeyframesExtracted,
    blobs: &MemoryBlobs,
) -> FindingsInferred {
    match outcome_of(model, config, input, blobs).unwrap() {
        Outcome::Emit(message) => message,
        Outcome::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

pub(crate) fn abstention(found: &FindingsInferred) -> &str {
    assert_eq!(found.evidence, None);
    match &found.inference {
        Inference::Abstained(abstention) => abstention.code.as_str(),
        Inference::Answer(answer) => panic!("answered {answer:?}"),
    }
}

pub(crate) fn answered(found: &FindingsInferred) -> (&schemas::Answer, &Evidence) {
    match &found.inference {
        Inference::Answer(answer) => (answer, found.evidence.as_ref().unwrap()),
        Inference::Abstained(abstention) => panic!("abstained: {abstention:?}"),
    }
}
