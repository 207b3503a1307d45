//! The name that an echo machine writes into its pictures, and the name in the header, are found in the objects as
//! received and in the identity table, and nowhere else: no event, no log, no page, no table, no stored pixel.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use image::GenericImageView as _;
use pglite_oxide::PgliteServer;
use phantom::echo::{Corruption, EchoSpec, Encoding, generate};
use postgres::{Client, NoTls};
use schemas::KeyframesExtracted;

use crate::harness::{
    process::{Place, stdout},
    studies::{Study, make, small, submit},
    topic::records,
};

/// A phantom's name, patient id and accession number all end in the low half of its seed.
const SEED: u64 = 0xC0FF_EE77;
const SECRET: &str = "C0FFEE77";
/// What else the machine writes beside the name, and the header says.
const BORN: &str = "DOB 19500101";

/// The phantom's screen: where the probe lies and how far the fan reaches, in pixels.
const SCREEN: [u32; 2] = [640, 480];
const PROBE: [f64; 2] = [320.0, 46.0];
const REACH: f64 = 386.0;
/// Left, top, width, height of the name and date of birth on it.
const BURNED_IN: [usize; 4] = [8, 6, 170, 20];
/// Left and top of a second copy, made by this test: beside the fan, inside the rectangle around it.
const COPY: [usize; 2] = [90, 58];
/// How far outside the fan a pixel counts as outside: pixels are not points, and JPEG rings.
const MARGIN: f64 = 3.0;

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

/// As a bytea column is printed.
fn hex(text: &str) -> String {
    let digits =
        |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    text.bytes().flat_map(digits).collect()
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in [SECRET, BORN, "PHANTOM^ECHO"] {
        let found = holds(bytes, secret) || holds(bytes, &hex(secret));
        assert!(!found, "{what} holds {secret}");
    }
}

/// Whether the middle of a pixel of the screen lies outside the fan.
fn is_outside(x: u32, y: u32, half_angle: f64) -> bool {
    let (dx, dy) = (f64::from(x) - PROBE[0], f64::from(y) - PROBE[1]);
    let range = dx.hypot(dy);
    let beside = (dx.atan2(dy).abs() - half_angle) * range;
    range > MARGIN && (range > REACH + MARGIN || beside > MARGIN || dy < -MARGIN)
}

/// Lit pixels of a stored picture outside the fan, and all that are lit. `corner` is where on the screen it was cut out.
fn lit(png: &[u8], corner: Option<[u32; 2]>, half_angle: f64) -> [usize; 2] {
    let picture = image::load_from_memory_with_format(png, image::ImageFormat::Png).unwrap();
    let [left, top] = corner.unwrap_or_else(|| {
        // The rectangle around the fan: the same to the left and right of the probe, and down to the fan's end.
        [(SCREEN[0] + 1 - picture.width()) / 2, (PROBE[1] + REACH) as u32 + 1 - picture.height()]
    });
    assert!(left + picture.width() <= SCREEN[0] && top + picture.height() <= SCREEN[1], "not reduced");
    let lit = || picture.pixels().filter(|(_, _, pixel)| pixel.0[..3].iter().any(|level| *level > 0));
    let outside = lit().filter(|(x, y, _)| is_outside(left + x, top + y, half_angle));
    [outside.count(), lit().count()]
}

/// Writes a copy of the burned-in text beside the fan into every frame of a file with native pixels.
fn copy_text(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let frame = 3 * (SCREEN[0] * SCREEN[1]) as usize;
    let row = 3 * SCREEN[0] as usize;
    let frames = bytes.len() / frame;
    let pixels = bytes.len() - frames * frame;
    let [left, top, width, height] = BURNED_IN;
    let mut copied = 0;
    for start in (0..frames).map(|index| pixels + index * frame) {
        for y in 0..height {
            let from = start + (top + y) * row + 3 * left;
            let text = bytes[from..from + 3 * width].to_vec();
            copied += text.iter().filter(|level| **level > 100).count();
            let to = start + (COPY[1] + y) * row + 3 * COPY[0];
            bytes[to..to + 3 * width].copy_from_slice(&text);
        }
    }
    assert!(copied > 1000 * frames, "the picture shows text where it is said to: {copied}");
    fs::write(file, bytes).unwrap();
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// Every table of the stopped service and its rows as text.
fn tables(data_dir: &Path) -> BTreeMap<String, String> {
    let server = PgliteServer::builder().path(data_dir.join("postgres")).start().unwrap();
    let mut client = Client::connect(&server.database_url(), NoTls).unwrap();
    let names = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'prescreen'";
    let names: Vec<String> = client.query(names, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let rows = names.into_iter().map(|name| {
        let all = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM prescreen.\"{name}\" t");
        let text = client.query_one(&all, &[]).unwrap().get(0);
        (name, text)
    });
    let rows = rows.collect();
    drop(client);
    server.shutdown().unwrap();
    rows
}

/// A study that is accepted, one that is rejected, and one with a second copy of the name beside the fan.
fn studies(folder: &Path) -> (Vec<Study>, f64) {
    let corruption: Corruption = "blur:5".parse().unwrap();
    // The same seed with another heart is another study of the same patient.
    let spec = small(SEED);
    let mut blurred = EchoSpec { corruption: Some(corruption), ..spec.clone() };
    blurred.heart.edv_ml += 1.0;
    let mut native = EchoSpec { encoding: Encoding::Native, ..spec.clone() };
    native.heart.edv_ml += 2.0;
    let half_angle = spec.machine.half_angle_deg.to_radians();
    let studies: Vec<Study> = [spec, blurred, native].iter().map(|spec| make(spec, folder)).collect();
    studies[2].files.iter().for_each(|file| copy_text(file));
    (studies, half_angle)
}

#[test]
fn a_name_in_header_and_pixels_is_found_in_raw_objects_and_the_identity_table_alone() {
    let place = Place::new("service with names in its pictures").set("log.filter=\"debug\"");
    let (studies, half_angle) = studies(&place.folder("sent"));
    let uids: std::collections::BTreeSet<&str> = studies.iter().map(|study| study.uid.as_str()).collect();
    assert_eq!(uids.len(), 3);
    let mut service = place.start();
    let mut states = Vec::new();
    for study in &studies {
        assert!(holds(&fs::read(&study.files[0]).unwrap(), SECRET), "the objects hold the name");
        submit(study, || place.entry());
        states.push(service.terminal(&study.uid).state);
        for path in [format!("/studies/{}", study.uid), format!("/api/studies/{}", study.uid)] {
            let (status, body) = service.get(&path);
            assert_eq!(status, 200, "{path}");
            assert_clean(&path, body.as_bytes());
        }
    }
    assert_eq!(states, ["reported", "rejected", "reported"]);
    let arrivals = service.get("/api/acquisition/PHANTOM?limit=1000").1;
    for path in [
        "/",
        "/studies",
        "/api/studies",
        "/metrics",
        "/acquisition",
        "/pipeline",
        "/dead-letters",
        "/replays",
        "/api/graph",
        "/api/history",
        "/api/dead-letters",
        "/acquisition/PHANTOM",
    ] {
        assert_clean(path, service.get(path).1.as_bytes());
    }
    assert_clean("/api/acquisition/PHANTOM", arrivals.as_bytes());

    let broker = service.entry().broker;
    let mut corners: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let mut seen = 0;
    for line in stdout(&place.cli(&["topics"])).lines() {
        let topic = line.split_whitespace().next().unwrap();
        for record in records(&broker, topic) {
            assert_clean(topic, &record.payload);
            assert_clean(topic, &record.key);
            record.headers.iter().for_each(|(name, value)| assert_clean(name, value));
            if topic == "keyframes.extracted.v1" {
                let message: KeyframesExtracted = serde_json::from_slice(&record.payload).unwrap();
                for keyframe in message.clips.iter().flat_map(|clip| &clip.keyframes) {
                    let corner = keyframe.bbox.map_or([0, 0], |[left, top, ..]| [left, top]);
                    corners.insert(keyframe.image.sha256.to_string(), corner);
                }
            }
            seen += 1;
        }
    }
    assert!(seen >= 12 && corners.len() >= 8, "{seen} records, {} keyframes", corners.len());
    service.stop();

    assert_clean("the log", &fs::read(place.log()).unwrap());
    let data_dir = place.data_dir();
    let kept = ["spool", "blobs/raw", "postgres"].map(|name| data_dir.join(name));
    for file in files_below(&data_dir).iter().filter(|file| !kept.iter().any(|kept| file.starts_with(kept))) {
        assert_clean(&file.display().to_string(), &fs::read(file).unwrap());
    }

    let pictures = files_below(&data_dir.join("blobs/frames"));
    assert!(pictures.len() > corners.len(), "keyframes and pictures of arrivals: {}", pictures.len());
    for file in &pictures {
        let png = fs::read(file).unwrap();
        let name = schemas::Digest::of(&png).to_string();
        let [outside, all] = lit(&png, corners.get(&name).copied(), half_angle);
        assert_eq!(outside, 0, "{} shows {outside} lit pixels outside the fan, of {all}", file.display());
        assert!(all > 10_000, "{} shows the heart: {all} lit pixels", file.display());
    }

    let tables = tables(&data_dir);
    for (name, rows) in &tables {
        match name.as_str() {
            "identity" => assert!(holds(rows.as_bytes(), &hex(SECRET)), "the one place for a name has it"),
            name => assert_clean(name, rows.as_bytes()),
        }
    }
    assert!(!tables["reports"].is_empty() && !tables["rejections"].is_empty(), "{:?}", tables.keys());
}

#[test]
fn the_search_for_lit_pixels_finds_burned_in_text() {
    let folder = tempfile::tempdir().unwrap();
    let spec = EchoSpec { encoding: Encoding::Native, ..small(SEED) };
    let half_angle = spec.machine.half_angle_deg.to_radians();
    let frame = 3 * (SCREEN[0] * SCREEN[1]) as usize;
    let file = generate(&spec).unwrap().instances.swap_remove(0).file_bytes;
    let screen =
        image::RgbImage::from_raw(SCREEN[0], SCREEN[1], file[file.len() - frame..].to_vec()).unwrap();
    let search = |picture: &image::RgbImage, corner: [u32; 2]| {
        let path = folder.path().join("picture.png");
        picture.save(&path).unwrap();
        lit(&fs::read(&path).unwrap(), Some(corner), half_angle)[0]
    };
    assert!(search(&screen, [0, 0]) > 1000, "name, date of birth and electrocardiogram");
    let fan = image::imageops::crop_imm(&screen, 300, 120, 40, 200).to_image();
    assert_eq!(search(&fan, [300, 120]), 0, "the middle of the fan");
}
