//! Answers that can only be JSON of a given schema: before each token, those that lead nowhere are taken out.
//!
//! ```text
//! JSON Schema ─ compact separators, compiled once ─▶ Grammar ─ copied per request ─▶ Matcher
//!                                                               │  allowed tokens ─▶ scores of the others: never
//!                                                               └──◀ the chosen token; at the end of the JSON: stop
//! ```
//!
//! The schema language and what is supported of it are llguidance's. Between tokens no white space is allowed: else a model
//! could write blanks until its limit. A schema whose answers have no longest one is refused by [`longest_answer`]'s
//! callers, because an answer cut off at its limit is no JSON.

mod bound;

use std::fmt;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use tokenizers::Tokenizer as HfTokenizer;

pub use self::bound::{Unbounded, longest_answer};

/// Why a grammar cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The tokenizer's tokens are not bytes, so it is not known which of them may follow.
    #[error("tokenizer.json is not byte-level; answers cannot be held to a schema")]
    Tokenizer,
    /// The schema is none, or uses what is not supported.
    #[error("the JSON Schema cannot be used: {reason}")]
    Schema {
        /// Where and why, in the words of the grammar library.
        reason: String,
    },
    /// The answer is to begin with what no answer of the schema begins with, or is complete with it.
    #[error("the answer prefix is not the beginning of an answer of the schema")]
    Prefix,
}

/// A schema for answers, for one tokenizer. Dear to make (milliseconds for each kilobyte of schema), cheap to clone.
#[derive(Clone)]
pub struct Grammar {
    /// Before the first token of an answer.
    start: Arc<Matcher>,
    schema: Arc<Value>,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grammar").field(&self.schema).finish()
    }
}

impl Grammar {
    /// The schema as it was given.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// For an answer that begins with the tokens `prefix`.
    pub(crate) fn matcher(&self, prefix: &[u32]) -> Result<AnswerMatcher, GrammarError> {
        let mut matcher = self.start.deep_clone();
        for id in prefix {
            if matcher.is_stopped() || matcher.consume_token(*id).is_err() {
                return Err(GrammarError::Prefix);
            }
        }
        if matcher.is_stopped() { Err(GrammarError::Prefix) } else { Ok(AnswerMatcher(matcher)) }
    }
}

/// The tokens of one tokenizer by their bytes.
pub(crate) struct GrammarTokens {
    factory: Arc<ParserFactory>,
    /// Tokens of text and their bytes, in the order of these.
    by_text: Vec<(Vec<u8>, u32)>,
}

impl GrammarTokens {
    /// `vocabulary` is the number of scores that the model gives, which may exceed the tokenizer's.
    pub(crate) fn new(tokenizer: &HfTokenizer, vocabulary: usize, eos: u32) -> Result<Self, GrammarError> {
        let bytes = ByteLevel::new();
        let added = tokenizer.get_added_tokens_decoder();
        let mut words = vec![Vec::new(); vocabulary];
        for (token, id) in tokenizer.get_vocab(true) {
            let word = if added.contains_key(&id) {
                [&[TokTrie::SPECIAL_TOKEN_MARKER], token.as_bytes()].concat()
            } else {
                bytes.decode(&token).ok_or(GrammarError::Tokenizer)?
            };
            if let Some(place) = words.get_mut(id as usize) {
                *place = word;
            }
        }
        let is_text = |word: &[u8]| !word.is_empty() && !word.starts_with(&[TokTrie::SPECIAL_TOKEN_MARKER]);
        let mut by_text: Vec<(Vec<u8>, u32)> =
            words.iter().cloned().zip(0..).filter(|(word, _)| is_text(word)).collect();
        by_text.sort_unstable();
        let trie = TokTrie::from(&TokRxInfo::new(vocabulary as u32, eos), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|_| GrammarError::Tokenizer)?;
        factory.quiet();
        Ok(Self { factory: Arc::new(factory), by_text })
    }

    /// All tokens whose text begins with that of `id`, itself included.
    pub(crate) fn beginning_like(&self, id: u32) -> Vec<u32> {
        let Some((text, _)) = self.by_text.iter().find(|(_, other)| *other == id) else { return vec![id] };
        let first = self.by_text.partition_point(|(other, _)| other < text);
        self.by_text
            .iter()
            .skip(first)
            .take_while(|(other, _)| other.starts_with(text))
            .map(|(_, id)| *id)
            .collect()
    }

    /// A grammar for answers of `schema`.
    pub(crate) fn grammar(&self, schema: Value) -> Result<Grammar, GrammarError> {
        if !schema.is_object() {
            return Err(GrammarError::Schema { reason: "expected an object".to_owned() });
        }
        let mut compact = schema.clone();
        if let Value::Object(fields) = &mut compact {
            let separators =
                json!({"whitespace_flexible": false, "item_separator": ",", "key_separator": ":"});
            fields.insert("x-guidance".to_owned(), separators);
        }
        let parser = self
            .factory
            .create_parser(TopLevelGrammar::from_json_schema(compact))
            .map_err(|error| GrammarError::Schema { reason: error.to_string() })?;
        let grammar = Grammar { start: Arc::new(Matcher::new(Ok(parser))), schema: Arc::new(schema) };
        grammar.matcher(&[])?;
        Ok(grammar)
    }
}

/// How far one answer has come.
pub(crate) struct AnswerMatcher(Matcher);

/// The tokens that may come next.
pub(crate) struct Allowed(SimpleVob);

impl Allowed {
    /// Takes all others out: their scores become -∞.
    pub(crate) fn mask(&self, logits: &mut [f32]) {
        for (id, score) in (0..).zip(logits) {
            if !self.0.is_allowed(id) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

impl AnswerMatcher {
    pub(crate) fn allowed(&mut self) -> Result<Allowed, GrammarError> {
        let allowed = self.0.compute_mask_or_eos();
        allowed.map(Allowed).map_err(|error| GrammarError::Schema { reason: error.to_string() })
    }

    /// Notes the chosen token and says whether the answer is complete with it.
    pub(crate) fn accept(&mut self, id: u32) -> Result<bool, GrammarError> {
        let taken = self.0.consume_token(id);
        taken.map_err(|error| GrammarError::Schema { reason: error.to_string() })?;
        Ok(self.0.is_stopped())
    }
}

/// GPT-2's names of bytes: printable ones are themselves, the others are characters from U+0100 on.
struct ByteLevel(std::collections::HashMap<char, u8>);

impl ByteLevel {
    fn new() -> Self {
        let mut next = 0x100;
        let names = (0..=u8::MAX).filter_map(|byte| {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let name = if printable {
                char::from(byte)
            } else {
                next += 1;
                char::from_u32(next - 1)?
            };
            Some((name, byte))
        });
        Self(names.collect())
    }

    fn decode(&self, token: &str) -> Option<Vec<u8>> {
        token.chars().map(|name| self.0.get(&name).copied()).collect()
    }
}
