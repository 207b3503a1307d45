//! What a start makes of the journal and the folders that the last process left, wherever it was killed.

use std::{collections::HashSet, io};

use super::owner::Owner;
use crate::{
    assembler::{Entry, Study},
    journal::JournalError,
};

pub(super) enum RecoverError {
    Lost(usize),
    Io(io::Error),
    Journal(JournalError),
}

impl Owner {
    /// Replays the journal and brings the folders in line with it.
    pub(super) fn recover(&mut self, entries: Vec<Entry>) -> Result<(), RecoverError> {
        let mut published = Vec::new();
        let mut refused = Vec::new();
        for entry in entries {
            let (study, revision, settled) = match &entry {
                Entry::Published { study, revision } => (study, *revision, &mut published),
                Entry::Refused { study, revision } => (study, *revision, &mut refused),
                _ => {
                    self.assembler.apply(entry);
                    continue;
                }
            };
            if let Some(known) = self.assembler.study(study) {
                settled.extend(known.new_in(revision).map(|instance| instance.blob.sha256));
            }
            self.assembler.apply(entry);
        }
        for digest in &published {
            self.spool.remove_object(digest).map_err(RecoverError::Io)?;
        }
        for digest in &refused {
            self.spool.quarantine_object(digest, "PUBLISH_REFUSED").map_err(RecoverError::Io)?;
        }
        let expected: HashSet<_> =
            self.assembler.studies().flat_map(Study::spooled).map(|instance| instance.blob.sha256).collect();
        let present = self.spool.objects().map_err(RecoverError::Io)?;
        // An object without an entry was never acknowledged: its sender sends it again.
        for orphan in present.iter().filter(|digest| !expected.contains(*digest)) {
            self.spool.quarantine_object(orphan, "ORPHAN").map_err(RecoverError::Io)?;
            self.metrics.quarantined("ORPHAN");
        }
        let lost = expected.len() - present.iter().filter(|digest| expected.contains(*digest)).count();
        if lost > 0 {
            return Err(RecoverError::Lost(lost));
        }
        self.compact().map_err(RecoverError::Journal)?;
        self.measure();
        Ok(())
    }
}
