//! `graph`: the pipeline as a picture, from the catalogue; nothing has to run.

use std::io::Write as _;

use crate::{
    cli::{Graph, GraphFormat, Options},
    exit::{Exit, Failure},
    graph,
};

pub(crate) fn run(arguments: &Graph, options: &Options) -> Result<Exit, Failure> {
    let nodes = graph::nodes();
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &nodes)?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    let text = match arguments.format {
        GraphFormat::Mermaid => graph::mermaid(&nodes),
        GraphFormat::Dot => graph::dot(&nodes),
    };
    write!(out, "{text}")?;
    Ok(Exit::Done)
}
