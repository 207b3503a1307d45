//! Committed offsets of a group, and the journal lines that keep them and the group's members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::group::member::StoredMember;

/// A topic and a partition.
pub(crate) type Place = (String, i32);

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// The next offset to read.
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    /// The client's own note, at most 4,096 bytes.
    pub(crate) metadata: String,
}

/// Kafka's `offset.metadata.max.bytes`.
pub(crate) const MAX_METADATA_BYTES: usize = 4096;

/// One offset in a journal line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    #[serde(flatten)]
    pub(crate) committed: Committed,
}

/// A line of the journal. Replayed in order, the lines give the groups as they stood.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// One OffsetCommit request: all of it or nothing.
    Commit { group: String, offsets: Vec<StoredOffset> },
    /// A generation that became stable (or empty, without members).
    Generation {
        group: String,
        generation: i32,
        protocol_type: String,
        protocol: Option<String>,
        leader: Option<String>,
        members: Vec<StoredMember>,
    },
    /// The group was deleted, or nothing is left of it.
    Forget { group: String },
    /// The topic was deleted: every group's offsets in it go.
    ForgetTopic { topic: String },
}

/// The stored form of a group's offsets.
pub(crate) fn stored(offsets: &BTreeMap<Place, Committed>) -> Vec<StoredOffset> {
    let store = |((topic, partition), committed): (&Place, &Committed)| StoredOffset {
        topic: topic.clone(),
        partition: *partition,
        committed: committed.clone(),
    };
    offsets.iter().map(store).collect()
}
