//! Text to ids and back, with the checkpoint's `tokenizer.json`.

use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::Tokenizer as HfTokenizer;

use crate::checkpoint::TokenizerFile;
use crate::config::ModelConfig;
use crate::error::{LoadError, RequestError};
use crate::grammar::{Grammar, GrammarError, GrammarTokens};

/// The placeholder of a picture, as processors and templates write it.
pub(crate) const IMAGE: &str = "<|image|>";
/// The placeholder of a whole video.
pub(crate) const VIDEO: &str = "<|video|>";
/// Around a picture or a frame group.
pub(crate) const BEGIN_OF_IMAGE: &str = "<|begin_of_image|>";
pub(crate) const END_OF_IMAGE: &str = "<|end_of_image|>";

/// The tokenizer, checked against the configuration.
pub(crate) struct Tokenizer {
    inner: HfTokenizer,
    control: Vec<String>,
    /// Scores that the model gives, and one of the ids that end an answer.
    vocabulary: (usize, u32),
    /// Made when the first request needs them: 150 000 tokens take a second, and many engines never see a grammar.
    grammar_tokens: OnceLock<Result<GrammarTokens, GrammarError>>,
}

impl Tokenizer {
    pub(crate) fn parse(file: &TokenizerFile, config: &ModelConfig) -> Result<Self, LoadError> {
        let inner = HfTokenizer::from_bytes(&file.bytes)
            .map_err(|source| LoadError::Tokenizer { path: file.path.clone(), source })?;
        let id = |token: &'static str| inner.token_to_id(token).ok_or(LoadError::TokenMissing { token });
        for (field, token, config_id) in [
            ("image_token_id", IMAGE, config.image_token_id),
            ("video_token_id", VIDEO, config.video_token_id),
        ] {
            let tokenizer_id = id(token)?;
            if tokenizer_id != config_id {
                return Err(LoadError::TokenId { field, token, config_id, tokenizer_id });
            }
        }
        id(BEGIN_OF_IMAGE)?;
        id(END_OF_IMAGE)?;
        let largest_id = inner.get_vocab(true).into_values().max().unwrap_or(0);
        if largest_id as usize >= config.text.vocab_size {
            return Err(LoadError::VocabularyTooSmall { largest_id, vocab_size: config.text.vocab_size });
        }
        let control = inner
            .get_added_tokens_decoder()
            .into_values()
            .filter(|token| token.special && !token.content.is_empty())
            .map(|token| token.content)
            .collect();
        let eos = config.eos_token_ids.first().copied().unwrap_or_default();
        let vocabulary = (config.text.vocab_size, eos);
        Ok(Self { inner, control, vocabulary, grammar_tokens: OnceLock::new() })
    }

    /// A tokenizer that grammars cannot work with is still good for everything else.
    fn grammar_tokens(&self) -> Result<&GrammarTokens, GrammarError> {
        let (vocabulary, eos) = self.vocabulary;
        let tokens = self.grammar_tokens.get_or_init(|| GrammarTokens::new(&self.inner, vocabulary, eos));
        tokens.as_ref().map_err(Clone::clone)
    }

    /// A grammar for answers that fit a JSON Schema.
    pub(crate) fn grammar(&self, schema: Value) -> Result<Grammar, GrammarError> {
        self.grammar_tokens()?.grammar(schema)
    }

    /// All tokens whose text begins with that of `id`, itself included.
    pub(crate) fn beginning_like(&self, id: u32) -> Result<Vec<u32>, GrammarError> {
        Ok(self.grammar_tokens()?.beginning_like(id))
    }

    /// Ids of a rendered prompt, whose control tokens become single ids.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<u32>, RequestError> {
        match self.inner.encode_fast(prompt, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(source) => Err(RequestError::Encode { source }),
        }
    }

    /// Text of generated ids without control tokens. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String, RequestError> {
        self.inner.decode(ids, true).map_err(|source| RequestError::Decode { source })
    }

    /// One token's text, control tokens included.
    pub(crate) fn token_text(&self, id: u32) -> String {
        self.inner.decode(&[id], false).unwrap_or_default()
    }

    /// A control token that a text contains.
    pub(crate) fn control_token_in(&self, text: &str) -> Option<&str> {
        self.control.iter().map(String::as_str).find(|token| text.contains(token))
    }
}
