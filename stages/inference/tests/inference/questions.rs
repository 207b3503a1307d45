//! Which questions are asked.

use inference::{Config, Form, Variation};
use schemas::{KeyframeKind, View};
use stage::{Picture, Stage as _, StageError, testing::MemoryBlobs};

use crate::world::{
    GOOD, Reply, Scripted, answer_of, answered, beat, beats, build, clip, config, first_picture, keyframe,
    one_beat, outcome_of, picture, study,
};

fn levels_asked(model: &Scripted) -> Vec<u8> {
    let questions = model.questions();
    // The harness runs the stage three times; the first third is one run.
    questions[..questions.len() / 3].iter().map(|question| first_picture(question).rgb[0]).collect()
}

#[test]
fn the_question_shows_one_beat_and_nothing_of_the_header() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::saying(GOOD);
    answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    let question = &model.questions()[0];
    let [Picture::Still(ed), Picture::Still(es)] = question.pictures.as_slice() else {
        panic!("{:?}", question.pictures)
    };
    assert_eq!((ed.width, ed.height), (6, 4));
    assert!(ed.rgb.iter().all(|level| *level == 30) && es.rgb.iter().all(|level| *level == 31));
    assert!(question.prompt.contains("\n\n1. ED\n2. ES\n\n"), "{}", question.prompt);
    assert!(!question.prompt.contains("clip 1"));
    assert!(question.system.as_deref().unwrap().starts_with("You look at pictures of one heartbeat"));
    assert_eq!(question.answer_prefix, "");
    assert_eq!(question.schema.as_deref(), Some(Form::Echo.schema().as_str()));
    assert_eq!(question.max_new_tokens, 256);
    // The prompt is the same whatever view the device names.
    let mut other = one_beat(&blobs);
    other.clips[0].view = Some(View::PLAX);
    let second = Scripted::saying(GOOD);
    answer_of(&second, &config(), &other, &blobs);
    assert_eq!(second.questions()[0], *question);
}

#[test]
fn a_model_that_wants_beats_gets_a_video_of_two_frames() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::of_beats(Reply::new(GOOD));
    answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    let question = &model.questions()[0];
    let [Picture::Beat([ed, es])] = question.pictures.as_slice() else { panic!("{:?}", question.pictures) };
    assert_eq!((ed.rgb[0], es.rgb[0]), (30, 31));
    assert!(question.prompt.contains("\n\n1. ED and ES\n\n"), "{}", question.prompt);

    let mut uneven = one_beat(&blobs);
    uneven.clips[0].keyframes[1].image = picture(&blobs, [6, 5], 9);
    let Err(StageError::Invalid(reason)) = outcome_of(&model, &config(), &uneven, &blobs) else {
        panic!("frames of unequal size were shown as one video")
    };
    assert!(reason.to_string().contains("6x4 pixels and an end-systolic one of 6x5"), "{reason}");
    // As stills they are two pictures of their own.
    answered(&answer_of(&Scripted::saying(GOOD), &config(), &uneven, &blobs));
}

#[test]
fn every_clip_is_asked_about_its_best_beat_before_any_about_its_second() {
    let blobs = MemoryBlobs::default();
    let mut first = [beat(&blobs, 1, 10, 0.5), beat(&blobs, 2, 20, 0.6)].concat();
    // A beat with one phase says nothing about an ejection fraction, however certain it is.
    first.push(keyframe(&blobs, KeyframeKind::ED, 30, 3, 1.0));
    // Of two frames of one phase the more certain one.
    first.push(keyframe(&blobs, KeyframeKind::ED, 40, 2, 0.7));
    let second = beat(&blobs, 1, 50, 0.1);
    let input = study(vec![clip(1, None, first), clip(2, None, second)]);
    for (most, levels) in [(5, vec![40, 50, 10]), (2, vec![40, 50]), (1, vec![40])] {
        let model = Scripted::saying(GOOD);
        let found = answer_of(&model, &Config { beats: most, ..config() }, &input, &blobs);
        assert_eq!(levels_asked(&model), levels);
        let samples = &answered(&found).1.ef.as_ref().unwrap().samples;
        let named: Vec<_> = samples.iter().map(|sample| (sample.asked.clip, sample.asked.beat)).collect();
        assert_eq!(named, [(0, 2), (1, 1), (0, 1)][..levels.len()]);
    }
}

#[test]
fn the_budget_goes_to_beats_before_variations_of_them() {
    let blobs = MemoryBlobs::default();
    let input = beats(&blobs, &[40, 80, 120]);
    let variations = vec![Variation::Original, Variation::GainUp, Variation::GainDown];
    for (askings, levels) in [
        (2, vec![40, 80]),
        (4, vec![40, 53, 80, 120]),
        (7, vec![40, 53, 27, 80, 93, 120, 133]),
        (80, vec![40, 53, 27, 80, 93, 67, 120, 133, 107]),
    ] {
        let model = Scripted::saying(GOOD);
        let config = Config { askings, variations: variations.clone(), ..config() };
        let found = answer_of(&model, &config, &input, &blobs);
        assert_eq!(levels_asked(&model), levels);
        assert_eq!(answered(&found).1.askings as usize, levels.len());
    }
}

#[test]
fn numbers_are_scored_after_the_model_s_own_view_and_quality() {
    let blobs = MemoryBlobs::default();
    let text = r#" {"view":null, "quality":"fair","lvef_percent":57,"findings":[]} "#;
    let model = Scripted::saying(text);
    answer_of(&model, &config(), &one_beat(&blobs), &blobs);
    let (request, continuations) = &model.scorings()[0];
    assert_eq!(request.answer_prefix, r#"{"view":null,"quality":"fair","lvef_percent":"#);
    assert_eq!(request.pictures, model.questions()[0].pictures);
    assert_eq!(request.prompt, model.questions()[0].prompt);
    assert_eq!(continuations.len(), 102);
    assert_eq!((continuations[0].as_str(), continuations[100].as_str()), ("0,", "100,"));
    assert_eq!(continuations[101], "null,");
    // Prefix and continuation are the beginning of an answer that is read.
    for continuation in continuations {
        let whole = format!("{}{continuation}\"findings\":[]}}", request.answer_prefix);
        assert!(Form::Echo.parse(&whole).is_ok(), "{whole}");
    }
}

#[test]
fn without_a_beat_or_a_form_nothing_is_asked() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::saying(GOOD);
    let mut unknown = one_beat(&blobs);
    unknown.study.domain = schemas::Domain::Unknown;
    let single = vec![keyframe(&blobs, KeyframeKind::ED, 1, 1, 1.0)];
    let apart =
        vec![keyframe(&blobs, KeyframeKind::ED, 1, 1, 1.0), keyframe(&blobs, KeyframeKind::ES, 2, 2, 1.0)];
    let tile = vec![keyframe(&blobs, KeyframeKind::Tile, 1, 1, 1.0)];
    let mut no_tile = one_beat(&blobs);
    no_tile.study.domain = schemas::Domain::Pathology;
    for (input, code) in [
        (unknown, "DOMAIN_NOT_SUPPORTED"),
        (study(vec![]), "NO_KEYFRAMES"),
        (study(vec![clip(1, None, vec![])]), "NO_KEYFRAMES"),
        (study(vec![clip(1, None, single)]), "NO_KEYFRAMES"),
        (study(vec![clip(1, None, apart)]), "NO_KEYFRAMES"),
        (study(vec![clip(1, None, tile)]), "NO_KEYFRAMES"),
        (no_tile, "NO_KEYFRAMES"),
    ] {
        let found = answer_of(&model, &config(), &input, &blobs);
        assert_eq!(crate::world::abstention(&found), code);
        assert_eq!(found.generation, None);
        assert!(build(&model, config()).memo_key(&input).is_none());
    }
    assert!(model.questions().is_empty());
}
