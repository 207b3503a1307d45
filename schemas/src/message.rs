//! What makes a type a message: its topic, its version, its study.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::StudyHead;

/// The JSON Schema of a type that is written as a text of one pattern.
macro_rules! text_schema {
    ($type:ident, $pattern:expr, $description:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}
pub(crate) use text_schema;

/// A topic's fixed facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Base name with the major version, for example `study.acquired.v1`.
    pub name: &'static str,
    /// Major version; the `v1` of the name.
    pub major: u16,
    /// Minor version this build writes and reads closed.
    pub minor: u16,
}

impl Topic {
    /// The urgent lane of this topic.
    pub fn urgent(&self) -> String {
        format!("{}.urgent", self.name)
    }

    /// The dead-letter topic. It belongs to the base topic and serves both lanes.
    pub fn dead_letters(&self) -> String {
        format!("{}.dlq", self.name)
    }

    /// The CloudEvents `dataschema` of this version.
    pub fn dataschema(&self) -> String {
        let base = self.name.rsplit_once(".v").map_or(self.name, |(base, _)| base);
        format!("urn:prescreen:{base}:{}.{}", self.major, self.minor)
    }
}

/// A type bound to its topic and version.
pub trait Message:
    Serialize + DeserializeOwned + JsonSchema + Clone + std::fmt::Debug + Send + 'static
{
    /// Where it travels.
    const TOPIC: Topic;

    /// What it says of its study.
    fn study(&self) -> &StudyHead;
}

/// Walks the list of messages. Typed: whoever implements it is generic over the message.
pub trait MessageVisitor {
    /// Called once for each message.
    fn message<M: Message>(&mut self);
}

/// Why bytes are not a message of the type asked for. Never repeats the bytes.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or JSON of another shape.
    #[error("payload is not a {topic} message: {problem} at line {line}, column {column}")]
    Shape {
        /// The topic asked for.
        topic: &'static str,
        /// The class of problem, without any of the payload's text.
        problem: &'static str,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// A field that this minor version does not have.
    #[error(
        "payload of {topic} has {count} unknown field(s), the first at depth {depth}; minor version {minor} is closed"
    )]
    UnknownField {
        /// The topic asked for.
        topic: &'static str,
        /// The minor version declared.
        minor: u16,
        /// How many there are.
        count: usize,
        /// Nesting depth of the first one.
        depth: usize,
    },
    /// Another major version.
    #[error("payload of {topic} declares major version {found}; this build reads {expected}")]
    Major {
        /// The topic asked for.
        topic: &'static str,
        /// Declared.
        found: u16,
        /// Read by this build.
        expected: u16,
    },
}

/// Reads a message whose envelope declares version `major.minor`.
///
/// Closed for a minor version this build knows: an unknown field is an error. Open for a newer one.
pub fn decode<M: Message>(payload: &[u8], major: u16, minor: u16) -> Result<M, DecodeError> {
    let topic = M::TOPIC;
    if major != topic.major {
        return Err(DecodeError::Major { topic: topic.name, found: major, expected: topic.major });
    }
    let mut unknown = 0_usize;
    let mut first_depth = 0_usize;
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let message = serde_ignored::deserialize(&mut deserializer, |path| {
        if unknown == 0 {
            first_depth = path.to_string().matches('.').count() + 1;
        }
        unknown += 1;
    })
    .and_then(|message| deserializer.end().map(|()| message))
    .map_err(|error| DecodeError::Shape {
        topic: topic.name,
        problem: match error.classify() {
            serde_json::error::Category::Io => "unreadable",
            serde_json::error::Category::Syntax => "not JSON",
            serde_json::error::Category::Data => "a field is missing or has the wrong type or value",
            serde_json::error::Category::Eof => "it ends early",
        },
        line: error.line(),
        column: error.column(),
    })?;
    if unknown > 0 && minor <= topic.minor {
        return Err(DecodeError::UnknownField {
            topic: topic.name,
            minor,
            count: unknown,
            depth: first_depth,
        });
    }
    Ok(message)
}

/// Writes a message as compact JSON.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "message types are plain structs with string keys: serialisation cannot fail"
    )]
    serde_json::to_vec(message).expect("messages serialise")
}

/// The closed JSON Schema of a message (draft 2020-12), as committed in `topics/<topic>/schema.json`.
pub fn json_schema<M: Message>() -> String {
    let mut schema = schemars::schema_for!(M);
    schema.insert("$id".to_owned(), M::TOPIC.dataschema().into());
    // Of this order whether or not another crate of the build asks serde_json to keep the order of insertion.
    let mut value = schema.to_value();
    value.sort_all_objects();
    #[expect(clippy::expect_used, reason = "the schema was one before its keys were sorted")]
    let schema: schemars::Schema = value.try_into().expect("a schema");
    #[expect(clippy::expect_used, reason = "a schema is a tree of JSON values")]
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema serialises");
    text.push('\n');
    text
}
