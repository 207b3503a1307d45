//! What the stage is built from, and what its fingerprint follows.

use std::sync::Arc;

use inference::{Config, FindingCode, Form, InferenceStage, PromptConfig, PromptsConfig, Variation};
use schemas::{Digest, Revision};
use stage::{Stage as _, testing::MemoryBlobs};

use crate::world::{
    ECHO_EN, ECHO_ZH, GOOD, PATHOLOGY_EN, PATHOLOGY_ZH, Reply, Scripted, answer_of, build, config, one_beat,
    services,
};

fn with_echo(id: &str, text: &str) -> Config {
    let echo = PromptConfig { id: id.into(), text: text.into() };
    Config { prompts: PromptsConfig { echo, ..config().prompts }, ..config() }
}

fn with_pathology(id: &str, text: &str) -> Config {
    let pathology = PromptConfig { id: id.into(), text: text.into() };
    Config { prompts: PromptsConfig { pathology, ..config().prompts }, ..config() }
}

#[test]
fn fingerprint_and_memo_key_follow_what_decides_the_answer() {
    let blobs = MemoryBlobs::default();
    let model = Scripted::saying(GOOD);
    let input = one_beat(&blobs);
    let base = answer_of(&model, &config(), &input, &blobs).fingerprint;
    let key = build(&model, config()).memo_key(&input).unwrap();
    assert_eq!(build(&model, config()).memo_key(&input), Some(key));

    let others = [
        Config { max_new_tokens: 255, ..config() },
        Config { beats: 2, ..config() },
        Config { tiles: 2, ..config() },
        Config { askings: 2, ..config() },
        Config { allow_demo_model: true, ..config() },
        Config { variations: vec![Variation::Original, Variation::Crop], ..config() },
        with_echo("echo.en", &format!("{ECHO_EN} ")),
        with_echo("echo.en.2", ECHO_EN),
        with_pathology("pathology.zh", PATHOLOGY_ZH),
    ];
    for other in others {
        assert_ne!(answer_of(&model, &other, &input, &blobs).fingerprint, base, "{other:?}");
        assert_ne!(build(&model, other).memo_key(&input), Some(key));
    }
    let mut weights = Scripted::new(Reply::new(GOOD));
    weights.identity.digest = Digest::of(b"other weights");
    assert_ne!(answer_of(&Arc::new(weights), &config(), &input, &blobs).fingerprint, base);
    let video = Scripted::of_beats(Reply::new(GOOD));
    assert_ne!(answer_of(&video, &config(), &input, &blobs).fingerprint, base);

    let mut revised = input.clone();
    revised.study.revision = Revision(2);
    assert_ne!(build(&model, config()).memo_key(&revised), Some(key));
    assert_eq!(answer_of(&model, &config(), &revised, &blobs).fingerprint, base);
}

#[test]
fn configuration_out_of_bounds_is_refused_by_its_key() {
    let services = services(&Scripted::saying(GOOD));
    let short = u32::try_from(Form::Echo.longest_answer() - 1).unwrap();
    let variations = |variations: &[Variation]| Config { variations: variations.to_vec(), ..config() };
    let wrong = [
        (Config { max_new_tokens: 0, ..config() }, "max_new_tokens"),
        (Config { max_new_tokens: short, ..config() }, "max_new_tokens"),
        (Config { max_new_tokens: 4097, ..config() }, "max_new_tokens"),
        (Config { beats: 0, ..config() }, "beats"),
        (Config { beats: 6, ..config() }, "beats"),
        (Config { tiles: 0, ..config() }, "tiles"),
        (Config { tiles: 17, ..config() }, "tiles"),
        (Config { askings: 0, ..config() }, "askings"),
        (Config { askings: 81, ..config() }, "askings"),
        (variations(&[]), "variations"),
        (variations(&[Variation::Crop]), "variations"),
        (variations(&[Variation::Original, Variation::Crop, Variation::Crop]), "variations"),
        (with_echo("", ECHO_EN), "prompts.echo.id"),
        (with_echo("p", ""), "prompts.echo.text"),
        (with_echo("p", "{pictures}"), "prompts.echo.text"),
        (with_echo("p", "# user\nno place for pictures"), "prompts.echo.text"),
        (with_echo("p", &ECHO_EN.replace("{pictures}", "{pictures} {pictures}")), "prompts.echo.text"),
        (with_echo("p", &format!("stray\n{ECHO_EN}")), "prompts.echo.text"),
        (with_echo("p", &format!("{ECHO_EN}{}", "x".repeat(20_000))), "prompts.echo.text"),
        // The prompt of the other form.
        (with_echo("p", PATHOLOGY_EN), "prompts.echo.text"),
        (with_pathology("p", ECHO_EN), "prompts.pathology.text"),
        (with_pathology("", PATHOLOGY_EN), "prompts.pathology.id"),
    ];
    for (config, key) in wrong {
        let error = InferenceStage::build(config, &services).err().unwrap();
        assert_eq!(error.key, key, "{error}");
    }
    let longest = Config { max_new_tokens: short + 1, ..config() };
    assert!(InferenceStage::build(longest, &services).is_ok());
}

#[test]
fn the_prompts_shipped_are_usable_and_list_every_word_of_their_form() {
    let services = services(&Scripted::saying(GOOD));
    for (echo, pathology) in [(ECHO_EN, PATHOLOGY_EN), (ECHO_ZH, PATHOLOGY_ZH)] {
        InferenceStage::build(with_echo("echo", echo), &services).unwrap();
        InferenceStage::build(with_pathology("pathology", pathology), &services).unwrap();
        for (form, text) in [(Form::Echo, echo), (Form::Pathology, pathology)] {
            // The example of the form is an answer, in compact form.
            let example = text.trim_end().lines().last().unwrap();
            assert!(form.parse(example).is_ok() && !example.contains(' '), "{example}");
            assert!(example.len() <= form.longest_answer());
        }
        for finding in FindingCode::ALL {
            assert!(echo.contains(&format!("\"{}\"", finding.code())), "no {}", finding.code());
        }
        for word in inference::Tissue::ALL
            .map(inference::Tissue::word)
            .iter()
            .chain(&inference::Nuclei::ALL.map(inference::Nuclei::word))
            .chain(&inference::Artefact::ALL.map(inference::Artefact::word))
        {
            assert!(pathology.contains(&format!("\"{word}\"")), "no {word}");
        }
    }
}
