//! Studies to send, and a modality that sends them until they are taken.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use intake::scu::{self, Destination};
use phantom::echo::{Corruption, EchoSpec, generate};

use super::{
    PATIENCE, eventually,
    process::{Entry, MODALITY},
};

/// A phantom study on disk.
pub(crate) struct Study {
    pub(crate) uid: String,
    pub(crate) files: Vec<PathBuf>,
}

/// A study small enough to be made in a fraction of a second, and good enough to be accepted: two cines of about twenty
/// frames and a still.
pub(crate) fn small(seed: u64) -> EchoSpec {
    let mut spec = EchoSpec::sample(seed);
    spec.heart.heart_rate = 130.0;
    spec.machine.frame_rate = 30.0;
    spec.machine.beats = 1.6;
    spec
}

/// Makes the study of `spec` below `folder`.
pub(crate) fn make(spec: &EchoSpec, folder: &Path) -> Study {
    let made = generate(spec).unwrap();
    let folder = folder.join(&made.study_uid);
    std::fs::create_dir_all(&folder).unwrap();
    let files = made.instances.iter().map(|instance| {
        let path = folder.join(format!("{}.dcm", instance.sop_instance_uid));
        std::fs::write(&path, &instance.file_bytes).unwrap();
        path
    });
    Study { files: files.collect(), uid: made.study_uid }
}

/// The same, spoilt.
pub(crate) fn make_spoilt(seed: u64, corruption: &str, folder: &Path) -> Study {
    let corruption: Corruption = corruption.parse().unwrap();
    make(&EchoSpec { corruption: Some(corruption), ..small(seed) }, folder)
}

/// What became of one attempt to send.
fn send(files: &[PathBuf], address: SocketAddr, arrived: &mut Vec<PathBuf>) {
    let destination = Destination {
        address,
        called_ae_title: "PRESCREEN".to_owned(),
        calling_ae_title: MODALITY.to_owned(),
        timeout: Duration::from_secs(20),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(scu::send(files, &destination, &mut |sent| {
        if sent.status == 0 {
            arrived.push(sent.path);
        }
    }));
    // Whatever was not answered is sent again, as every modality does.
    drop(sent);
}

/// Sends every file of `study` until each is answered 0000, wherever the port is by then.
pub(crate) fn deliver(study: &Study, mut port: impl FnMut() -> Option<SocketAddr>) {
    let mut left = study.files.clone();
    eventually("every file is answered 0000", PATIENCE, || {
        let mut arrived = Vec::new();
        send(&left, port()?, &mut arrived);
        left.retain(|file| !arrived.contains(file));
        left.is_empty().then_some(())
    });
}

/// Closes a study whose files have all been taken; says whether the system answered.
pub(crate) fn close(entry: &Entry, uid: &str) -> bool {
    let url = format!("{}/api/studies/{uid}/close", entry.url);
    let answer = ureq::post(url).header("authorization", format!("Bearer {}", entry.token)).send_empty();
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Delivers and closes.
pub(crate) fn submit(study: &Study, mut entry: impl FnMut() -> Option<Entry>) {
    deliver(study, || entry()?.dicom);
    eventually("the study is closed", PATIENCE, || close(&entry()?, &study.uid).then_some(()));
}
