//! Which answers are believed, and what the study's answer is made of.

use std::sync::Arc;

use inference::{AbstentionReason, Config, FindingCode};
use schemas::{Area, BlobRef, FinishReason, Inference, Quality, View};
use stage::{Blobs as _, StageError, testing::MemoryBlobs};

use crate::world::{
    GOOD, Reply, Scripted, abstention, answer_of, answered, beats, config, one_beat, outcome_of, picture,
};

#[test]
fn a_well_formed_answer_is_taken_as_it_is() {
    let blobs = MemoryBlobs::default();
    let found = answer_of(&Scripted::saying(GOOD), &config(), &one_beat(&blobs), &blobs);
    let (answer, evidence) = answered(&found);
    assert_eq!(answer.view, Some(View::A4C));
    assert_eq!(answer.quality, Quality::Good);
    assert_eq!(answer.lvef_percent, Some(57));
    assert_eq!(answer.findings[0].code, FindingCode::LvDilated.code());
    assert_eq!((evidence.askings, evidence.agreeing), (1, 1));
    let stats = found.generation.unwrap();
    assert_eq!((stats.prompt_tokens, stats.vision_tokens, stats.generated_tokens), (10, 4, 3));
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
        let model = Scripted::saying(text);
        let found = answer_of(&model, &config(), &input, &blobs);
        assert_eq!(abstention(&found), "ANSWER_UNPARSABLE", "{text}");
        assert!(found.generation.is_some());
        assert!(model.scorings().is_empty());
    }
}

#[test]
fn an_answer_that_did_not_end_by_itself_is_not_believed() {
    let blobs = MemoryBlobs::default();
    let input = one_beat(&blobs);
    for (finish_reason, code) in
        [(FinishReason::Length, "ANSWER_TRUNCATED"), (FinishReason::Repetition, "REPETITION")]
    {
        let model = Arc::new(Scripted::new(Reply { finish_reason, ..Reply::new(GOOD) }));
        let found = answer_of(&model, &config(), &input, &blobs);
        assert_eq!(abstention(&found), code);
        assert_eq!(found.generation.unwrap().finish_reason, finish_reason);
    }
}

#[test]
fn up_to_half_of_the_answers_may_be_missing_and_then_the_worst_reason_names_the_abstention() {
    let blobs = MemoryBlobs::default();
    let input = beats(&blobs, &[10, 20, 30, 40]);
    let cut = Reply { finish_reason: FinishReason::Length, ..Reply::new(GOOD) };
    let loops = Reply { finish_reason: FinishReason::Repetition, ..Reply::new(GOOD) };
    let good = || Reply::echo("A4C", Some(55));

    let half = Scripted::of_each([(10, good()), (20, cut.clone()), (30, Reply::new("?")), (40, good())]);
    let found = answer_of(&half, &config(), &input, &blobs);
    let (answer, evidence) = answered(&found);
    assert_eq!(answer.lvef_percent, Some(55));
    assert_eq!((evidence.askings, evidence.agreeing), (4, 2));
    assert_eq!(evidence.ef.as_ref().unwrap().samples.len(), 2);
    let stats = found.generation.unwrap();
    assert_eq!((stats.prompt_tokens, stats.finish_reason), (40, FinishReason::Length));

    let most = Scripted::of_each([(10, good()), (20, Reply::new("?")), (30, loops), (40, cut)]);
    assert_eq!(abstention(&answer_of(&most, &config(), &input, &blobs)), "REPETITION");
}

#[test]
fn each_entry_is_decided_by_majority_and_of_equals_the_earlier_is_taken() {
    let blobs = MemoryBlobs::default();
    let text = |view: &str, quality: &str, findings: &str| {
        Reply::new(&format!(
            r#"{{"view":{view},"quality":"{quality}","lvef_percent":57,"findings":[{findings}]}}"#
        ))
    };
    let model = Scripted::of_each([
        (10, text(r#""A2C""#, "fair", r#""RV_DILATED","LV_DILATED""#)),
        (20, text(r#""A4C""#, "good", r#""LV_DILATED","LA_DILATED""#)),
        (30, text(r#""A4C""#, "good", r#""LV_DILATED""#)),
        (40, text("null", "poor", "")),
    ]);
    let of = |levels: &[u8]| answer_of(&model, &config(), &beats(&blobs, levels), &blobs);
    let found = of(&[10, 20, 30]);
    let (answer, evidence) = answered(&found);
    assert_eq!((answer.view, answer.quality), (Some(View::A4C), Quality::Good));
    assert_eq!(answer.findings.len(), 1);
    assert_eq!(answer.findings[0].code, FindingCode::LvDilated.code());
    assert_eq!((evidence.askings, evidence.agreeing), (3, 2));

    let found = of(&[10, 40]);
    let (answer, evidence) = answered(&found);
    assert_eq!((answer.view, answer.quality), (Some(View::A2C), Quality::Fair));
    // In the order of the form, whatever order the model chose.
    let codes: Vec<_> = answer.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["LV_DILATED", "RV_DILATED"]);
    assert_eq!(evidence.agreeing, 1);
    assert_eq!(answered(&of(&[40, 10])).0.view, None);
}

#[test]
fn an_untrained_model_is_asked_once_and_never_believed() {
    let blobs = MemoryBlobs::default();
    let mut model = Scripted::new(Reply::new(GOOD));
    model.identity.untrained = true;
    let model = Arc::new(model);
    let found = answer_of(&model, &config(), &beats(&blobs, &[10, 20]), &blobs);
    assert_eq!(abstention(&found), "MODEL_UNTRAINED");
    assert_eq!(found.generation.unwrap().prompt_tokens, 10);
    // Once in each of the harness's three runs.
    assert_eq!(model.questions().len(), 3);
    assert!(model.scorings().is_empty());
}

#[test]
fn a_model_of_phantoms_is_not_asked_about_a_patient() {
    let blobs = MemoryBlobs::default();
    let mut input = one_beat(&blobs);
    let mut model = Scripted::new(Reply::new(GOOD));
    model.identity.synthetic_only = true;
    let model = Arc::new(model);
    let found = answer_of(&model, &config(), &input, &blobs);
    assert_eq!(abstention(&found), "MODEL_SYNTHETIC_ONLY");
    assert_eq!(found.generation, None);
    assert!(model.questions().is_empty());
    let allowed = Config { allow_demo_model: true, ..config() };
    let demo = answer_of(&model, &allowed, &input, &blobs);
    assert!(matches!(demo.inference, Inference::Answer(_)));
    assert_ne!(demo.fingerprint, found.fingerprint);
    input.study.synthetic = true;
    assert!(matches!(answer_of(&model, &config(), &input, &blobs).inference, Inference::Answer(_)));
}

#[test]
fn a_missing_changed_or_unreadable_picture_is_invalid() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::saying(GOOD);
    let good = one_beat(&blobs);
    let absent = BlobRef::of(Area::Frames, b"never stored");
    let no_png = blobs.put(Area::Frames, b"not a picture").unwrap();
    let changed = picture(&blobs, [6, 4], 77);
    blobs.corrupt(&changed, b"rotten".to_vec());
    for image in [absent, no_png, changed] {
        let mut input = good.clone();
        input.clips[0].keyframes[1].image = image;
        let outcome = outcome_of(&model, &config(), &input, &blobs);
        assert!(matches!(outcome, Err(StageError::Invalid(_))), "{outcome:?}");
    }
    assert!(model.questions().is_empty());
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
        for form in inference::Form::ALL {
            proptest::prop_assert!(form.parse(&text).is_err());
        }
        let number = lvef.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let form = format!(r#" {{"lvef_percent":{number},"view":null,"findings":[],"quality":"poor"}} "#);
        match inference::Form::Echo.parse(&form) {
            Ok(answer) => proptest::prop_assert_eq!(answer.lvef_percent.map(u16::from), lvef),
            Err(_) => proptest::prop_assert!(lvef.is_some_and(|value| value > 100)),
        }
    }
}
