//! The spool's folders: what is on disk, and what a start makes of what it finds.
//!
//! ```text
//!   incoming/     temporary files, unique names; emptied at start
//!   objects/      <sha-256 of the file>: filed, not yet published
//!   archive/      <sha-256 of the study UID>.json: published studies, for late instances and duplicates
//!   quarantine/   <sha-256>_<CODE>: set aside for a person to look at
//!   journal       what happened, see `journal`
//! ```
//! No name comes from outside: UIDs, file names and AE titles are never part of a path.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::statvfs;
use schemas::{Digest, StudyUid};

use crate::{
    assembler::Study,
    incoming::{Incoming, Sealed},
    journal::sync_folder,
    refusal::Refusal,
};

/// The folders, and the limits on what goes in.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    incoming: PathBuf,
    objects: PathBuf,
    archive: PathBuf,
    quarantine: PathBuf,
    min_free: u64,
    max_object: u64,
}

impl Spool {
    pub(crate) fn open(root: &Path, min_free: u64, max_object: u64) -> io::Result<Self> {
        let folder = |name| {
            let path = root.join(name);
            fs::create_dir_all(&path).map(|()| path)
        };
        let spool = Self {
            incoming: folder("incoming")?,
            objects: folder("objects")?,
            archive: folder("archive")?,
            quarantine: folder("quarantine")?,
            min_free,
            max_object,
        };
        sync_folder(root)?;
        for entry in fs::read_dir(&spool.incoming)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(spool)
    }

    /// Bytes free where objects lie.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let state = statvfs(&self.incoming)?;
        Ok(state.f_bavail.saturating_mul(state.f_frsize))
    }

    /// Bytes that are left free.
    pub(crate) fn reserve(&self) -> u64 {
        self.min_free
    }

    /// Is there room for another object?
    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        let free = self.free().map_err(Refusal::spool("ask for free space"))?;
        if free < self.min_free { Err(Refusal::NoSpace { free, reserve: self.min_free }) } else { Ok(()) }
    }

    /// A new temporary file that starts with `header`, if there is room.
    pub(crate) fn begin(&self, header: &[u8]) -> Result<Incoming, Refusal> {
        self.check_room()?;
        Incoming::begin(&self.incoming, header, self.max_object)
    }

    /// Where the object with this digest lies.
    pub(crate) fn object(&self, digest: &Digest) -> PathBuf {
        self.objects.join(digest.to_string())
    }

    pub(crate) fn sync_objects(&self) -> io::Result<()> {
        sync_folder(&self.objects)
    }

    /// Removes an object. One that is not there is no error: an earlier start got that far.
    pub(crate) fn remove_object(&self, digest: &Digest) -> io::Result<()> {
        missing_is_fine(fs::remove_file(self.object(digest)))
    }

    /// Moves an object to quarantine.
    pub(crate) fn quarantine_object(&self, digest: &Digest, code: &str) -> io::Result<()> {
        missing_is_fine(fs::rename(self.object(digest), self.quarantine.join(format!("{digest}_{code}"))))
    }

    /// Moves an object that was never filed to quarantine.
    pub(crate) fn quarantine(&self, sealed: Sealed, code: &str) -> io::Result<()> {
        sealed.temporary.keep_as(&self.quarantine.join(format!("{}_{code}", sealed.blob.sha256)))
    }

    /// The same for an object that passed its own checks.
    pub(crate) fn quarantine_candidate(
        &self,
        candidate: crate::filing::Candidate,
        code: &str,
    ) -> io::Result<()> {
        let digest = candidate.instance.blob.sha256;
        candidate.temporary.keep_as(&self.quarantine.join(format!("{digest}_{code}")))
    }

    /// Digests of all objects.
    pub(crate) fn objects(&self) -> io::Result<Vec<Digest>> {
        let names = fs::read_dir(&self.objects)?.map(|entry| entry.map(|entry| entry.file_name()));
        let digest = |name: io::Result<std::ffi::OsString>| {
            name.map(|name| name.to_str().and_then(|name| name.parse().ok())).transpose()
        };
        names.filter_map(digest).collect()
    }

    fn archived(&self, study: &StudyUid) -> PathBuf {
        self.archive.join(format!("{}.json", Digest::of(study.as_str().as_bytes())))
    }

    /// Keeps what is known of a published study.
    pub(crate) fn archive(&self, study: &Study) -> io::Result<()> {
        let path = self.archived(&study.uid);
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(study)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_folder(&self.archive)
    }

    /// What is known of a study that was published before.
    pub(crate) fn recall(&self, study: &StudyUid) -> io::Result<Option<Study>> {
        let bytes = match fs::read(self.archived(study)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    /// Forgets published studies that were last touched longer than `keep` ago.
    pub(crate) fn forget(&self, keep: Duration, now: Timestamp) -> io::Result<()> {
        for entry in fs::read_dir(&self.archive)? {
            let entry = entry?;
            let touched = Timestamp::try_from(entry.metadata()?.modified()?).unwrap_or(now);
            if Duration::try_from(now.duration_since(touched)).is_ok_and(|age| age > keep) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
