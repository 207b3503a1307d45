//! Files, folders and zips, taken the way the SCP takes objects: same spool, same checks, each with a result of its own.
//!
//! ```text
//!   path ─▶ walk (no links, bounded depth) ─▶ first bytes ─▶ DICOM: with preamble, without, or a bare data set
//!                                                        ├─▶ PNG, JPEG, TIFF: a picture, a study of its own
//!                                                        ├─▶ zip: its entries, each as above; bounded, not nested
//!                                                        └─▶ anything else: refused, and the next file has its turn
//! ```

mod archive;
mod format;

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use pixels::{TransferSyntax, prescan_data_set};
use rustix::fs::OFlags;
use schemas::{Domain, Priority, Protocol, ReceivedFrom, Uid};
use walkdir::WalkDir;

use crate::{
    filing::{Checked, Origin, check_dicom, check_still},
    intake::{Intake, KeepRefused, Receipt},
    meta_header::{meta_header, preamble},
    refusal::Refusal,
};
use format::{Format, OPENING};

/// Folders nest at most this deep.
const MAX_DEPTH: usize = 32;
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// What the caller says about the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOptions {
    /// The lane of their studies.
    pub priority: Priority,
    /// They are phantoms, whether or not they are marked so.
    pub synthetic: bool,
    /// The domain of what does not tell it itself; pictures are pathology without it.
    pub domain: Option<Domain>,
}

impl Default for FileOptions {
    /// Routine, real, and the domain as each file tells it.
    fn default() -> Self {
        Self { priority: Priority::Routine, synthetic: false, domain: None }
    }
}

impl FileOptions {
    fn origin(self) -> Origin {
        Origin {
            from: ReceivedFrom { protocol: Protocol::Folder, ae_title: None, tls: false },
            priority: self.priority,
            synthetic: self.synthetic,
            domain: self.domain,
        }
    }
}

/// What became of one file. The path is for whoever brought the file; it may name a patient and goes into no log.
#[derive(Debug)]
pub struct FileReport {
    /// The file; for an entry of a zip, the zip's path with the entry's name behind it.
    pub path: PathBuf,
    /// Taken, or why not.
    pub result: Result<Receipt, Refusal>,
}

impl Intake {
    /// Takes a file, every file below a folder, or every entry of a zip. Calls `report` once for each, in name order.
    ///
    /// Blocks; every report of a taken file means that it is durable.
    pub fn receive_path(&self, path: &Path, options: FileOptions, report: &mut dyn FnMut(FileReport)) {
        let walk = WalkDir::new(path).follow_links(false).max_depth(MAX_DEPTH + 1).sort_by_file_name();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(path).to_owned();
                    report(FileReport { path, result: Err(Refusal::Unreadable(error.into())) });
                    continue;
                }
            };
            let is_folder = entry.file_type().is_dir();
            if is_folder && entry.depth() <= MAX_DEPTH {
                continue;
            }
            let refused = if is_folder {
                Some(Refusal::TooDeep { limit: MAX_DEPTH })
            } else {
                (entry.depth() > 0 && !entry.file_type().is_file()).then_some(Refusal::NotAFile)
            };
            match refused {
                Some(refusal) => report(FileReport { path: entry.into_path(), result: Err(refusal) }),
                // A path given by name may be a link; one found on the way is not followed, even if it became one since.
                None => self.receive_file(entry.path(), entry.depth() > 0, options, report),
            }
        }
    }

    /// Takes the bytes of one file: DICOM, a picture, or a zip of them. `name` is what the reports call it.
    pub fn receive_bytes(
        &self,
        name: &Path,
        bytes: &[u8],
        options: FileOptions,
        report: &mut dyn FnMut(FileReport),
    ) {
        self.receive_readable(name, Cursor::new(bytes), options, report);
    }

    fn receive_file(
        &self,
        path: &Path,
        found: bool,
        options: FileOptions,
        report: &mut dyn FnMut(FileReport),
    ) {
        let flags = if found { OFlags::NOFOLLOW | OFlags::NONBLOCK } else { OFlags::NONBLOCK };
        let opened = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let refusal = match opened {
            Ok((true, file)) => return self.receive_readable(path, file, options, report),
            Ok((false, _)) => Refusal::NotAFile,
            Err(error) => Refusal::Unreadable(error),
        };
        report(FileReport { path: path.to_owned(), result: Err(refusal) });
    }

    fn receive_readable(
        &self,
        path: &Path,
        mut file: impl Read + io::Seek,
        options: FileOptions,
        report: &mut dyn FnMut(FileReport),
    ) {
        let format = opening(&mut file).and_then(|opening| {
            file.seek(SeekFrom::Start(0)).map_err(Refusal::Unreadable)?;
            Ok(Format::of(&opening))
        });
        let result = match format {
            Ok(Format::Zip) => return self.receive_archive(path, file, options, report),
            Ok(_) => self.receive_one(file, options),
            Err(refusal) => Err(refusal),
        };
        report(FileReport { path: path.to_owned(), result });
    }

    /// Takes one file that is no archive.
    fn receive_one(&self, mut file: impl Read, options: FileOptions) -> Result<Receipt, Refusal> {
        let opening = opening(&mut file)?;
        let format = Format::of(&opening);
        let whole = Cursor::new(&opening).chain(file);
        let checked = match format {
            Format::Unknown => Err((Refusal::UnknownFormat, None)),
            Format::MediaDirectory => Err((Refusal::MediaDirectory, None)),
            Format::Zip => {
                Err((Refusal::Archive { problem: "an archive inside an archive is not opened" }, None))
            }
            Format::Executable => self.set_aside(whole, Refusal::ExecutablePreamble)?,
            Format::Dicom => self.dicom(&[], whole, options)?,
            Format::DicomWithoutPreamble { has_magic } => {
                let mut prefix = preamble();
                prefix.truncate(if has_magic { 128 } else { 132 });
                self.dicom(&prefix, whole, options)?
            }
            Format::DataSet { transfer_syntax } => self.bare_data_set(whole, transfer_syntax, options)?,
            Format::Picture(format) => self.picture(whole, format, options)?,
        };
        self.file(checked, KeepRefused::InQuarantine)
    }

    fn spooled(&self, prefix: &[u8], mut file: impl Read) -> Result<crate::incoming::Sealed, Refusal> {
        let mut incoming = self.begin(&[])?;
        incoming.write(prefix)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = file.read(&mut chunk).map_err(Refusal::Unreadable)?;
            match chunk.get(..read) {
                Some(bytes) if read > 0 => incoming.write(bytes)?,
                _ => return incoming.seal(),
            }
        }
    }

    fn dicom(&self, prefix: &[u8], file: impl Read, options: FileOptions) -> Result<Checked, Refusal> {
        Ok(check_dicom(self.spooled(prefix, file)?, None, options.origin()))
    }

    fn set_aside(&self, file: impl Read, refusal: Refusal) -> Result<Checked, Refusal> {
        Ok(Err((refusal, Some(Box::new(self.spooled(&[], file)?)))))
    }

    /// A data set alone, as old archives keep it: it gets the meta header that the SCP would write.
    fn bare_data_set(
        &self,
        file: impl Read,
        transfer_syntax: &'static str,
        options: FileOptions,
    ) -> Result<Checked, Refusal> {
        let mut bare = self.spooled(&[], file)?;
        let Ok(transfer_syntax) = Uid::new(transfer_syntax) else { return Err(Refusal::UnknownFormat) };
        let header = match prescan_data_set(&mut bare.file, &TransferSyntax::new(transfer_syntax.clone())) {
            Ok(prescan) => prescan.header,
            // Eight plausible bytes and nothing behind them: a file of some other kind.
            Err(_) => return Err(Refusal::UnknownFormat),
        };
        let meta = meta_header(&header.sop_class, &header.instance.0, &transfer_syntax);
        bare.file.seek(SeekFrom::Start(0)).map_err(Refusal::spool("read a temporary file"))?;
        self.dicom(&meta, &bare.file, options)
    }

    fn picture(
        &self,
        file: impl Read,
        format: format::Picture,
        options: FileOptions,
    ) -> Result<Checked, Refusal> {
        let mut sealed = self.spooled(&[], file)?;
        if format.is_readable(&mut sealed.file) {
            return Ok(check_still(sealed, options.origin()));
        }
        Ok(Err((Refusal::DamagedImage { format: format.name() }, Some(Box::new(sealed)))))
    }
}

/// The first bytes of a file, fewer if it is shorter.
fn opening(file: &mut impl Read) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(OPENING);
    file.by_ref().take(OPENING as u64).read_to_end(&mut bytes).map_err(Refusal::Unreadable)?;
    Ok(bytes)
}
