//! BM25 over the passages (k1 1.2, b 0.75), in memory. Chinese is cut into pairs of neighbouring characters, so that no
//! dictionary decides what can be found.

use std::{collections::BTreeSet, fmt, sync::Arc};

use tantivy::{
    Index as Tantivy, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
    collector::TopDocs,
    directory::RamDirectory,
    query::{BooleanQuery, Occur, Query, TermQuery},
    schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{PreTokenizedString, Token},
};

use crate::language::is_han;

/// Below it a passage is about something else. In BM25's units: of the hand-made queries in `tests/references.jsonl` those
/// about nothing in the corpus reach 5.4 at most, and the wanted passage of the others has 6.6 at least.
const THRESHOLD: f32 = 6.0;

/// The part of a query, weighed by how rare its words are in the corpus, that a passage must hold. The score alone grows
/// with the length of the query: a long sentence would be about everything.
const LEAST_COVERED: f64 = 0.3;

/// The least that tantivy takes, in bytes; the passages are far smaller.
const WRITER_BYTES: usize = 15_000_000;

/// Words of English that say nothing about what a passage is about.
const STOP_WORDS: [&str; 40] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "has", "have", "in", "is", "it",
    "its", "may", "more", "no", "not", "of", "on", "one", "or", "other", "so", "than", "that", "the",
    "their", "they", "this", "to", "two", "was", "where", "which", "with", "without",
];

/// The index of the passages.
#[derive(Clone)]
pub(super) struct Index {
    searcher: Searcher,
    text: Field,
    /// By document, in the order of the file.
    passages: Arc<[Indexed]>,
}

/// What is kept of a passage beside the index.
struct Indexed {
    id: String,
    tokens: BTreeSet<String>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("passages", &self.passages.len()).finish_non_exhaustive()
    }
}

impl Index {
    /// Of ids and texts. One segment, written by this thread: the same passages always give the same scores.
    pub(super) fn build(passages: Vec<(String, String)>) -> Result<Self, TantivyError> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let mut writer = Tantivy::builder()
            .schema(schema.build())
            .single_segment_index_writer::<TantivyDocument>(RamDirectory::create(), WRITER_BYTES)?;
        let mut indexed = Vec::with_capacity(passages.len());
        for (id, passage) in passages {
            let mut document = TantivyDocument::new();
            let words = tokens(&passage);
            let tokens = words.iter().cloned().enumerate();
            let tokens = tokens.map(|(position, text)| Token { position, text, ..Token::default() });
            document
                .add_pre_tokenized_text(text, PreTokenizedString { tokens: tokens.collect(), text: passage });
            writer.add_document(document)?;
            indexed.push(Indexed { id, tokens: words.into_iter().collect() });
        }
        let reader = writer.finalize()?.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { searcher: reader.searcher(), text, passages: indexed.into() })
    }

    /// Ids above the threshold, best first, each once; at equal scores by id.
    pub(super) fn search(&self, query: &str, most: usize) -> Vec<(String, f32)> {
        let distinct: BTreeSet<String> = tokens(query).into_iter().collect();
        if self.passages.is_empty() || distinct.is_empty() || most == 0 {
            return Vec::new();
        }
        let clause = |token: &String| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.text, token);
            (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)))
        };
        let query = BooleanQuery::new(distinct.iter().map(clause).collect());
        let all = TopDocs::with_limit(self.passages.len()).order_by_score();
        // An index in memory has no disk to fail; without an answer there is no reference.
        let found = self.searcher.search(&query, &all).unwrap_or_default();
        let mut best: Vec<(String, f32)> = Vec::new();
        for (score, address) in found {
            let passage = self.passages.get(address.doc_id as usize);
            let Some(passage) = passage.filter(|_| score >= THRESHOLD) else { continue };
            let known = best.iter().any(|(id, _)| *id == passage.id);
            if !known && self.covered(&distinct, passage) >= LEAST_COVERED {
                best.push((passage.id.clone(), score));
            }
        }
        best.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        best.truncate(most);
        best
    }
}

impl Index {
    /// The share of the query that the passage holds, 0 to 1.
    fn covered(&self, query: &BTreeSet<String>, passage: &Indexed) -> f64 {
        let weight = |token: &&String| {
            let holding =
                self.passages.iter().filter(|passage| passage.tokens.contains(*token)).count() as f64;
            (1.0 + (self.passages.len() as f64 - holding + 0.5) / (holding + 0.5)).ln()
        };
        let all: f64 = query.iter().map(|token| weight(&token)).sum();
        let held: f64 = query.intersection(&passage.tokens).map(|token| weight(&token)).sum();
        held / all
    }
}

/// Words of Latin letters and digits in lower case, without their plural, and pairs of neighbouring Han characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut han: Option<char> = None;
    for character in text.chars().flat_map(char::to_lowercase).chain([' ']) {
        if is_han(character) {
            tokens.extend(han.map(|previous| String::from_iter([previous, character])));
        }
        han = Some(character).filter(|character| is_han(*character));
        if character.is_alphanumeric() && !is_han(character) {
            word.push(character);
        } else if !word.is_empty() {
            tokens.extend(stem(&std::mem::take(&mut word)));
        }
    }
    tokens
}

/// The word without an English plural; nothing for a word that says nothing.
fn stem(word: &str) -> Option<String> {
    if word.len() < 2 || STOP_WORDS.contains(&word) {
        return None;
    }
    let singular = word.strip_suffix('s').filter(|singular| singular.len() > 3 && !singular.ends_with('s'));
    Some(singular.unwrap_or(word).to_owned())
}
