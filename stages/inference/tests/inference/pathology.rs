//! Tiles.

use inference::{Artefact, Config, Form, Nuclei, Tissue};
use schemas::Quality;
use stage::{Picture, testing::MemoryBlobs};

use crate::world::{Reply, Scripted, TILE, abstention, answer_of, answered, config, picture, tiles};

fn reply(tissue: &str, artefact: &str) -> Reply {
    let text = format!(r#"{{"tissue":{tissue},"nuclei":"high","artefact":{artefact},"quality":"good"}}"#);
    Reply { scores: None, ..Reply::new(&text) }
}

#[test]
fn a_tile_is_asked_about_by_itself_and_its_form_becomes_codes() {
    let blobs = MemoryBlobs::default();
    // A tile is a still whatever the model wants of beats.
    let model = Scripted::of_beats(Reply::new(TILE));
    let found = answer_of(&model, &config(), &tiles(&blobs, &[10, 20]), &blobs);
    let (answer, evidence) = answered(&found);
    assert_eq!((answer.view, answer.lvef_percent, answer.quality), (None, None, Quality::Good));
    let codes: Vec<_> = answer.findings.iter().map(|finding| finding.code.clone()).collect();
    assert_eq!(codes, [Tissue::Glandular.code(), Nuclei::High.code()]);
    assert_eq!((evidence.askings, evidence.agreeing), (2, 2));
    assert_eq!((evidence.semantic_entropy, evidence.ef.as_ref()), (0.0, None));
    let question = &model.questions()[0];
    assert!(matches!(question.pictures.as_slice(), [Picture::Still(tile)] if tile.rgb[0] == 10));
    assert!(question.prompt.contains("\n\n1. tile\n\n"), "{}", question.prompt);
    assert_eq!(question.schema.as_deref(), Some(Form::Pathology.schema().as_str()));
    // There is no number to score.
    assert!(model.scorings().is_empty());
}

#[test]
fn the_tile_shown_is_the_one_with_its_stains_brought_to_the_reference() {
    let blobs = MemoryBlobs::default();
    let mut input = tiles(&blobs, &[10, 20]);
    input.clips[0].keyframes[1].normalised = Some(picture(&blobs, [6, 4], 99));
    let model = Scripted::saying(TILE);
    answer_of(&model, &Config { tiles: 2, ..config() }, &input, &blobs);
    let shown: Vec<u8> =
        model.questions()[..2].iter().map(|question| crate::world::first_picture(question).rgb[0]).collect();
    assert_eq!(shown, [10, 99]);
}

#[test]
fn words_that_exclude_each_other_are_decided_together() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::of_each([
        (10, reply(r#""stromal""#, "null")),
        (20, reply(r#""glandular""#, r#""pen""#)),
        (30, reply(r#""glandular""#, r#""fold""#)),
        (40, reply("null", r#""pen""#)),
    ]);
    let found = answer_of(&model, &config(), &tiles(&blobs, &[10, 20, 30, 40]), &blobs);
    let (answer, evidence) = answered(&found);
    let codes: Vec<_> = answer.findings.iter().map(|finding| finding.code.clone()).collect();
    assert_eq!(codes, [Tissue::Glandular.code(), Nuclei::High.code(), Artefact::Pen.code()]);
    // Four askings, four different sets of findings; one of them is that of the answer.
    assert!((evidence.semantic_entropy - 1.0).abs() < 1e-12);
    assert_eq!(evidence.agreeing, 1);
    // At most one code of each kind, and more codes than a group means none is named twice.
    let all = Form::Pathology.codes();
    assert_eq!(all.len(), Tissue::ALL.len() + Nuclei::ALL.len() + Artefact::ALL.len());
}

#[test]
fn the_other_form_is_no_answer() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::saying(crate::world::GOOD);
    assert_eq!(abstention(&answer_of(&model, &config(), &tiles(&blobs, &[10]), &blobs)), "ANSWER_UNPARSABLE");
    for text in [
        r#"{"tissue":"glandular","nuclei":"high","artefact":null}"#,
        r#"{"tissue":"glandular","nuclei":null,"artefact":null,"quality":"good"}"#,
        r#"{"tissue":"Glandular","nuclei":"high","artefact":null,"quality":"good"}"#,
        r#"{"nuclei":"high","artefact":null,"quality":"good"}"#,
        r#"{"tissue":"glandular","nuclei":"high","artefact":["pen"],"quality":"good"}"#,
    ] {
        assert!(Form::Pathology.parse(text).is_err(), "{text}");
    }
}
