//! `inspect`: the quality gate and keyframes on studies from disk, offline: no broker, no database, no model.
//!
//! The files go through intake's own checks into a spool and a blob store that are removed afterwards, so what is
//! judged here is exactly what the service would judge. `--out` puts it all on one sheet ([`sheet`]).

mod acquire;
mod print;
mod sheet;

use std::sync::Arc;

use intake::FileOptions;
use jiff::Timestamp;
use keyframes::Keyframes;
use quality_gate::QualityGate;
use schemas::{
    GatedInstance, KeyframesExtracted, Rejection, RejectionReason, StudyAccepted, StudyAcquired, Verdict,
};
use services::ObjectBlobs;
use stage::{Ctx, Outcome, Services, Stage};

use self::sheet::Sheet;
use crate::{
    cli::{Inspect, Options},
    config::Config,
    exit::{Exit, Failure},
    system::{decode_pool, stage_config},
};

/// One inspected study.
struct Inspected {
    acquired: StudyAcquired,
    verdict: Verdict,
    /// Why it was rejected; empty where it was not.
    reasons: Vec<RejectionReason>,
    instances: Vec<GatedInstance>,
    keyframes: Option<KeyframesExtracted>,
}

pub(crate) fn run(arguments: &Inspect, options: &Options, config: &Config) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir()?;
    let blobs = Arc::new(ObjectBlobs::folder(&folder.path().join("blobs"))?);
    let files = FileOptions { synthetic: arguments.synthetic, ..FileOptions::default() };
    let studies = acquire::acquire(&arguments.path, files, folder.path(), &blobs)?;
    let frames = decode_pool(config, &blobs)?;
    let mut tables = config.stages.clone();
    let services = Services::without_model();
    let mut gate = QualityGate::build(stage_config::<QualityGate>(&mut tables)?(), &services)?;
    let phases = stage_config::<Keyframes>(&mut tables)?;
    let mut keyframes = Keyframes::build(phases(), &services)?;
    let mut ctx = Ctx::new(&*blobs, &frames, Timestamp::UNIX_EPOCH, tracing::Span::none());
    let mut sheet = arguments.out.as_deref().map(|out| Sheet::begin(out, phases())).transpose()?;
    let mut exit = Exit::Done;
    for acquired in studies {
        let inspected = match gate.process(&acquired, &mut ctx)? {
            Outcome::Reject(Rejection { reasons, instances }) => {
                Inspected { acquired, verdict: Verdict::Reject, reasons, instances, keyframes: None }
            }
            Outcome::Emit(accepted) => look(acquired, accepted, &mut keyframes, &mut ctx)?,
        };
        if inspected.verdict == Verdict::Reject {
            exit = Exit::No;
        }
        if let Some(sheet) = &mut sheet {
            sheet.study(&inspected, &ctx)?;
        }
        print::print(&inspected, options)?;
    }
    if let Some(sheet) = sheet {
        sheet.finish()?;
    }
    Ok(exit)
}

fn look(
    acquired: StudyAcquired,
    accepted: StudyAccepted,
    keyframes: &mut Keyframes,
    ctx: &mut Ctx<'_>,
) -> Result<Inspected, Failure> {
    let (verdict, reasons, keyframes) = match keyframes.process(&accepted, ctx)? {
        Outcome::Emit(extracted) => (accepted.verdict, Vec::new(), Some(extracted)),
        Outcome::Reject(rejection) => (Verdict::Reject, rejection.reasons, None),
    };
    Ok(Inspected { acquired, verdict, reasons, instances: accepted.instances, keyframes })
}
