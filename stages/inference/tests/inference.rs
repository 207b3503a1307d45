//! The stage through its public door: which questions are asked, and which answers are believed.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

use inference::{AbstentionReason, Config, FindingCode, InferenceStage, PromptConfig};
use schemas::{
    Area, BlobRef, Clip, Digest, Domain, FindingsInferred, FinishReason, FrameNumber, Inference, InstanceUid,
    Keyframe, KeyframeKind, KeyframeSource, KeyframesExtracted, ModelIdentity, Priority, Quality, Revision,
    SeriesUid, StudyHead, StudyUid, Timing, TimingSource, Verdict, View,
};
use stage::{
    BackendError, Blobs as _, Generation, ModelBackend, ModelRequest, Outcome, Services, Stage as _,
    StageError,
    testing::{self, MemoryBlobs, MemoryFrames},
};

const PROMPT_EN: &str = include_str!("../../../config/prompts/echo.en.md");
const PROMPT_ZH: &str = include_str!("../../../config/prompts/echo.zh.md");
const GOOD: &str = r#"{"view":"A4C","quality":"good","lvef_percent":57,"findings":["LV_DILATED"]}"#;

/// A backend that answers with a given text and keeps what it was asked.
struct Recorded {
    identity: ModelIdentity,
    text: String,
    finish_reason: FinishReason,
    asked: Mutex<Vec<ModelRequest>>,
}

impl Recorded {
    fn new(text: &str) -> Self {
        let identity = ModelIdentity {
            name: "recorded".into(),
            digest: Digest::of(b"recorded"),
            dtype: "f32".into(),
            device: "cpu".into(),
            untrained: false,
            synthetic_only: false,
        };
        Self { identity, text: text.into(), finish_reason: FinishReason::Stop, asked: Mutex::default() }
    }

    fn questions(&self) -> Vec<ModelRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl ModelBackend for Recorded {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn generate(&self, request: &ModelRequest) -> Result<Generation, BackendError> {
        self.asked.lock().unwrap().push(request.clone());
        Ok(Generation {
            text: self.text.clone(),
            finish_reason: self.finish_reason,
            prompt_tokens: 10,
            vision_tokens: 4,
            generated_tokens: 3,
        })
    }
}

fn config() -> Config {
    let prompt = PromptConfig { id: "echo.en".into(), text: PROMPT_EN.into() };
    Config { prompt, max_new_tokens: 256, max_images: 4, allow_demo_model: false }
}

fn build(model: &Arc<Recorded>, config: Config) -> InferenceStage {
    InferenceStage::build(config, &Services { model: Arc::clone(model) as Arc<dyn ModelBackend> }).unwrap()
}

/// Stores a small picture whose every pixel is `gray`.
fn picture(blobs: &MemoryBlobs, gray: u8) -> BlobRef {
    let mut png = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(6, 4, image::Luma([gray]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    blobs.put(Area::Frames, png.get_ref()).unwrap()
}

fn keyframe(blobs: &MemoryBlobs, kind: KeyframeKind, frame: u32, beat: u32, confidence: f64) -> Keyframe {
    Keyframe {
        kind,
        frame: FrameNumber(frame),
        time_ms: None,
        beat,
        confidence,
        source: KeyframeSource::AreaCurve,
        bbox: None,
        image: picture(blobs, frame as u8),
        normalised: None,
    }
}

fn clip(number: u32, view: Option<View>, keyframes: Vec<Keyframe>) -> Clip {
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

fn study(clips: Vec<Clip>) -> KeyframesExtracted {
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

fn one_beat(blobs: &MemoryBlobs) -> KeyframesExtracted {
    let pair =
        vec![keyframe(blobs, KeyframeKind::ED, 3, 1, 0.9), keyframe(blobs, KeyframeKind::ES, 20, 1, 0.8)];
    study(vec![clip(1, Some(View::A4C), pair)])
}

fn answer_of(
    model: &Arc<Recorded>,
    config: &Config,
    input: &KeyframesExtracted,
    blobs: &MemoryBlobs,
) -> FindingsInferred {
    let frames = MemoryFrames::default();
    let mut ctx = testing::ctx(blobs, &frames);
    let outcomes = testing::check(|| build(model, config.clone()), std::slice::from_ref(input), &mut ctx);
    match outcomes.into_iter().next().unwrap().unwrap() {
        Outcome::Emit(message) => message,
        Outcome::Reject(rejection) => panic!("rejected: {rejection:?}"),
    }
}

fn abstention(found: &FindingsInferred) -> &str {
    match &found.inference {
        Inference::Abstained(abstention) => abstention.code.as_str(),
        Inference::Answer(answer) => panic!("answered {answer:?}"),
    }
}

#[test]
fn a_well_formed_answer_is_taken_as_it_is() {
    let blobs = MemoryBlobs::default();
    let model = Arc::new(Recorded::new(GOOD));
    let found = answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    let Inference::Answer(answer) = &found.inference else { panic!("{found:?}") };
    assert_eq!(answer.view, Some(View::A4C));
    assert_eq!(answer.quality, Quality::Good);
    assert_eq!(answer.lvef_percent, Some(57));
    assert_eq!(answer.findings[0].code, FindingCode::LvDilated.code());
    let stats = found.generation.unwrap();
    assert_eq!((stats.prompt_tokens, stats.vision_tokens, stats.generated_tokens), (10, 4, 3));
}

#[test]
fn the_question_holds_the_pictures_and_says_which_is_which() {
    let blobs = MemoryBlobs::default();
    let model = Arc::new(Recorded::new(GOOD));
    answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    let question = &model.questions()[0];
    assert_eq!(question.images.len(), 2);
    assert_eq!((question.images[0].width, question.images[0].height), (6, 4));
    assert!(question.images[0].rgb.iter().all(|value| *value == 3));
    assert!(question.images[1].rgb.iter().all(|value| *value == 20));
    assert!(question.prompt.contains("1. clip 1, A4C, ED\n2. clip 1, A4C, ES\n"), "{}", question.prompt);
    assert!(question.system.as_deref().unwrap().starts_with("You look at still pictures"));
    assert_eq!(question.max_new_tokens, 256);
}

#[test]
fn every_clip_shows_its_best_beat_before_any_shows_its_second() {
    let blobs = MemoryBlobs::default();
    let model = Arc::new(Recorded::new(GOOD));
    let first = vec![
        keyframe(&blobs, KeyframeKind::ED, 1, 1, 0.5),
        keyframe(&blobs, KeyframeKind::ES, 2, 1, 0.9),
        keyframe(&blobs, KeyframeKind::ED, 3, 2, 0.7),
        keyframe(&blobs, KeyframeKind::ES, 4, 2, 0.6),
        keyframe(&blobs, KeyframeKind::ED, 5, 3, 1.0),
    ];
    let second =
        vec![keyframe(&blobs, KeyframeKind::ED, 11, 1, 0.1), keyframe(&blobs, KeyframeKind::ES, 12, 1, 0.1)];
    let input = study(vec![clip(1, None, first), clip(2, None, second)]);
    answer_of(&model, &config(), &input, &blobs);
    let shown: Vec<u8> = model.questions()[0].images.iter().map(|image| image.rgb[0]).collect();
    assert_eq!(shown, [3, 4, 11, 12]);
}

#[test]
fn what_is_not_the_form_abstains() {
    let blobs = MemoryBlobs::default();
    let input = one_beat(&blobs);
    let wrong = [
        "",
        " ",
        "57",
        "The LVEF is 57 %.",
        "[]",
        r#"["A4C","good",57,[]]"#,
        "{}",
        "```json\n{\"view\":null,\"quality\":\"good\",\"lvef_percent\":57,\"findings\":[]}\n```",
        r#"Sure: {"view":null,"quality":"good","lvef_percent":57,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":[]} done"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":[]}{"view":null,"quality":"good","lvef_percent":5,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57}"#,
        r#"{"quality":"good","lvef_percent":57,"findings":[]}"#,
        r#"{"view":null,"lvef_percent":57,"findings":[]}"#,
        r#"{"view":null,"quality":"good","findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":[],"note":"x"}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"lvef_percent":20,"findings":[]}"#,
        r#"{"view":null,"quality":"great","lvef_percent":57,"findings":[]}"#,
        r#"{"view":"A5C","quality":"good","lvef_percent":57,"findings":[]}"#,
        r#"{"view":"a4c","quality":"good","lvef_percent":57,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57.0,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":"57","findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":101,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":-1,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":5e1,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":99999999999999999999,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":null}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["CANCER"]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["LV_DILATED","LV_DILATED"]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["#,
    ];
    for text in wrong {
        let found = answer_of(&Arc::new(Recorded::new(text)), &config(), &input, &blobs);
        assert_eq!(abstention(&found), "ANSWER_UNPARSABLE", "{text}");
        assert!(found.generation.is_some());
    }
}

#[test]
fn an_answer_that_did_not_end_by_itself_is_not_believed() {
    let blobs = MemoryBlobs::default();
    let input = one_beat(&blobs);
    for (finish_reason, code) in
        [(FinishReason::Length, "ANSWER_TRUNCATED"), (FinishReason::Repetition, "REPETITION")]
    {
        let model = Arc::new(Recorded { finish_reason, ..Recorded::new(GOOD) });
        assert_eq!(abstention(&answer_of(&model, &config(), &input, &blobs)), code);
    }
}

#[test]
fn an_untrained_model_is_asked_and_never_believed() {
    let blobs = MemoryBlobs::default();
    let mut model = Recorded::new(GOOD);
    model.identity.untrained = true;
    let model = Arc::new(model);
    let found = answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    assert_eq!(abstention(&found), "MODEL_UNTRAINED");
    assert!(found.generation.is_some());
    assert!(!model.questions().is_empty());
}

#[test]
fn a_model_of_phantoms_is_not_asked_about_a_patient() {
    let blobs = MemoryBlobs::default();
    let mut input = one_beat(&blobs);
    let mut model = Recorded::new(GOOD);
    model.identity.synthetic_only = true;
    let model = Arc::new(model);
    let found = answer_of(&model, &config(), &input, &blobs);
    assert_eq!(abstention(&found), "MODEL_SYNTHETIC_ONLY");
    assert_eq!(found.generation, None);
    assert!(model.questions().is_empty());
    let allowed = Config { allow_demo_model: true, ..config() };
    assert!(matches!(answer_of(&model, &allowed, &input, &blobs).inference, Inference::Answer(_)));
    input.study.synthetic = true;
    assert!(matches!(answer_of(&model, &config(), &input, &blobs).inference, Inference::Answer(_)));
}

#[test]
fn without_pictures_or_a_prompt_for_the_domain_nothing_is_asked() {
    let blobs = MemoryBlobs::default();
    let model = Arc::new(Recorded::new(GOOD));
    let mut input = one_beat(&blobs);
    input.study.domain = Domain::Pathology;
    assert_eq!(abstention(&answer_of(&model, &config(), &input, &blobs)), "DOMAIN_NOT_SUPPORTED");
    let tile = vec![keyframe(&blobs, KeyframeKind::Tile, 1, 1, 1.0)];
    for input in [study(vec![]), study(vec![clip(1, None, vec![])]), study(vec![clip(1, None, tile)])] {
        assert_eq!(abstention(&answer_of(&model, &config(), &input, &blobs)), "NO_KEYFRAMES");
        assert!(build(&model, config()).memo_key(&input).is_none());
    }
    assert!(model.questions().is_empty());
}

#[test]
fn a_missing_changed_or_unreadable_picture_is_invalid() {
    let blobs = MemoryBlobs::default();
    let frames = MemoryFrames::default();
    let model = Arc::new(Recorded::new(GOOD));
    let good = one_beat(&blobs);
    let absent = BlobRef::of(Area::Frames, b"never stored");
    let no_png = blobs.put(Area::Frames, b"not a picture").unwrap();
    let changed = picture(&blobs, 77);
    blobs.corrupt(&changed, b"rotten".to_vec());
    for image in [absent, no_png, changed] {
        let mut input = good.clone();
        input.clips[0].keyframes[1].image = image;
        let mut ctx = testing::ctx(&blobs, &frames);
        let outcome = testing::check(|| build(&model, config()), &[input], &mut ctx).remove(0);
        assert!(matches!(outcome, Err(StageError::Invalid(_))), "{outcome:?}");
    }
    assert!(model.questions().is_empty());
}

#[test]
fn fingerprint_and_memo_key_follow_what_decides_the_answer() {
    let blobs = MemoryBlobs::default();
    let model = Arc::new(Recorded::new(GOOD));
    let input = one_beat(&blobs);
    let base = answer_of(&model, &config(), &input, &blobs).fingerprint;
    let key = build(&model, config()).memo_key(&input).unwrap();
    assert_eq!(build(&model, config()).memo_key(&input), Some(key));

    let mut others = vec![Config { max_new_tokens: 255, ..config() }, Config { max_images: 2, ..config() }];
    let mut prompt = config();
    prompt.prompt.text.push(' ');
    others.push(prompt);
    let mut renamed = config();
    renamed.prompt.id = "echo.en.2".into();
    others.push(renamed);
    for other in others {
        assert_ne!(answer_of(&model, &other, &input, &blobs).fingerprint, base, "{other:?}");
        assert_ne!(build(&model, other).memo_key(&input), Some(key));
    }
    let mut weights = Recorded::new(GOOD);
    weights.identity.digest = Digest::of(b"other weights");
    assert_ne!(answer_of(&Arc::new(weights), &config(), &input, &blobs).fingerprint, base);

    let mut revised = input.clone();
    revised.study.revision = Revision(2);
    assert_ne!(build(&model, config()).memo_key(&revised), Some(key));
    assert_eq!(answer_of(&model, &config(), &revised, &blobs).fingerprint, base);
}

#[test]
fn configuration_out_of_bounds_is_refused_by_its_key() {
    let services = Services { model: Arc::new(Recorded::new(GOOD)) };
    let with_text =
        |text: &str| Config { prompt: PromptConfig { id: "p".into(), text: text.into() }, ..config() };
    let without_id =
        Config { prompt: PromptConfig { id: String::new(), text: PROMPT_EN.into() }, ..config() };
    let wrong = [
        (Config { max_new_tokens: 0, ..config() }, "max_new_tokens"),
        (Config { max_images: 1, ..config() }, "max_images"),
        (without_id, "prompt.id"),
        (with_text(""), "prompt.text"),
        (with_text("{pictures}"), "prompt.text"),
        (with_text("# user\nno place for pictures"), "prompt.text"),
        (with_text("# user\n{pictures} {pictures}"), "prompt.text"),
        (with_text("stray\n# user\n{pictures}"), "prompt.text"),
        (with_text(&format!("# user\n{{pictures}}{}", "x".repeat(20_000))), "prompt.text"),
    ];
    for (config, key) in wrong {
        let error = InferenceStage::build(config, &services).err().unwrap();
        assert_eq!(error.key, key, "{error}");
    }
}

#[test]
fn the_prompts_shipped_are_usable_and_list_every_finding() {
    let services = Services { model: Arc::new(Recorded::new(GOOD)) };
    for (id, text) in [("echo.en", PROMPT_EN), ("echo.zh", PROMPT_ZH)] {
        let prompt = PromptConfig { id: id.into(), text: text.into() };
        InferenceStage::build(Config { prompt, ..config() }, &services).unwrap();
        for finding in FindingCode::ALL {
            assert!(text.contains(&format!("\"{}\"", finding.code())), "{id} lacks {}", finding.code());
        }
    }
}

#[test]
fn every_reason_for_abstaining_has_its_own_code() {
    let codes: std::collections::HashSet<_> =
        AbstentionReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), AbstentionReason::ALL.len());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// Whatever the model says, the parser answers; and what it takes says what the text said.
    #[test]
    fn the_parser_takes_the_form_and_nothing_else(
        text in r#"[ \n]?[{\["a-z:,0-9}\]]{0,40}"#,
        lvef in proptest::option::of(0_u16..400),
    ) {
        proptest::prop_assert!(inference::parse_answer(&text).is_err());
        let number = lvef.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let form = format!(r#" {{"lvef_percent":{number},"view":null,"findings":[],"quality":"poor"}} "#);
        match inference::parse_answer(&form) {
            Ok(answer) => proptest::prop_assert_eq!(answer.lvef_percent.map(u16::from), lvef),
            Err(_) => proptest::prop_assert!(lvef.is_some_and(|value| value > 100)),
        }
    }
}
