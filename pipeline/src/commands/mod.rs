//! One file for each command. A command reads its arguments, does one thing and answers with an exit code.

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod decode_worker;
pub(crate) mod demo;
mod figures;
pub(crate) mod generate;
pub(crate) mod graph;
pub(crate) mod ingest;
pub(crate) mod inspect;
pub(crate) mod pause;
pub(crate) mod phantom;
pub(crate) mod redrive;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve_model;
pub(crate) mod status;
pub(crate) mod study;
pub(crate) mod tables;
pub(crate) mod tap;
pub(crate) mod top;
