//! What callers of the engine may rely on: typed refusals, the same answer every time, an end to every loop.

use crate::support::{copy_of, edit, engine, fixtures, untrained};
use glm46v::{
    Capture, Checkpoint, Determinism, Engine, EngineOptions, FinishReason, FrameTiming, GenerateOptions,
    LoadError, Media, Message, ModelMarks, Part, Presentation, Prompt, RepetitionStop, Request, RequestError,
    Role, Thinking, Video,
};
use image::{Rgb, RgbImage};
use serde_json::json;

fn request(content: Vec<Part>) -> Request {
    let prompt = Prompt { messages: vec![Message { role: Role::User, content }], thinking: Thinking::Off };
    Request::new(prompt, GenerateOptions { max_new_tokens: 4, ..GenerateOptions::default() })
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8]))
}

fn tiny() -> Engine {
    engine(&fixtures().join("glm46v-v5"))
}

#[test]
fn untrained_checkpoint_says_so() {
    let engine = engine(&untrained());
    let stills = Presentation::Stills;
    let wanted = ModelMarks { untrained: true, synthetic_only: true, presentation: stills };
    assert_eq!(engine.handle().info().marks, wanted);
}

#[test]
fn untrained_checkpoint_answers_four_pictures_with_as_many_tokens_as_asked_for() {
    // Random weights may write an end token at any time; here only a token that they do not write ends the answer.
    let folder = copy_of(&untrained());
    edit(folder.path(), "generation_config.json", |config| config["eos_token_id"] = 513.into());
    let engine = engine(folder.path());
    let mut content: Vec<Part> = (0..4).map(|i| Part::Image(picture(220 + i, 230))).collect();
    content.push(text("Which of the pictures shows the lesion?"));
    let mut request = request(content);
    request.options.max_new_tokens = 64;
    request.options.repetition = RepetitionStop::Off;

    let answer = engine.handle().generate(&request).unwrap();

    assert_eq!(answer.finish_reason, FinishReason::Length);
    assert_eq!(answer.generated_tokens(), 64);
    assert_eq!(answer.vision_tokens, 4 * 64);
}

#[test]
fn trained_is_the_default_mark_and_a_checkpoint_says_how_it_wants_to_see_beats() {
    assert_eq!(tiny().handle().info().marks, ModelMarks::default());
    let folder = copy_of(&fixtures().join("glm46v-v5"));
    edit(folder.path(), "config.json", |config| config["prescreen"] = json!({"presentation": "beats"}));
    assert_eq!(Checkpoint::open(folder.path()).unwrap().config().marks.presentation, Presentation::Beats);
    edit(folder.path(), "config.json", |config| config["prescreen"] = json!({"presentation": "films"}));
    let refused = Checkpoint::open(folder.path()).err().unwrap();
    assert!(matches!(refused, LoadError::FieldType { ref field, .. } if field == "prescreen"), "{refused}");
}

#[test]
fn two_frames_of_a_beat_are_one_picture_under_one_time() {
    let engine = tiny();
    let pair = Video::pair([picture(56, 84), picture(56, 84)]);
    let prompt = request(vec![Part::Video(pair), text("ED and ES")]).prompt;
    let prepared = engine.handle().processor().prepare(&prompt, 1).unwrap();
    assert_eq!(prepared.grids.len(), 1);
    let written: String =
        prepared.input_ids.iter().map(|id| engine.handle().processor().token_text(*id)).collect();
    assert!(written.contains("<|begin_of_video|><|begin_of_image|><|image|>"), "{written}");
    assert!(written.contains("<|end_of_image|>0.0 seconds<|end_of_video|>ED and ES"), "{written}");
}

#[test]
fn callers_on_many_threads_get_the_same_answer() {
    let options = EngineOptions { determinism: Determinism::Exact, ..EngineOptions::default() };
    let engine = Engine::start(Checkpoint::open(fixtures().join("glm46v-v5")).unwrap(), options).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let handle = engine.handle();
                scope.spawn(move || {
                    let mut request = request(vec![Part::Image(picture(60, 90)), text("What?")]);
                    request.options.capture = Capture::Logits;
                    let answer = handle.generate(&request).unwrap();
                    (answer.text, answer.token_ids, answer.captured)
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn looping_answer_is_cut_off() {
    let engine = tiny();
    let mut request = request(vec![text("Say how uncertain you are.")]);
    request.options.max_new_tokens = 2000;
    request.options.repetition = RepetitionStop::Window(16);
    let answer = engine.handle().generate(&request).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Repetition);
    assert!(answer.generated_tokens() < 2000);
    assert!(RepetitionStop::Window(16).is_looping(&answer.token_ids));
}

#[test]
fn loop_is_a_block_repeated_over_the_whole_window() {
    let stop = RepetitionStop::Window(12);
    assert!(stop.is_looping(&[9, 9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]));
    assert!(!stop.is_looping(&[9, 9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 4]));
    assert!(!stop.is_looping(&[1; 11]));
    assert!(!stop.is_looping(&[1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]));
    assert!(!RepetitionStop::Off.is_looping(&[1; 100]));
}

#[test]
fn requests_that_cannot_be_answered_are_refused_by_type() {
    let engine = tiny();
    let handle = engine.handle();
    let refused = |request: &Request| handle.generate(request).unwrap_err();

    let forged = refused(&request(vec![text("hello <|image|>")]));
    assert!(
        matches!(forged, RequestError::ControlTokenInText { message: 0, ref token } if token == "<|image|>")
    );
    let forged = refused(&request(vec![text("<|endoftext|>")]));
    assert!(matches!(forged, RequestError::ControlTokenInText { .. }));

    let empty = refused(&request(vec![text("a"), Part::Image(RgbImage::new(0, 9))]));
    assert!(matches!(
        empty,
        RequestError::EmptyPicture { media: Media::Image, index: 0, width: 0, height: 9 }
    ));
    let narrow = refused(&request(vec![Part::Image(picture(28, 28)), Part::Image(picture(9000, 30))]));
    assert!(matches!(narrow, RequestError::AspectRatio { index: 1, width: 9000, .. }), "{narrow}");

    let mut nothing = request(vec![text("a")]);
    nothing.options.max_new_tokens = 0;
    assert!(matches!(refused(&nothing), RequestError::NothingToGenerate));
    nothing.options.max_new_tokens = usize::MAX;
    assert!(matches!(refused(&nothing), RequestError::TooLong { limit: 16384, .. }));
    let long = refused(&request(vec![text(&"lesion ".repeat(20_000))]));
    assert!(matches!(long, RequestError::TooLong { .. }));

    // After all these the engine still answers.
    handle.generate(&request(vec![text("a")])).unwrap();
}

#[test]
fn videos_without_sensible_times_are_refused() {
    let engine = tiny();
    let refused = |frames: Vec<RgbImage>, timing| {
        engine.handle().generate(&request(vec![Part::Video(Video { frames, timing })])).unwrap_err()
    };
    let four = || vec![picture(56, 56); 4];
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(four(), FrameTiming::Clip { fps }), RequestError::FrameTimes { .. }));
    }
    for seconds in [vec![0.0; 3], vec![0.0, 1.0, f64::NAN, 2.0], vec![-1.0; 4]] {
        assert!(matches!(refused(four(), FrameTiming::Chosen { seconds }), RequestError::FrameTimes { .. }));
    }
    let single = refused(vec![picture(56, 56)], FrameTiming::Chosen { seconds: vec![0.0] });
    assert!(matches!(single, RequestError::TooFewFrames { frames: 1, needed: 2, .. }));
    let short = refused(vec![picture(56, 56); 2], FrameTiming::Clip { fps: 200.0 });
    assert!(matches!(short, RequestError::TooFewFrames { frames: 0, .. }));
    let mut mixed = four();
    mixed[2] = picture(56, 57);
    let mixed = refused(mixed, FrameTiming::Chosen { seconds: vec![0.0; 4] });
    assert!(matches!(mixed, RequestError::FrameSize { frame: 2, .. }));
}

#[test]
fn images_and_videos_mix_in_one_prompt() {
    let engine = tiny();
    let video = Video {
        frames: vec![picture(56, 56); 5],
        timing: FrameTiming::Chosen { seconds: vec![0.0, 0.1, 0.2, 0.3, 0.4] },
    };
    let answer = engine
        .handle()
        .generate(&request(vec![
            Part::Image(picture(84, 56)),
            Part::Video(video),
            Part::Image(picture(56, 56)),
        ]))
        .unwrap();
    // 3 × 2 tokens, three groups of 2 × 2 (the fifth frame repeated), 2 × 2.
    assert_eq!(answer.vision_tokens, 6 + 3 * 4 + 4);
}

#[test]
fn template_that_fails_to_render_refuses_the_request() {
    let folder = copy_of(&fixtures().join("glm46v-v5"));
    for (template, part) in [
        ("{{ raise_exception('only user turns') }}", text("a")),
        ("{{ messages[0].content.nothing.more }}", text("a")),
        ("{{ messages | tojson(ensure_ascii=true) }}", text("a")),
    ] {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        let error = engine(folder.path()).handle().generate(&request(vec![part])).unwrap_err();
        assert!(matches!(error, RequestError::Template { .. }), "{template}: {error}");
    }
    std::fs::write(folder.path().join("chat_template.jinja"), "").unwrap();
    let error = engine(folder.path()).handle().generate(&request(vec![text("a")])).unwrap_err();
    assert!(matches!(error, RequestError::EmptyPrompt));
    // A template that forgets the picture.
    std::fs::write(folder.path().join("chat_template.jinja"), "[gMASK]<sop>").unwrap();
    let error =
        engine(folder.path()).handle().generate(&request(vec![Part::Image(picture(56, 56))])).unwrap_err();
    assert!(matches!(error, RequestError::Placeholders { media: Media::Image, given: 1, found: 0 }));
}

#[test]
fn damaged_weights_are_noticed_in_the_scores() {
    let folder = copy_of(&fixtures().join("glm4v-v4"));
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    // bf16 NaN over the last tensor's data.
    let end = bytes.len();
    bytes[end - 64..].copy_from_slice(&[0xff; 64]);
    std::fs::write(&path, bytes).unwrap();
    let error = engine(folder.path())
        .handle()
        .generate(&request(vec![Part::Image(picture(56, 56)), text("a")]))
        .unwrap_err();
    assert!(matches!(error, RequestError::LogitsNotFinite { step: 0 }), "{error}");
}

#[test]
fn stopped_engine_is_an_error_not_a_wait() {
    let engine = tiny();
    let handle = engine.handle();
    drop(engine);
    assert!(matches!(handle.generate(&request(vec![text("a")])), Err(RequestError::EngineGone)));
}
