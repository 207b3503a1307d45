//! The schemas, held against the grammar library of the engine and against a JSON Schema validator: what a model can be
//! made to say is exactly what the stage reads.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::sync::LazyLock;

use inference::{FindingCode, Form};
use llguidance::{
    Matcher, ParserFactory,
    api::TopLevelGrammar,
    toktrie::{ApproximateTokEnv, TokEnv},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Makes matchers whose tokens are single bytes.
static FACTORY: LazyLock<ParserFactory> = LazyLock::new(|| {
    let env: TokEnv = ApproximateTokEnv::single_byte_env();
    let mut factory = ParserFactory::new_simple(&env).unwrap();
    factory.quiet();
    factory
});

/// The form's grammar as the engine makes it: no white space.
fn matcher(form: Form) -> Matcher {
    let mut schema: Value = serde_json::from_str(&form.schema()).unwrap();
    schema["x-guidance"] = json!({"whitespace_flexible": false, "item_separator": ",", "key_separator": ":"});
    Matcher::new(Ok(FACTORY.create_parser(TopLevelGrammar::from_json_schema(schema)).unwrap()))
}

/// The answer that `choices` lead to: at each byte one of those allowed.
fn walk(form: Form, choices: &[u8]) -> String {
    let mut matcher = matcher(form);
    let mut answer = Vec::new();
    let mut choices = choices.iter().cycle();
    while !matcher.is_stopped() {
        let allowed = matcher.compute_mask().unwrap();
        let bytes: Vec<u32> = (0..256).filter(|byte| allowed.is_allowed(*byte)).collect();
        if bytes.is_empty() {
            break;
        }
        // A word with one way on takes no choice.
        let index = if bytes.len() == 1 { 0 } else { usize::from(*choices.next().unwrap()) % bytes.len() };
        matcher.consume_token(bytes[index]).unwrap();
        answer.push(bytes[index] as u8);
    }
    String::from_utf8(answer).unwrap()
}

/// The compact text of the values that `form` has in order.
fn compact(form: Form, values: [Value; 4]) -> String {
    let fields: Vec<String> =
        form.keys().iter().zip(values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn accepts(form: Form, text: &str) -> bool {
    let mut matcher = matcher(form);
    text.bytes().all(|byte| matcher.consume_token(u32::from(byte)).is_ok())
        && matcher.is_accepting().unwrap_or(false)
}

#[test]
fn the_schema_is_as_long_as_it_says_and_its_keys_stand_in_order() {
    for form in Form::ALL {
        let schema: Value = serde_json::from_str(&form.schema()).unwrap();
        // The text, not the parsed object: a map may sort its keys, the engine reads the text in order.
        let properties = form.schema().split_once("\"properties\":").unwrap().1.to_owned();
        let places: Vec<usize> =
            form.keys().iter().map(|key| properties.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{form:?}: {places:?}");
        let longest = form.keys().map(|key| {
            let field = &schema["properties"][key];
            let values = match &field["enum"] {
                Value::Array(values) => values.clone(),
                _ => (0..=100).map(Value::from).chain([Value::Null]).collect(),
            };
            values.into_iter().max_by_key(|value| value.to_string().len()).unwrap()
        });
        let longest = compact(form, longest);
        assert_eq!(longest.len(), form.longest_answer());
        assert!(accepts(form, &longest), "{longest}");
        assert!(form.parse(&longest).is_ok(), "{longest}");
    }
}

#[test]
fn the_model_is_held_to_what_can_be_read() {
    let wrong = [
        r#"{"view": null,"quality":"good","lvef_percent":57,"findings":[]}"#,
        r#"{"quality":"good","view":null,"lvef_percent":57,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":101,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":057,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":-0,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57.0,"findings":[]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["CANCER"]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["LV_DILATED","LV_DILATED"]}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":[],"note":1}"#,
        r#"{"view":null,"quality":"good","lvef_percent":57}"#,
    ];
    for text in wrong {
        assert!(!accepts(Form::Echo, text), "{text}");
    }
    assert!(accepts(
        Form::Echo,
        r#"{"view":null,"quality":"good","lvef_percent":57,"findings":["LV_DILATED"]}"#
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever a model would like to say, held to the schema it says something that is read, within the length.
    #[test]
    fn all_that_a_held_model_can_say_is_read(choices in prop::collection::vec(any::<u8>(), 1..24)) {
        for form in Form::ALL {
            let text = walk(form, &choices);
            prop_assert!(form.parse(&text).is_ok(), "{}", text);
            prop_assert!(text.len() <= form.longest_answer(), "{}", text);
        }
    }

    /// What is read of echo fits the schema once it stands compactly and in order; what does not fit is not read.
    #[test]
    fn what_is_read_fits_the_schema(
        view in prop::sample::select(vec![json!("A4C"), json!("A2C"), json!("OTHER"), json!("a4c"), Value::Null, json!(1)]),
        quality in prop::sample::select(vec![json!("good"), json!("poor"), json!("Good"), Value::Null]),
        lvef in prop_oneof![(-2_i32..130).prop_map(Value::from), Just(Value::Null), Just(json!(52.5)), Just(json!("52"))],
        findings in prop::sample::subsequence(FindingCode::ALL.to_vec(), 0..=8),
        stranger in prop::option::weighted(0.2, Just("LV_DILATED")),
    ) {
        static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
            jsonschema::validator_for(&serde_json::from_str(&Form::Echo.schema()).unwrap()).unwrap()
        });
        let codes: Vec<String> = findings.iter().map(|finding| finding.code().to_string()).collect();
        let codes: Vec<String> = codes.into_iter().chain(stranger.map(str::to_owned)).collect();
        let in_order = codes.iter().filter(|code| *code == "LV_DILATED").count() <= 1
            && (stranger.is_none() || codes.len() == 1);
        let text = compact(Form::Echo, [view, quality, lvef, codes.into()]);
        let fits = VALIDATOR.is_valid(&serde_json::from_str(&text).unwrap());
        let read = Form::Echo.parse(&text);
        prop_assert!(!fits || read.is_ok(), "{}", text);
        prop_assert!(fits || !in_order || read.is_err(), "{}", text);
        if fits {
            prop_assert!(accepts(Form::Echo, &text), "{}", text);
        }
    }
}
