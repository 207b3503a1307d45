//! A member of a consumer group, and the messages between it and the group.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// An assignment strategy a member can follow, with what it says to the leader; opaque to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Vec<u8>,
}

/// What a member says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// `group.instance.id` of a static member (KIP-345): its restart does not move partitions.
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// In order of preference.
    pub(crate) protocols: Vec<Protocol>,
}

impl Profile {
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let chosen = self.protocols.iter().find(|own| Some(own.name.as_str()) == protocol);
        chosen.map_or_else(Bytes::new, |chosen| Bytes::copy_from_slice(&chosen.metadata))
    }
}

/// A request to join.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) group: String,
    /// Empty on first contact.
    pub(crate) member_id: String,
    pub(crate) protocol_type: String,
    pub(crate) profile: Profile,
    /// Whether the client understands `MEMBER_ID_REQUIRED` (JoinGroup 4, KIP-394).
    pub(crate) two_steps: bool,
}

/// The answer to a member that is in the new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// For the leader only: everyone, to assign partitions to.
    pub(crate) members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

/// The answer to a member that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) code: ResponseError,
    /// With `MEMBER_ID_REQUIRED`: the id to come back with.
    pub(crate) member_id: String,
}

/// Answers that a member waits for; a plain value here, awaited by its connection.
pub(crate) type JoinReply = oneshot::Sender<Result<Joined, JoinRefused>>;
pub(crate) type SyncReply = oneshot::Sender<Result<Bytes, ResponseError>>;

/// Who sends a heartbeat, a sync, a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) profile: Profile,
    pub(crate) assignment: Bytes,
    /// Heard of last.
    pub(super) seen: Instant,
    pub(super) join: Option<JoinReply>,
    pub(super) sync: Option<SyncReply>,
}

impl Member {
    pub(super) fn new(profile: Profile, now: Instant) -> Member {
        Member { profile, assignment: Bytes::new(), seen: now, join: None, sync: None }
    }

    /// It has asked to join this rebalance and its connection still listens for the answer.
    pub(super) fn is_joining(&self) -> bool {
        self.join.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// A member waiting for an answer is alive, whatever the clock says; otherwise its session must not have run out.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let is_syncing = self.sync.as_ref().is_some_and(|reply| !reply.is_closed());
        !self.is_joining() && !is_syncing && now.duration_since(self.seen) >= self.profile.session_timeout
    }
}

/// What the journal keeps of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMember {
    pub(crate) id: String,
    pub(crate) profile: Profile,
    pub(crate) assignment: Vec<u8>,
}
