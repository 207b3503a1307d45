//! `ingest`: files, folders and zips to the running system, the way intake takes everything else.
//!
//! Each study named by at least one file is closed at the end (rule `forced`); `--wait` then follows it to its terminal state.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use console::site::{Received, UploadOptions};
use schemas::{Domain, Priority, Revision, StudyUid};
use serde_json::json;

use crate::{
    api_client::{ApiClient, ApiError},
    cli::{Ingest, Lane, Options, PictureDomain},
    exit::{Exit, Failure},
};

/// How often a waiting client asks.
const POLL: Duration = Duration::from_millis(250);

pub(crate) fn run(arguments: &Ingest, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let client = ApiClient::connect(options, data_dir)?;
    let upload = UploadOptions {
        priority: arguments.priority.map(|lane| match lane {
            Lane::Urgent => Priority::Urgent,
            Lane::Routine => Priority::Routine,
        }),
        synthetic: arguments.synthetic,
        domain: arguments.domain.map(|domain| match domain {
            PictureDomain::Echo => Domain::Echo,
            PictureDomain::Pathology => Domain::Pathology,
        }),
    };
    let files = files(&arguments.paths).map_err(Failure::usage)?;
    let mut refused = 0_usize;
    let mut studies = BTreeSet::new();
    for file in &files {
        match client.upload(file, &upload) {
            Ok(answers) => {
                for answer in answers {
                    report_file(file, &answer, options)?;
                    match answer {
                        Received::Stored { study_uid, .. } | Received::Duplicate { study_uid, .. } => {
                            studies.insert(study_uid);
                        }
                        Received::Refused { .. } => refused += 1,
                    }
                }
            }
            Err(error @ ApiError::Refused { status: 413 | 422 | 507, .. }) => {
                refused += 1;
                report_file(file, &Received::Refused { reason: error.to_string() }, options)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut open = BTreeMap::new();
    for study in studies {
        // Nothing open: every file was a duplicate, and the study went its way before.
        let revision = client.close(&study)?;
        open.insert(study, revision);
    }
    if !arguments.wait {
        return Ok(if refused > 0 { Exit::No } else { Exit::Done });
    }
    let missing = wait(&client, open, arguments.timeout, options)?;
    Ok(if refused > 0 || missing > 0 { Exit::No } else { Exit::Done })
}

/// Every file below the paths, in name order. Links found on the way are not followed.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(format!("{} does not exist", path.display()));
        }
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            if entry.file_type().is_file() || (entry.depth() == 0 && !entry.file_type().is_dir()) {
                files.push(entry.into_path());
            }
        }
    }
    if files.is_empty() { Err("no file below the paths given".to_owned()) } else { Ok(files) }
}

fn report_file(file: &Path, answer: &Received, options: &Options) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    match answer {
        // A script that reads lines must see what never became a study.
        Received::Refused { reason } if options.json => {
            let line = json!({
                "study_uid": null, "state": "refused", "reason": reason, "seconds": 0.0, "file": file.display().to_string(),
            });
            writeln!(std::io::stdout().lock(), "{line}")?;
        }
        Received::Refused { reason } => writeln!(err, "{}: refused: {reason}", file.display())?,
        Received::Duplicate { .. } if !options.json => writeln!(err, "{}: known already", file.display())?,
        Received::Duplicate { .. } | Received::Stored { .. } => {}
    }
    Ok(())
}

/// Follows each study until it is terminal and prints it. Returns how many were not in time.
fn wait(
    client: &ApiClient,
    mut open: BTreeMap<StudyUid, Option<Revision>>,
    timeout: Duration,
    options: &Options,
) -> Result<usize, Failure> {
    let begin = Instant::now();
    loop {
        let mut still_open = BTreeMap::new();
        for (study, revision) in open {
            let timeline = match client.study(&study) {
                // The database may be away for a while; the studies are safe, and there is time until `timeout`.
                Err(ApiError::Refused { status: 503, .. }) => None,
                answer => answer?,
            };
            let ended = timeline.and_then(|timeline| {
                let rows = timeline.revisions.into_iter();
                let mut wanted =
                    rows.filter(|row| revision.is_none_or(|revision| row.revision == revision.0 as i32));
                wanted.next().filter(|row| row.state != "in_progress")
            });
            match ended {
                Some(row) => {
                    print(&study, &row.state, row.reason.as_deref(), begin.elapsed(), options)?;
                }
                None => {
                    still_open.insert(study, revision);
                }
            }
        }
        open = still_open;
        if open.is_empty() {
            return Ok(0);
        }
        if begin.elapsed() > timeout {
            for study in open.keys() {
                print(study, "in_progress", Some("TIMEOUT"), begin.elapsed(), options)?;
            }
            return Ok(open.len());
        }
        thread::sleep(POLL);
    }
}

fn print(
    study: &StudyUid,
    state: &str,
    reason: Option<&str>,
    after: Duration,
    options: &Options,
) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if options.json {
        let line =
            json!({ "study_uid": study, "state": state, "reason": reason, "seconds": after.as_secs_f64() });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{study}  {state}  {}  {:.1} s", reason.unwrap_or("-"), after.as_secs_f64())?;
    }
    Ok(())
}
