//! Answers held to a JSON Schema, from weights that know nothing.

use glm46v::{
    Checkpoint, Engine, EngineOptions, FinishReason, GenerateOptions, Grammar, GrammarError, Message, Prompt,
    RepetitionStop, Request, Role, Sampling, Thinking, longest_answer,
};
use serde_json::{Value, json};

use crate::support::untrained;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "view": {"enum": ["A4C", "A2C", "PLAX", "OTHER"]},
            "lvef": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, {"type": "null"}]},
            "findings": {"type": "array", "maxItems": 3, "items": {"enum": ["effusion", "none", "积液"]}},
            "note": {"type": "string", "maxLength": 8},
        },
        "required": ["view", "lvef", "findings", "note"],
        "additionalProperties": false,
    })
}

fn fits(answer: &Value) -> bool {
    let named =
        |field: &str, names: &[&str]| answer[field].as_str().is_some_and(|name| names.contains(&name));
    let lvef = &answer["lvef"];
    let findings = answer["findings"].as_array();
    answer.as_object().is_some_and(|fields| fields.len() == 4)
        && named("view", &["A4C", "A2C", "PLAX", "OTHER"])
        && (lvef.is_null() || lvef.as_i64().is_some_and(|lvef| (0..=100).contains(&lvef)))
        && findings.is_some_and(|all| {
            all.len() <= 3
                && all.iter().all(|one| ["effusion", "none", "积液"].contains(&one.as_str().unwrap_or("")))
        })
        && answer["note"].as_str().is_some_and(|note| note.chars().count() <= 8)
}

fn request(grammar: Grammar, seed: u64) -> Request {
    let prompt = Prompt {
        messages: vec![Message::text(Role::User, format!("Study {seed}: which view?"))],
        thinking: Thinking::Off,
    };
    let options = GenerateOptions {
        max_new_tokens: longest_answer(grammar.schema()).unwrap(),
        repetition: RepetitionStop::Off,
        sampling: Sampling::Random {
            temperature: 1.5,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            seed,
        },
        ..GenerateOptions::default()
    };
    Request { grammar: Some(grammar), ..Request::new(prompt, options) }
}

#[test]
fn a_thousand_answers_by_chance_are_json_of_the_schema() {
    let engine = Engine::start(
        Checkpoint::open(untrained()).unwrap(),
        EngineOptions { queue: 1000, running: 32, ..EngineOptions::default() },
    )
    .unwrap();
    let handle = engine.handle();
    let grammar = handle.processor().grammar(schema()).unwrap();
    let pending: Vec<_> =
        (0..1000).map(|seed| handle.submit(&request(grammar.clone(), seed)).unwrap()).collect();
    let mut texts = std::collections::BTreeSet::new();
    for pending in pending {
        let answer = pending.wait().unwrap();
        assert_eq!(answer.finish_reason, FinishReason::Stop);
        let json: Value =
            serde_json::from_str(&answer.text).unwrap_or_else(|e| panic!("{}: {e}", answer.text));
        assert!(fits(&json), "{}", answer.text);
        assert_eq!(json.to_string().len(), answer.text.len(), "white space in {}", answer.text);
        texts.insert(answer.text);
    }
    assert!(texts.len() > 500, "only {} different answers", texts.len());
}

#[test]
fn schema_that_cannot_be_used_is_refused_before_anything_is_asked() {
    let engine = Engine::start(Checkpoint::open(untrained()).unwrap(), EngineOptions::default()).unwrap();
    let processor_handle = engine.handle();
    for schema in [json!(true), json!({"type": "frame"}), json!({"type": "string", "pattern": "("})] {
        let refused = processor_handle.processor().grammar(schema.clone());
        assert!(matches!(refused, Err(GrammarError::Schema { .. })), "{schema}");
    }
}
