//! All groups and the journal that keeps them over a restart. A group's change is in the journal before it is answered,
//! except for answers that only start a wait.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use uuid::Uuid;

use crate::error::StartError;
use crate::files::{Journal, JournalError};
use crate::group::member::{Caller, Join, JoinRefused, JoinReply, Member, StoredMember, SyncReply};
use crate::group::offsets::{Committed, Entry, MAX_METADATA_BYTES, Place, StoredOffset, stored};
use crate::group::rebalance::Group;
use crate::group::state::State;

#[derive(Debug)]
pub(crate) struct Coordinator {
    groups: BTreeMap<String, Group>,
    journal: Journal,
    session_timeouts: RangeInclusive<Duration>,
    sync: bool,
}

/// How a coordinator keeps its groups.
#[derive(Debug)]
pub(crate) struct CoordinatorConfig<'a> {
    pub(crate) journal: &'a Path,
    pub(crate) session_timeouts: RangeInclusive<Duration>,
    /// Force every journal line to the disk.
    pub(crate) sync: bool,
}

impl Coordinator {
    /// Replays the journal and rewrites it in its shortest form. Members have a whole session from `now` to be heard of.
    pub(crate) fn open(config: CoordinatorConfig<'_>, now: Instant) -> Result<Coordinator, StartError> {
        let mut groups = BTreeMap::new();
        let path = config.journal;
        let journal =
            Journal::open(path, |entry| replay(&mut groups, entry, now)).map_err(|error| match error {
                JournalError::Io(source) => StartError::Storage { path: path.to_owned(), source },
                JournalError::Damaged { position, reason } => {
                    StartError::Damaged { path: path.to_owned(), position, reason }
                }
            })?;
        let mut coordinator =
            Coordinator { groups, journal, session_timeouts: config.session_timeouts, sync: config.sync };
        coordinator.compact().map_err(StartError::storage(path))?;
        Ok(coordinator)
    }

    pub(crate) fn join(&mut self, now: Instant, join: Join, reply: JoinReply) {
        let code = if join.group.is_empty() {
            Some(ResponseError::InvalidGroupId)
        } else if !self.session_timeouts.contains(&join.profile.session_timeout) {
            Some(ResponseError::InvalidSessionTimeout)
        } else if !join.member_id.is_empty() && !self.groups.contains_key(&join.group) {
            Some(ResponseError::UnknownMemberId)
        } else {
            None
        };
        if let Some(code) = code {
            let _gone = reply.send(Err(JoinRefused { code, member_id: join.member_id }));
            return;
        }
        let name = join.group.clone();
        let prefix = join.profile.instance_id.as_ref().unwrap_or(&join.profile.client_id);
        let fresh_id = format!("{prefix}-{}", Uuid::new_v4());
        self.groups.entry(name.clone()).or_insert_with(Group::new).join(now, join, reply, fresh_id);
        self.save_group(&name);
    }

    pub(crate) fn sync(
        &mut self,
        now: Instant,
        group: &str,
        caller: Caller<'_>,
        assignments: Vec<(String, Bytes)>,
        reply: SyncReply,
    ) {
        match self.groups.get_mut(group) {
            Some(found) => found.sync(now, caller, assignments, reply),
            None => {
                let _gone = reply.send(Err(ResponseError::UnknownMemberId));
            }
        }
        self.save_group(group);
    }

    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        group: &str,
        caller: Caller<'_>,
    ) -> Result<(), ResponseError> {
        self.groups.get_mut(group).ok_or(ResponseError::UnknownMemberId)?.heartbeat(now, caller)
    }

    pub(crate) fn leave(
        &mut self,
        now: Instant,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let found = self.groups.get_mut(group).ok_or(ResponseError::UnknownMemberId)?;
        let left = found.leave(now, member_id, instance_id);
        self.save_group(group);
        left
    }

    /// Keeps one request's offsets, all or none. Each partition's answer is this one, unless its note is too long.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        group: &str,
        caller: Caller<'_>,
        offsets: Vec<StoredOffset>,
    ) -> Result<(), ResponseError> {
        if group.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        match self.groups.get_mut(group) {
            Some(found) => found.may_commit(now, caller)?,
            None if caller.generation < 0 => {}
            None => return Err(ResponseError::IllegalGeneration),
        }
        let entry = Entry::Commit { group: group.to_owned(), offsets };
        self.write(&entry).map_err(|error| {
            tracing::error!(%error, "cannot write committed offsets");
            ResponseError::CoordinatorNotAvailable
        })?;
        replay(&mut self.groups, entry, now);
        Ok(())
    }

    pub(crate) fn is_note_too_long(note: &str) -> bool {
        note.len() > MAX_METADATA_BYTES
    }

    pub(crate) fn committed(&self, group: &str, place: &Place) -> Option<&Committed> {
        self.groups.get(group)?.offsets.get(place)
    }

    pub(crate) fn all_committed(&self, group: &str) -> impl Iterator<Item = (&Place, &Committed)> {
        self.groups.get(group).into_iter().flat_map(|group| &group.offsets)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.iter()
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    pub(crate) fn delete(&mut self, now: Instant, group: &str) -> Result<(), ResponseError> {
        let found = self.groups.get(group).ok_or(ResponseError::GroupIdNotFound)?;
        if !found.members.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        self.forget(now, Entry::Forget { group: group.to_owned() })
    }

    pub(crate) fn forget_topic(&mut self, now: Instant, topic: &str) -> Result<(), ResponseError> {
        self.forget(now, Entry::ForgetTopic { topic: topic.to_owned() })
    }

    fn forget(&mut self, now: Instant, entry: Entry) -> Result<(), ResponseError> {
        self.write(&entry).map_err(|error| {
            tracing::error!(%error, "cannot write the groups' journal");
            ResponseError::KafkaStorageError
        })?;
        replay(&mut self.groups, entry, now);
        Ok(())
    }

    /// Lets time pass; to be called several times a second.
    pub(crate) fn expire(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.expire(now);
        }
        let is_due = |group: &Group| group.is_unsaved || group.is_forgettable();
        let names: Vec<String> =
            self.groups.iter().filter(|(_, group)| is_due(group)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.save_group(&name);
        }
        if self.journal.is_overgrown()
            && let Err(error) = self.compact()
        {
            tracing::error!(%error, "cannot rewrite the groups' journal; it goes on growing");
        }
    }

    /// Writes a group's new generation. The members' answers do not depend on it: unsaved, it is tried again, and after
    /// a crash they find themselves unknown and join again.
    fn save_group(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.is_forgettable() {
            let was_saved = group.generation > 0;
            self.groups.remove(name);
            if was_saved && let Err(error) = self.write(&Entry::Forget { group: name.to_owned() }) {
                tracing::warn!(%error, "cannot write the groups' journal");
            }
            return;
        }
        if !group.is_unsaved {
            return;
        }
        let entry = generation(name, group);
        match self.write(&entry) {
            Ok(()) => {
                if let Some(group) = self.groups.get_mut(name) {
                    group.is_unsaved = false;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot write the groups' journal"),
        }
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.journal.append(entry)?;
        if self.sync { self.journal.sync() } else { Ok(()) }
    }

    fn compact(&mut self) -> io::Result<()> {
        let entries = self.groups.iter().flat_map(|(name, group)| {
            let offsets = stored(&group.offsets);
            let commit = (!offsets.is_empty()).then(|| Entry::Commit { group: name.clone(), offsets });
            [Some(generation(name, group)), commit].into_iter().flatten()
        });
        self.journal.rewrite(entries)
    }
}

fn generation(name: &str, group: &Group) -> Entry {
    let store = |(id, member): (&String, &Member)| StoredMember {
        id: id.clone(),
        profile: member.profile.clone(),
        assignment: member.assignment.to_vec(),
    };
    // A rebalance under way is not kept: whoever takes part in it joins again.
    let is_settled = group.state == State::Stable;
    Entry::Generation {
        group: name.to_owned(),
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        members: if is_settled { group.members.iter().map(store).collect() } else { Vec::new() },
    }
}

fn replay(groups: &mut BTreeMap<String, Group>, entry: Entry, now: Instant) {
    match entry {
        Entry::Commit { group, offsets } => {
            let group = groups.entry(group).or_insert_with(Group::new);
            for StoredOffset { topic, partition, committed } in offsets {
                group.offsets.insert((topic, partition), committed);
            }
        }
        Entry::Generation { group, generation, protocol_type, protocol, leader, members } => {
            let group = groups.entry(group).or_insert_with(Group::new);
            group.generation = generation;
            group.protocol_type = protocol_type;
            group.protocol = protocol;
            group.leader = leader;
            group.state = if members.is_empty() { State::Empty } else { State::Stable };
            group.members = members
                .into_iter()
                .map(|stored| {
                    let mut member = Member::new(stored.profile, now);
                    member.assignment = stored.assignment.into();
                    (stored.id, member)
                })
                .collect();
        }
        Entry::Forget { group } => {
            groups.remove(&group);
        }
        Entry::ForgetTopic { topic } => {
            for group in groups.values_mut() {
                group.offsets.retain(|(of, _), _| *of != topic);
            }
        }
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
