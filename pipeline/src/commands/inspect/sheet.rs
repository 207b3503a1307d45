//! One self-contained page about what was inspected: every check with its value, what of a picture is visible, the area
//! curve with its marks, keyframes with the ventricle's outline, tiles as scanned and normalised.
//!
//! ```text
//!  DIR/index.html               pictures inlined and reduced, nothing is loaded from anywhere
//!  DIR/frames/ED-1.png ES-1.png the keyframes as the service stores them: beat 1 of the sheet, 2, 3 … on over all loops
//!  DIR/masks/ED-1.png ES-1.png  the left ventricle in it, white on black; absent where none was made out
//!  DIR/tiles/1.png              a tile as scanned; 2, 3 … on over all slides
//!  DIR/tiles/1.normalised.png   the same with its stains brought to the reference
//! ```
//!
//! Invariants:
//! - Of a header only UIDs and numbers are shown; the path that was given is not, because people name files by patients.
//! - The page appears whole or not at all. Pictures of an earlier sheet in the same folder are removed first.

mod curve;
mod echo;
mod pathology;
mod picture;
mod words;

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use keyframes::Config;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use schemas::{Check, Clip, Domain, GatedInstance, ReasonCode, RejectionReason};
use stage::Ctx;
use tempfile::{Builder, NamedTempFile};

use self::pathology::Slides;
use super::Inspected;
use crate::{exit::Failure, word::word};

const STYLE: &str = include_str!("sheet/sheet.css");

/// A sheet being written, study by study.
pub(super) struct Sheet {
    folder: PathBuf,
    page: NamedTempFile,
    config: Config,
    /// Beats and tiles written so far.
    beats: usize,
    tiles: usize,
}

impl Sheet {
    /// Makes `folder` and begins the page.
    pub(super) fn begin(folder: &Path, config: Config) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        for name in ["frames", "masks", "tiles"] {
            remove_pictures(&folder.join(name))?;
        }
        // A temporary file is its owner's alone; a page is read as the pictures beside it are.
        let page = Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        let mut sheet = Self { folder: folder.to_owned(), page, config, beats: 0, tiles: 0 };
        let head = html! {
            (DOCTYPE)
            (PreEscaped("<html lang=\"en\">"))
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
            title { "prescreen inspect" }
            style { (PreEscaped(STYLE)) }
            header { span.brand { "prescreen" } span { "inspect · quality gate and keyframes " span lang="zh" { "质控与关键帧" } } }
            (PreEscaped("<main>"))
        };
        sheet.append(&head)?;
        Ok(sheet)
    }

    /// Adds a study and writes its pictures.
    pub(super) fn study(&mut self, inspected: &Inspected, ctx: &Ctx<'_>) -> Result<(), Failure> {
        let study = &inspected.acquired.study;
        let is_looked_at = |one: &&GatedInstance| one.applicable;
        let total = inspected.instances.iter().filter(is_looked_at).count();
        let slides = match study.domain {
            Domain::Pathology => Slides::of(&inspected.instances, ctx)?,
            Domain::Echo | Domain::Unknown => Slides::default(),
        };
        self.append(&title(inspected))?;
        for (index, instance) in inspected.instances.iter().filter(is_looked_at).enumerate() {
            let mut clips = inspected.keyframes.iter().flat_map(|extracted| &extracted.clips);
            let clip = clips.find(|clip| clip.instance_uid == instance.instance_uid);
            let pictures = match study.domain {
                Domain::Pathology => self.slide(instance, clip, &slides, ctx)?,
                Domain::Echo | Domain::Unknown => self.cine(instance, clip, ctx)?,
            };
            self.append(&section(study.domain, instance, clip, [index + 1, total], &pictures))?;
        }
        let others: Vec<&GatedInstance> = inspected.instances.iter().filter(|one| !one.applicable).collect();
        self.append(&not_applicable(&others))
    }

    /// Ends the page and puts it in its place.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.append(&html! {
            (PreEscaped("</main>"))
            footer {
                p.last { "For reference only. Not a medical device. " span lang="zh" { "仅供参考。本软件不是医疗器械。" } }
                p {
                    "The pictures lie beside this page as they are stored: frames/ED-1.png and frames/ES-1.png of the first beat, "
                    "masks/ED-1.png the ventricle in it; tiles/1.png the first tile, tiles/1.normalised.png with its stains normalised. "
                    "Numbers go on over all loops, slides and studies in the order of the page. "
                    span lang="zh" { "原始图片保存在本页同一文件夹中，编号按页面顺序连续。" }
                }
            }
            (PreEscaped("</html>"))
        })?;
        self.page.persist(self.folder.join("index.html"))?;
        Ok(())
    }

    fn append(&mut self, part: &Markup) -> Result<(), Failure> {
        self.page.write_all(part.0.as_bytes())?;
        Ok(())
    }

    /// Writes a picture below the sheet's folder.
    fn write(&self, folder: &str, name: &str, png: &[u8]) -> Result<(), Failure> {
        let folder = self.folder.join(folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), png)?;
        Ok(())
    }
}

/// Removes what an earlier sheet wrote, and nothing else.
fn remove_pictures(folder: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a sheet names its pictures so: `ED-1.png`, `ES-12.png`, `3.png`, `3.normalised.png`.
fn is_ours(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".png") else { return false };
    let stem = stem.strip_suffix(".normalised").unwrap_or(stem);
    let number = stem.strip_prefix("ED-").or_else(|| stem.strip_prefix("ES-")).unwrap_or(stem);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn title(inspected: &Inspected) -> Markup {
    let study = &inspected.acquired.study;
    let verdict = words::of_verdict(inspected.verdict);
    html! {
        section class={ "study " (verdict.class) } {
            p.verdict { (verdict) }
            h1 { (words::domain(study.domain)) @if study.synthetic { " " span.badge.phantom { "PHANTOM · SYNTHETIC 合成数据" } } }
            p.uid { "Study " (study.study_uid) }
            @for reason in reasons(inspected) {
                p.advice { span.badge { (reason.code) } " " (reason.advice.en) " " span lang="zh" { (reason.advice.zh) } }
            }
        }
    }
}

/// Why a study was rejected, each code once. What is wrong with stills and the like explains it only where nothing else does.
fn reasons(inspected: &Inspected) -> Vec<&RejectionReason> {
    let is_aside = |reason: &&RejectionReason| {
        let of_it = |one: &&GatedInstance| Some(&one.instance_uid) == reason.instance_uid.as_ref();
        inspected.instances.iter().find(of_it).is_some_and(|one| !one.applicable)
    };
    let (aside, mut deciding): (Vec<&RejectionReason>, Vec<&RejectionReason>) =
        inspected.reasons.iter().partition(is_aside);
    if deciding.is_empty() {
        deciding = aside;
    }
    let mut once: Vec<&RejectionReason> = Vec::new();
    for reason in deciding {
        if !once.iter().any(|known| known.code == reason.code) {
            once.push(reason);
        }
    }
    once
}

fn section(
    domain: Domain,
    instance: &GatedInstance,
    clip: Option<&Clip>,
    [number, total]: [usize; 2],
    pictures: &Markup,
) -> Markup {
    let verdict = words::of_verdict(instance.verdict);
    let view = clip.and_then(|clip| clip.view).or(instance.view);
    html! {
        section class={ "instance " (verdict.class) } {
            h2 {
                (number) " / " (total) @if let Some(view) = view { " · " (word(view)) }
                " " span.verdict { (verdict) }
                @if let Some(code) = &instance.code { " " span.badge { (code) } }
            }
            p.uid { "Instance " (instance.instance_uid) }
            // A slide's frames are its tiles, which its thumbnail speaks of.
            @if domain != Domain::Pathology { (frames(instance, clip)) }
            @if let Some(clip) = clip { (flags(&clip.flags)) }
            (pictures)
            (checks(&instance.checks))
        }
    }
}

fn frames(instance: &GatedInstance, clip: Option<&Clip>) -> Markup {
    let timing = clip.map(|clip| clip.timing).or(instance.timing);
    html! {
        p.facts {
            (instance.frames) @if instance.frames == 1 { " frame" } @else { " frames" } " 帧"
            @match timing.and_then(|timing| Some((timing.fps?, timing.source))) {
                Some((fps, source)) => { " · " (words::number(fps)) " fps · time by 时间依据 " (word(source)) }
                None => { " · time unknown 时间未知" }
            }
        }
    }
}

fn flags(flags: &[ReasonCode]) -> Markup {
    html! {
        @if !flags.is_empty() {
            p.flags { "Doubts 存疑: " @for flag in flags { span.badge.fair { (flag) } " " } }
        }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        h3 { "Checks " span lang="zh" { "质控项目" } }
        table.checks {
            thead { tr {
                th { "Check 项目" } th.number { "Value 测量值" } th.number { "Threshold 阈值" } th { "Unit 单位" }
                th { "Verdict 结论" } th { "What to do 建议" }
            } }
            tbody { @for check in checks { (check_row(check)) } }
        }
    }
}

fn check_row(check: &Check) -> Markup {
    let verdict = words::of_check(check.verdict);
    html! {
        tr class=(verdict.class) {
            td.name { (check.name) @if let Some(zh) = words::check(&check.name) { " " span lang="zh" { (zh) } } }
            td.number data-label="value" { @match check.value { Some(value) => { (words::number(value)) }, None => { "–" } } }
            td.number data-label="threshold" { (words::number(check.threshold)) }
            td.unit { (words::unit(&check.unit)) }
            td.word { (verdict) @if let Some(code) = &check.code { " " span.badge { (code) } } }
            td.advice {
                @if let Some(advice) = &check.advice {
                    span { (advice.en) } " " span lang="zh" { (advice.zh) }
                }
            }
        }
    }
}

fn not_applicable(instances: &[&GatedInstance]) -> Markup {
    html! {
        @if !instances.is_empty() {
            section.others {
                h2 { "Not applicable " span lang="zh" { "不适用" } " " small { (instances.len()) } }
                p.note { "Stills, colour, spectra, documents and levels of a slide: no failures. 静态图、彩色、频谱、文档及切片的其他分辨率不计为不合格。" }
                ul { @for one in instances {
                    li { @if let Some(code) = &one.code { span.badge { (code) } " " } span.uid { (one.instance_uid) } }
                } }
            }
        }
    }
}
