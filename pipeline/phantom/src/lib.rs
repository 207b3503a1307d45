//! Synthetic studies with exact truth.
//!
//! A phantom proves plumbing, timing and geometry; it says nothing about patients. So every instance names itself a
//! phantom three times: in its pixels, in its equipment attributes, and in the private element
//! `(0099,1001) = YES` of creator `PRESCREEN PHANTOM` that the pipeline reads.
//!
//! The same [`echo::EchoSpec`] gives the same bytes on every machine: ChaCha for chance, `libm` for transcendental
//! functions, fixed dates, and UIDs derived from the specification.

pub mod echo;
pub mod pathology;
