//! `demo`: the whole system in one process, fed with synthetic studies of known truth over a real DICOM association.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use intake::scu;
use phantom::echo::{Batch, Truth};
use schemas::{Certainty, Inference, KeyframeKind, ReportIssued, Revision, RunId, StudyUid};

use crate::{
    cli::{Demo, Options},
    config::{BrokerKind, Config, DatabaseKind, Peer},
    exit::{Exit, Failure},
    log, memory, signals,
    store::{TerminalState, study_report, terminal_state},
    system::{Roles, System},
    word::word,
};

/// AE title of the pretended echo machine.
const SENDER: &str = "PHANTOM";
/// How long one study may take before `--once` gives up, at least; a slow machine gets more by the number of studies.
const PATIENCE: Duration = Duration::from_mins(2);

/// A sent study on its way.
struct Sent {
    truth: Truth,
    study: StudyUid,
    ended: Option<TerminalState>,
    report: Option<ReportIssued>,
}

pub(crate) fn run(arguments: &Demo, options: &Options, mut config: Config) -> Result<Exit, Failure> {
    prepare(&mut config, arguments, options);
    log::start(&config.log)?;
    let interrupts = signals::interrupts()?;
    let mut screen = Screen::new();
    screen.line(&format!(
        "prescreen demo: {} synthetic echo studies (seed {}) travel from a DICOM association through Kafka topics to reports in PostgreSQL.",
        arguments.studies, arguments.seed
    ))?;
    screen.line("Embedded parts, this process only, nothing is downloaded. Phantoms, not patients. For reference only; not a medical device.")?;
    screen.line(&format!("State is kept in {}.", config.data_dir.display()))?;

    let system = System::start(&config, &Roles::all())?;
    let (Some(dicom), Some(console)) = (system.dicom(), system.console()) else {
        return Err(Failure::from("the demo has no DICOM port or console"));
    };
    let destination = scu::Destination {
        address: dicom,
        called_ae_title: config.intake.ae_title.clone(),
        calling_ae_title: SENDER.to_owned(),
        timeout: Duration::from_mins(1),
    };
    let studies = send_all(arguments, &system, &destination, &mut screen, &interrupts)?;
    let Some(mut studies) = studies else {
        system.shut_down();
        return Ok(Exit::No);
    };
    let missing = follow(&system, &mut studies, &mut screen, &interrupts)?;
    table(&studies, &mut screen)?;
    if let Some(peak) = memory::peak() {
        screen.line(&format!("Peak memory of this process: {} MiB (decode workers apart).", peak >> 20))?;
    }
    screen.line(&format!("Console: http://{console}"))?;
    screen.line(&format!(
        "What the echo machine's room saw on arrival: http://{console}/acquisition/{SENDER}"
    ))?;
    if arguments.once {
        system.shut_down();
        if missing > 0 {
            screen.line(&format!("{missing} of {} studies did not end in time.", studies.len()))?;
            return Ok(Exit::No);
        }
        return Ok(Exit::Done);
    }
    screen.line("Running until Ctrl-C.")?;
    system.wait(&interrupts)?;
    Ok(Exit::Done)
}

/// The demo's own settings: embedded parts whatever the configuration says, free ports where asked for, a quiet log.
fn prepare(config: &mut Config, arguments: &Demo, options: &Options) {
    config.broker.kind = BrokerKind::Embedded;
    config.database.kind = DatabaseKind::Embedded;
    config.console.listen.set_port(arguments.port);
    if !options.set.iter().any(|text| text.starts_with("intake.listen")) {
        config.intake.listen.set_port(0);
    }
    if !options.set.iter().any(|text| text.starts_with("log.filter")) {
        "error".clone_into(&mut config.log.filter);
    }
    config.intake.peers.push(Peer {
        ae_title: SENDER.to_owned(),
        address: Some([127, 0, 0, 1].into()),
        urgent: false,
    });
}

/// Makes and sends one study after the other, so that at most one is in memory. Nothing: interrupted.
fn send_all(
    arguments: &Demo,
    system: &System,
    destination: &scu::Destination,
    screen: &mut Screen,
    interrupts: &Receiver<()>,
) -> Result<Option<Vec<Sent>>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let batch = Batch { count: arguments.studies as usize, seed: arguments.seed, corruption: None };
    let intake = system.intake().ok_or("the demo has no intake")?;
    let mut studies = Vec::new();
    for (index, spec) in batch.specs().enumerate() {
        if interrupts.try_recv().is_ok() {
            return Ok(None);
        }
        screen.progress(&format!("making and sending study {} of {}", index + 1, arguments.studies))?;
        let made = phantom::echo::generate(&spec)?;
        let files: Vec<PathBuf> = made
            .instances
            .iter()
            .enumerate()
            .map(|(number, instance)| {
                let path = folder.path().join(format!("{number}.dcm"));
                std::fs::write(&path, &instance.file_bytes).map(|()| path)
            })
            .collect::<Result<_, _>>()?;
        let mut refused = None;
        runtime.block_on(scu::send(&files, destination, &mut |sent| {
            if sent.status != 0 {
                refused = Some(sent.status);
            }
        }))?;
        if let Some(status) = refused {
            return Err(Failure::from(format!("intake answered C-STORE with status {status:04X}")));
        }
        let study = StudyUid::new(&made.study_uid)?;
        // Nothing to close: an earlier demo in the same data directory sent the same study.
        intake.close_study(&study)?;
        studies.push(Sent { truth: made.truth, study, ended: None, report: None });
    }
    Ok(Some(studies))
}

/// Waits until every study is terminal, printing each as it ends. Returns how many did not end.
fn follow(
    system: &System,
    studies: &mut [Sent],
    screen: &mut Screen,
    interrupts: &Receiver<()>,
) -> Result<usize, Failure> {
    let deadline = Instant::now() + PATIENCE + Duration::from_secs(10) * studies.len() as u32;
    let total = studies.len();
    loop {
        for sent in studies.iter_mut().filter(|sent| sent.ended.is_none()) {
            sent.ended = terminal_state(system.database(), &RunId::live(), &sent.study, Revision::FIRST)?;
            if let Some(ended) = &sent.ended {
                let json = study_report(system.database(), &RunId::live(), &sent.study, Revision::FIRST)?;
                sent.report = json.map(serde_json::from_value).transpose()?;
                screen.line(&format!(
                    "{}  {}  {}",
                    sent.study,
                    ended.state,
                    ended.reason.as_deref().unwrap_or("-")
                ))?;
            }
        }
        let open = studies.iter().filter(|sent| sent.ended.is_none()).count();
        if open == 0 || Instant::now() > deadline {
            return Ok(open);
        }
        screen.progress(&format!("{} of {total} studies are through", total - open))?;
        match interrupts.recv_timeout(Duration::from_millis(200)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(open),
        }
    }
}

/// Each report beside its truth.
fn table(studies: &[Sent], screen: &mut Screen) -> Result<(), Failure> {
    screen.line("")?;
    screen.line(&format!(
        "{:<19} {:>8} {:>8} {:>11} {:>9} {:>9} {:>9}  {:<8} {}",
        "study", "true EF", "model", "interval", "geometry", "ED found", "ES found", "gate", "report"
    ))?;
    for sent in studies {
        let report = sent.report.as_ref();
        let ef = report.and_then(|report| report.ef.as_ref());
        let keyframes = keyframes(sent);
        let geometry = report.and_then(|report| {
            let clip = report
                .clips
                .iter()
                .find(|clip| clip.instance_uid.as_str() == sent.truth.cine.instance_uid)?;
            clip.geometry.as_ref().map(|geometry| geometry.ef_percent)
        });
        let percent =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} %"));
        let uid = sent.study.as_str();
        screen.line(&format!(
            "{:<19} {:>8} {:>8} {:>11} {:>9} {:>9} {:>9}  {:<8} {}",
            format!("…{}", uid.get(uid.len().saturating_sub(16)..).unwrap_or(uid)),
            percent(Some(sent.truth.ef_percent)),
            percent(ef.map(|ef| ef.percent)),
            ef.and_then(|ef| ef.interval)
                .map_or_else(|| "-".to_owned(), |[low, high]| format!("{low:.0}-{high:.0} %")),
            percent(geometry),
            keyframes.0,
            keyframes.1,
            report.map_or_else(|| "-".to_owned(), |report| format!("{:?}", report.verdict).to_lowercase()),
            outcome(sent),
        ))?;
    }
    screen.line(
        "ED/ES: of the frames found in the first apical clip, how many are within one frame of where the volume is truly at its extreme.",
    )?;
    Ok(())
}

/// How many of the found frames lie, within one frame, where the volume is at its extreme, as "right/found".
fn keyframes(sent: &Sent) -> (String, String) {
    let cine = &sent.truth.cine;
    let mut found: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let clips = sent.report.iter().flat_map(|report| &report.clips);
    for keyframe in
        clips.filter(|clip| clip.instance_uid.as_str() == cine.instance_uid).flat_map(|clip| &clip.keyframes)
    {
        let (kind, intervals) = match keyframe.kind {
            KeyframeKind::ED => ("ED", &cine.ed_intervals),
            KeyframeKind::ES => ("ES", &cine.es_intervals),
            KeyframeKind::Tile => continue,
        };
        let frame_ms = 1000.0 / cine.fps;
        let at_ms = f64::from(keyframe.frame.index()) * frame_ms;
        let right = intervals
            .iter()
            .any(|interval| (interval.from_ms - frame_ms..=interval.to_ms + frame_ms).contains(&at_ms));
        let count = found.entry(kind).or_default();
        *count = (count.0 + usize::from(right), count.1 + 1);
    }
    let text = |kind| found.get(kind).map_or_else(|| "-".to_owned(), |(right, all)| format!("{right}/{all}"));
    (text("ED"), text("ES"))
}

fn outcome(sent: &Sent) -> String {
    match (&sent.report, &sent.ended) {
        (Some(report), _) => match (&report.inference, report.certainty) {
            (Inference::Abstained(abstention), Certainty::Abstain) => {
                format!("ABSTAIN: {}", abstention.detail)
            }
            (_, certainty) => {
                let marks =
                    [word(certainty)].into_iter().chain(report.abstention.iter().map(ToString::to_string));
                marks.chain(report.tags.iter().map(|tag| word(*tag))).collect::<Vec<_>>().join(" ")
            }
        },
        (None, Some(ended)) => format!("{} {}", ended.state, ended.reason.as_deref().unwrap_or("")),
        (None, None) => "not in time".to_owned(),
    }
}

/// Plain lines, and one line of progress that renews itself on a terminal.
struct Screen {
    out: std::io::Stdout,
    terminal: bool,
    progress: String,
}

impl Screen {
    fn new() -> Self {
        let out = std::io::stdout();
        Self { terminal: out.is_terminal(), out, progress: String::new() }
    }

    fn line(&mut self, text: &str) -> std::io::Result<()> {
        let mut out = self.out.lock();
        if self.terminal && !self.progress.is_empty() {
            write!(out, "\r\x1b[K")?;
            self.progress.clear();
        }
        writeln!(out, "{text}")?;
        out.flush()
    }

    fn progress(&mut self, text: &str) -> std::io::Result<()> {
        if self.progress == text {
            return Ok(());
        }
        text.clone_into(&mut self.progress);
        let mut out = self.out.lock();
        if self.terminal {
            write!(out, "\r\x1b[K{text}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }
}
