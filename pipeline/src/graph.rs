//! The pipeline as a graph, from the catalogue: who reads what and who writes what.

use std::fmt::Write as _;

use console::site::GraphNode;
use schemas::{InstanceGated, Message as _, StudyAcquired, StudyRejected};

use crate::system::{STORE, entries, topics};

/// Every step with its base topics, in the order of the data's way.
pub(crate) fn nodes() -> Vec<GraphNode> {
    let name = |name: &str| name.to_owned();
    let intake = GraphNode {
        name: name("intake"),
        reads: Vec::new(),
        writes: vec![name(StudyAcquired::TOPIC.name), name(InstanceGated::TOPIC.name)],
    };
    let stages = entries().into_iter().map(|entry| GraphNode {
        name: name(entry.name),
        reads: vec![name(entry.input.name)],
        writes: vec![name(entry.output.name), name(StudyRejected::TOPIC.name)],
    });
    let store = GraphNode {
        name: name(STORE),
        reads: topics().iter().map(|topic| name(topic.name)).collect(),
        writes: Vec::new(),
    };
    [intake].into_iter().chain(stages).chain([store]).collect()
}

/// Topics in the order in which they are written.
fn written(nodes: &[GraphNode]) -> Vec<&str> {
    let mut topics: Vec<&str> = Vec::new();
    for topic in nodes.iter().flat_map(|node| node.writes.iter().chain(&node.reads)) {
        if !topics.contains(&topic.as_str()) {
            topics.push(topic);
        }
    }
    topics
}

/// A topic's name as an identifier of both languages.
fn id(topic: &str) -> String {
    topic.replace('.', "_")
}

/// For Markdown pages and wikis. Dead letters and lanes are left out: every topic has them.
pub(crate) fn mermaid(nodes: &[GraphNode]) -> String {
    let mut text = "flowchart LR\n".to_owned();
    // Writing into a string cannot fail.
    for node in nodes {
        let _ = writeln!(text, "    {0}[{0}]", node.name);
    }
    for topic in written(nodes) {
        let _ = writeln!(text, "    {}([{topic}])", id(topic));
    }
    for node in nodes {
        for topic in &node.reads {
            let _ = writeln!(text, "    {} --> {}", id(topic), node.name);
        }
        for topic in &node.writes {
            let _ = writeln!(text, "    {} --> {}", node.name, id(topic));
        }
    }
    text
}

/// For Graphviz.
pub(crate) fn dot(nodes: &[GraphNode]) -> String {
    let mut text = "digraph prescreen {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n".to_owned();
    for node in nodes {
        let _ = writeln!(text, "    {} [shape=box];", node.name);
    }
    for topic in written(nodes) {
        let _ = writeln!(text, "    {} [shape=ellipse, label=\"{topic}\"];", id(topic));
    }
    for node in nodes {
        for topic in &node.reads {
            let _ = writeln!(text, "    {} -> {};", id(topic), node.name);
        }
        for topic in &node.writes {
            let _ = writeln!(text, "    {} -> {};", node.name, id(topic));
        }
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_writer_and_a_reader_and_both_texts_name_every_edge() {
        let nodes = nodes();
        for topic in written(&nodes) {
            assert!(
                nodes.iter().any(|node| node.writes.iter().any(|one| one == topic)),
                "nobody writes {topic}"
            );
            assert!(
                nodes.iter().any(|node| node.reads.iter().any(|one| one == topic)),
                "nobody reads {topic}"
            );
        }
        let edges: usize = nodes.iter().map(|node| node.reads.len() + node.writes.len()).sum();
        assert_eq!(mermaid(&nodes).matches(" --> ").count(), edges);
        assert_eq!(dot(&nodes).matches(" -> ").count(), edges);
        assert!(mermaid(&nodes).contains("study_acquired_v1 --> quality_gate\n"));
        assert!(dot(&nodes).contains("quality_gate -> study_accepted_v1;\n"));
    }
}
