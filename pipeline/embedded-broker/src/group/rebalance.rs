//! One group's state machine (Kafka's classic protocol). Synchronous; time is passed in; answers go out through the
//! reply each waiting member left.
//!
//! ```text
//!            first join                  all have joined, or the rebalance timeout
//!   Empty ──────────────▶ Preparing ─────────────────────────────────────────────▶ Completing
//!     ▲                     ▲   │ nobody is left                                      │ the leader's assignment
//!     └─────────────────────┼───┘                                                     ▼
//!                           └──────── join, leave, expiry, changed protocols ────── Stable
//! ```
//! Invariants: the leader of a generation is one of its members; a member id that was not given by this group is
//! refused; a static member's new id takes the old one's place at once, and the old one is fenced.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use crate::group::member::{
    Caller, Join, JoinRefused, JoinReply, Joined, JoinedMember, Member, Profile, SyncReply,
};
use crate::group::offsets::{Committed, Place};
use crate::group::protocols;
use crate::group::state::State;

const MAX_MEMBERS: usize = 1000;

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) generation: i32,
    /// `consumer` for consumers; empty before the first member.
    pub(crate) protocol_type: String,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids handed out with `MEMBER_ID_REQUIRED`, and until when they are waited for.
    promised: BTreeMap<String, Instant>,
    pub(crate) offsets: BTreeMap<Place, Committed>,
    /// A generation became stable or empty, or a static member changed its id: to be written to the journal.
    pub(super) is_unsaved: bool,
}

impl Group {
    pub(super) fn new() -> Group {
        Group {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            promised: BTreeMap::new(),
            offsets: BTreeMap::new(),
            is_unsaved: false,
        }
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty() && self.offsets.is_empty()
    }

    /// `fresh_id` is used if the member needs a new id.
    pub(super) fn join(&mut self, now: Instant, join: Join, reply: JoinReply, fresh_id: String) {
        if !self.has_common_protocol(&join) {
            return refuse(reply, ResponseError::InconsistentGroupProtocol, join.member_id);
        }
        let static_id = join.profile.instance_id.as_deref().and_then(|id| self.static_member(id));
        if join.member_id.is_empty() {
            match (static_id, &join.profile.instance_id) {
                (Some(old_id), _) => self.replace_static(now, &old_id, fresh_id, join.profile, reply),
                (None, None) if join.two_steps && self.promised.len() < MAX_MEMBERS => {
                    self.promised.insert(fresh_id.clone(), now + join.profile.session_timeout);
                    refuse(reply, ResponseError::MemberIdRequired, fresh_id);
                }
                (None, _) => self.admit(now, fresh_id, join, reply),
            }
        } else if self.promised.remove(&join.member_id).is_some() {
            self.admit(now, join.member_id.clone(), join, reply);
        } else if static_id.is_some_and(|current| current != join.member_id) {
            refuse(reply, ResponseError::FencedInstanceId, join.member_id);
        } else {
            self.rejoin(now, join, reply);
        }
    }

    fn admit(&mut self, now: Instant, id: String, join: Join, reply: JoinReply) {
        if self.members.len() >= MAX_MEMBERS {
            return refuse(reply, ResponseError::GroupMaxSizeReached, id);
        }
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type;
        }
        let mut member = Member::new(join.profile, now);
        member.join = Some(reply);
        self.members.insert(id, member);
        self.prepare(now);
    }

    fn rejoin(&mut self, now: Instant, join: Join, reply: JoinReply) {
        let Some(member) = self.members.get_mut(&join.member_id) else {
            return refuse(reply, ResponseError::UnknownMemberId, join.member_id);
        };
        member.seen = now;
        let is_same = member.profile.protocols == join.profile.protocols;
        let is_leader = self.leader.as_ref() == Some(&join.member_id);
        let is_current = match self.state {
            State::Completing { .. } => is_same,
            State::Stable => is_same && !is_leader,
            State::Empty | State::Preparing { .. } => false,
        };
        if is_current {
            let _gone = reply.send(Ok(self.joined(&join.member_id)));
            return;
        }
        member.profile = join.profile;
        member.join = Some(reply);
        self.prepare(now);
    }

    /// A static member came back: same place, new id. While the group is stable nothing moves.
    fn replace_static(&mut self, now: Instant, old_id: &str, id: String, profile: Profile, reply: JoinReply) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        if let Some(join) = member.join.take() {
            refuse(join, ResponseError::FencedInstanceId, old_id.to_owned());
        }
        if let Some(sync) = member.sync.take() {
            let _gone = sync.send(Err(ResponseError::FencedInstanceId));
        }
        member.profile = profile;
        member.seen = now;
        self.members.insert(id.clone(), member);
        // The old leader's id in the answer keeps its successor from assigning: a stable group would not hear of it.
        let leader_told = self.leader.clone().unwrap_or_default();
        if self.leader.as_deref() == Some(old_id) {
            self.leader = Some(id.clone());
        }
        self.is_unsaved = true;
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            let joined = Joined { leader: leader_told, members: Vec::new(), ..self.joined(&id) };
            let _gone = reply.send(Ok(joined));
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.join = Some(reply);
        }
        self.prepare(now);
    }

    /// Begins a rebalance, or goes on with the one under way.
    fn prepare(&mut self, now: Instant) {
        if let State::Completing { .. } = self.state {
            for member in self.members.values_mut() {
                if let Some(sync) = member.sync.take() {
                    let _gone = sync.send(Err(ResponseError::RebalanceInProgress));
                }
            }
        }
        if !matches!(self.state, State::Preparing { .. }) {
            self.state = State::Preparing { deadline: now + self.rebalance_timeout() };
        }
        self.complete_if_all_joined(now);
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let is_preparing = matches!(self.state, State::Preparing { .. });
        if is_preparing && self.promised.is_empty() && self.members.values().all(Member::is_joining) {
            self.complete(now);
        }
    }

    /// Ends the joining: who has not come is out, except static members, whom only their session removes.
    fn complete(&mut self, now: Instant) {
        self.members.retain(|_, member| member.is_joining() || member.profile.instance_id.is_some());
        let first_joining =
            self.members.iter().find(|(_, member)| member.is_joining()).map(|(id, _)| id.clone());
        if first_joining.is_none() && !self.members.is_empty() {
            self.state = State::Preparing { deadline: now + self.rebalance_timeout() };
            return;
        }
        self.generation += 1;
        let leader_stays =
            self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(Member::is_joining);
        if !leader_stays {
            self.leader = first_joining;
        }
        self.protocol = self.select_protocol();
        if self.members.is_empty() {
            self.state = State::Empty;
            self.is_unsaved = true;
            return;
        }
        self.state = State::Completing { deadline: now + self.rebalance_timeout() };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(reply) = member.join.take()
            {
                member.seen = now;
                let _gone = reply.send(Ok(joined));
            }
        }
    }

    fn joined(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let list = |(id, member): (&String, &Member)| JoinedMember {
            id: id.clone(),
            instance_id: member.profile.instance_id.clone(),
            metadata: member.profile.metadata(self.protocol.as_deref()),
        };
        Joined {
            member_id: id.to_owned(),
            generation: self.generation,
            protocol: self.protocol.clone().unwrap_or_default(),
            members: if leader == id { self.members.iter().map(list).collect() } else { Vec::new() },
            leader,
        }
    }

    pub(super) fn sync(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        assignments: Vec<(String, Bytes)>,
        reply: SyncReply,
    ) {
        if let Err(code) = self.recognise(caller) {
            let _gone = reply.send(Err(code));
            return;
        }
        let is_leader = self.leader.as_deref() == Some(caller.member_id);
        let Some(member) = self.members.get_mut(caller.member_id) else { return };
        member.seen = now;
        match self.state {
            State::Empty | State::Preparing { .. } => {
                let _gone = reply.send(Err(ResponseError::RebalanceInProgress));
            }
            State::Stable => {
                let _gone = reply.send(Ok(member.assignment.clone()));
            }
            State::Completing { .. } => {
                member.sync = Some(reply);
                if is_leader {
                    self.assign(now, assignments);
                }
            }
        }
    }

    /// The leader has spoken: everyone gets its part, a member the leader forgot gets none.
    fn assign(&mut self, now: Instant, assignments: Vec<(String, Bytes)>) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        self.state = State::Stable;
        self.is_unsaved = true;
        for (id, member) in &mut self.members {
            // Copied, so that a few bytes do not keep the leader's whole request in memory.
            member.assignment = Bytes::copy_from_slice(&assignments.remove(id).unwrap_or_default());
            if let Some(sync) = member.sync.take() {
                member.seen = now;
                let _gone = sync.send(Ok(member.assignment.clone()));
            }
        }
    }

    pub(super) fn heartbeat(&mut self, now: Instant, caller: Caller<'_>) -> Result<(), ResponseError> {
        self.recognise(caller)?;
        self.touch(now, caller.member_id);
        match self.state {
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Completing { .. } | State::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed: by a member of this generation, or by anyone while nobody is a member.
    pub(super) fn may_commit(&mut self, now: Instant, caller: Caller<'_>) -> Result<(), ResponseError> {
        if caller.generation < 0 && caller.member_id.is_empty() && caller.instance_id.is_none() {
            return if self.members.is_empty() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.recognise(caller)?;
        self.touch(now, caller.member_id);
        match self.state {
            State::Completing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Preparing { .. } | State::Stable => Ok(()),
        }
    }

    pub(super) fn leave(
        &mut self,
        now: Instant,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let id = match instance_id.map(|instance| self.static_member(instance)) {
            Some(Some(id)) if member_id.is_empty() || id == member_id => id,
            Some(Some(_)) => return Err(ResponseError::FencedInstanceId),
            Some(None) => return Err(ResponseError::UnknownMemberId),
            None => member_id.to_owned(),
        };
        if self.promised.remove(&id).is_some() {
            self.complete_if_all_joined(now);
            return Ok(());
        }
        self.members.remove(&id).ok_or(ResponseError::UnknownMemberId)?;
        self.prepare(now);
        Ok(())
    }

    /// Lets time pass: sessions, promised ids and rebalances run out.
    pub(super) fn expire(&mut self, now: Instant) {
        let count = self.members.len();
        self.members.retain(|_, member| !member.is_expired(now));
        for member in self.members.values_mut().filter(|member| member.is_joining()) {
            member.seen = now;
        }
        self.promised.retain(|_, deadline| *deadline > now);
        if self.members.len() < count {
            self.prepare(now);
        } else {
            self.complete_if_all_joined(now);
        }
        match self.state {
            State::Preparing { deadline } if now >= deadline => self.complete(now),
            State::Completing { deadline } if now >= deadline => {
                self.members.retain(|_, member| member.sync.is_some());
                self.prepare(now);
            }
            _ => {}
        }
    }

    fn recognise(&self, caller: Caller<'_>) -> Result<(), ResponseError> {
        if let Some(instance) = caller.instance_id
            && let Some(current) = self.static_member(instance)
            && current != caller.member_id
        {
            return Err(ResponseError::FencedInstanceId);
        }
        if !self.members.contains_key(caller.member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if caller.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    fn touch(&mut self, now: Instant, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.seen = now;
        }
    }

    fn static_member(&self, instance_id: &str) -> Option<String> {
        let is_it = |member: &Member| member.profile.instance_id.as_deref() == Some(instance_id);
        self.members.iter().find(|(_, member)| is_it(member)).map(|(id, _)| id.clone())
    }

    fn has_common_protocol(&self, join: &Join) -> bool {
        let others = self.members.iter().filter(|(id, _)| **id != join.member_id);
        let others: Vec<&Profile> = others.map(|(_, member)| &member.profile).collect();
        !join.protocol_type.is_empty()
            && (others.is_empty() || self.protocol_type == join.protocol_type)
            && protocols::has_common(&join.profile, &others)
    }

    fn select_protocol(&self) -> Option<String> {
        let profiles: Vec<&Profile> = self.members.values().map(|member| &member.profile).collect();
        protocols::select(&profiles)
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.profile.rebalance_timeout).max().unwrap_or_default()
    }
}

fn refuse(reply: JoinReply, code: ResponseError, member_id: String) {
    let _gone = reply.send(Err(JoinRefused { code, member_id }));
}
