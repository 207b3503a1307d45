//! Files, folders and zips.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::{
    fs,
    io::{Cursor, Write as _},
    path::Path,
};

use intake::{FileOptions, FileReport, Novelty, Refusal};
use schemas::{Domain, Priority};
use support::{EXPLICIT, Object, Publishing, Running, start};
use zip::{ZipWriter, write::SimpleFileOptions};

fn take(running: &Running, path: &Path, options: FileOptions) -> Vec<FileReport> {
    let mut reports = Vec::new();
    running.intake.receive_path(path, options, &mut |report| reports.push(report));
    reports
}

fn codes(reports: &[FileReport]) -> Vec<&'static str> {
    let code = |report: &FileReport| match &report.result {
        Ok(receipt) if receipt.novelty == Novelty::Stored => "stored",
        Ok(_) => "duplicate",
        Err(refusal) => refusal.code(),
    };
    reports.iter().map(code).collect()
}

fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(4, 3, image::Rgb([200, 100, 150]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn each_file_of_a_folder_has_its_own_result() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::create_dir_all(input.join("deeper")).unwrap();
    let object = Object::new("1", "1");
    fs::write(input.join("a.dcm"), object.file()).unwrap();
    fs::write(input.join("b_truncated.dcm"), &object.file()[..300]).unwrap();
    fs::write(input.join("c_notes.txt"), b"no picture at all").unwrap();
    fs::write(input.join("d_empty"), b"").unwrap();
    fs::write(input.join("deeper/again.dcm"), object.file()).unwrap();
    fs::write(input.join("e_executable.dcm"), [b"MZ".as_slice(), &object.file()[2..]].concat()).unwrap();
    std::os::unix::fs::symlink(input.join("a.dcm"), input.join("f_link")).unwrap();
    std::os::unix::fs::symlink(folder.path(), input.join("g_loop")).unwrap();
    fs::write(input.join("h.dcm"), Object::new("1", "2").file()).unwrap();
    let running = start(&folder.path().join("spool"));
    let reports = take(&running, &input, FileOptions::default());
    assert_eq!(
        codes(&reports),
        [
            "stored",
            "LENGTH_BEYOND_END",
            "UNKNOWN_FORMAT",
            "UNKNOWN_FORMAT",
            "duplicate",
            "EXECUTABLE_PREAMBLE",
            "NOT_A_FILE",
            "NOT_A_FILE",
            "stored"
        ]
    );
    assert_eq!(
        running.files("quarantine").len(),
        2,
        "the damaged ones; what is no DICOM is left where it is"
    );
    assert_eq!(running.files("incoming").len(), 0);
    assert_eq!(
        codes(&take(&running, &folder.path().join("missing"), FileOptions::default())),
        ["UNREADABLE"]
    );
    running.end();
}

#[test]
fn dicom_is_known_without_its_preamble_and_without_its_meta_header() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    for (number, shorten) in [
        ("1", (|object: &Object| object.file()) as fn(&Object) -> Vec<u8>),
        ("2", |object| object.file()[128..].to_vec()),
        ("3", |object| object.file()[132..].to_vec()),
        ("4", |object| object.data_set()),
    ] {
        let object = Object::new("1", number);
        let path = folder.path().join(number);
        fs::write(&path, shorten(&object)).unwrap();
        assert_eq!(codes(&take(&running, &path, FileOptions::default())), ["stored"], "form {number}");
        assert_eq!(
            running.receive(&object).unwrap().novelty,
            Novelty::Duplicate,
            "form {number} is the same object"
        );
    }
    for path in running.files("objects") {
        let header = pixels::prescan_file(fs::File::open(path).unwrap()).unwrap().header;
        assert_eq!(header.transfer_syntax.uid().as_str(), EXPLICIT);
    }
    running.end();
}

#[test]
fn the_same_picture_is_the_same_study_and_says_what_the_caller_says() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let path = folder.path().join("tile.png");
    fs::write(&path, png()).unwrap();
    let options = FileOptions { priority: Priority::Urgent, synthetic: true, domain: None };
    let reports = take(&running, &path, options);
    let receipt = reports[0].result.as_ref().unwrap();
    assert!(receipt.study.as_str().starts_with("2.25."));
    assert_eq!(codes(&take(&running, &path, options)), ["duplicate"]);
    running.intake.close_study(&receipt.study).unwrap();
    let publishing = Publishing::start(&running.intake);
    let (message, _) = publishing.acquired();
    assert_eq!(message.study.domain, Domain::Pathology);
    assert_eq!(message.study.priority, Priority::Urgent);
    assert!(message.study.synthetic);
    assert_eq!(message.instances[0].transfer_syntax_uid, None);
    publishing.end();
    fs::write(&path, &png()[..20]).unwrap();
    assert_eq!(codes(&take(&running, &path, options)), ["DAMAGED_IMAGE"]);
    running.end();
}

#[test]
fn a_zip_is_its_entries_and_an_entry_name_is_no_path() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let inner = zip(&[("inner.dcm", Object::new("9", "9").file())]);
    let bytes = zip(&[
        ("../../escape.dcm", Object::new("1", "1").file()),
        ("sub/tile.png", png()),
        ("nested.zip", inner),
        ("bad.dcm", Object::new("1", "2").file()[..250].to_vec()),
        ("good.dcm", Object::new("1", "3").file()),
    ]);
    let path = folder.path().join("studies.zip");
    fs::write(&path, &bytes).unwrap();
    let reports = take(&running, &path, FileOptions::default());
    assert_eq!(codes(&reports), ["stored", "stored", "ARCHIVE", "LENGTH_BEYOND_END", "stored"]);
    let mut outside: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    outside.sort();
    assert_eq!(outside, ["spool", "studies.zip"]);
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(codes(&take(&running, &path, FileOptions::default())), ["ARCHIVE"]);
    running.end();
}

#[test]
fn the_index_of_a_medium_is_no_object_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    support::element(&mut bytes, (0x0002, 0x0002), "UI", b"1.2.840.10008.1.3.10");
    support::element(&mut bytes, (0x0002, 0x0010), "UI", EXPLICIT.as_bytes());
    let path = folder.path().join("DICOMDIR");
    fs::write(&path, bytes).unwrap();
    assert_eq!(codes(&take(&running, &path, FileOptions::default())), ["MEDIA_DIRECTORY"]);
    assert_eq!(running.files("quarantine").len(), 0);
    running.end();
}

#[test]
fn folders_nested_without_end_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(&folder.path().join("spool"));
    let input = folder.path().join("input");
    let deep = (0..40).fold(input.clone(), |path, _| path.join("d"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("object.dcm"), Object::new("1", "1").file()).unwrap();
    assert_eq!(codes(&take(&running, &input, FileOptions::default())), ["TOO_DEEP"]);
    running.end();
}

#[test]
fn an_object_over_the_limit_is_refused_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let config = intake::IntakeConfig { max_object: 1_000, ..support::config(&folder.path().join("spool")) };
    let running = support::start_with(config);
    let large = Object::new("1", "1").with_pixels(vec![0; 2_000]);
    assert!(matches!(running.receive(&large), Err(Refusal::TooLarge { limit: 1_000 })));
    assert_eq!(running.files("incoming").len() + running.files("quarantine").len(), 0);
    running.end();
}
