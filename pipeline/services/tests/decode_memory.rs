//! What a decode worker takes at most, read from the kernel: slides of any size, and files made to exhaust it.
//!
//! One test, because it looks at all workers that this process has started.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};
use schemas::{Area, FrameNumber};
use services::{DecodePool, DecodePoolConfig, ObjectBlobs};
use stage::{Blobs as _, FrameError, Frames as _, TilePosition};
use tempfile::TempDir;

/// What the whole of a worker may take, as the default configuration has it.
const LIMIT: u64 = 256 << 20;
/// What a slide may take, however large it is.
const SLIDE_LIMIT: u64 = 100_000_000;
const ACROSS: u32 = 32;
const DOWN: u32 = 24;
const TILE: u16 = 256;

fn worker() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let worker = deps.parent().and_then(Path::parent).unwrap().join("examples/decode_worker");
    assert!(worker.exists(), "{} is not built; run cargo test without --test", worker.display());
    worker
}

/// The most that the workers of this process ever held resident, in bytes (VmHWM).
fn peak() -> u64 {
    let line = |status: &str, name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let own = u64::from(std::process::id());
    let statuses = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        // Processes that end meanwhile are none of ours: those wait to be reaped.
        fs::read_to_string(entry.path().join("status")).ok()
    });
    statuses
        .filter(|status| line(status, "PPid:") == Some(own))
        .filter_map(|status| line(&status, "VmHWM:"))
        .max()
        .map(|kib| kib * 1024)
        .unwrap()
}

/// One explicit VR little endian element.
fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr.as_bytes());
    bytes.extend((value.len().next_multiple_of(2) as u16).to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(2), if vr == "UI" { 0 } else { b' ' });
    bytes
}

fn item(value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
    bytes.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// A whole slide image of 768 tiles in JPEG, no two neighbours alike.
fn whole_slide() -> Vec<u8> {
    let tiles: Vec<Vec<u8>> = (0..16_u8)
        .map(|kind| {
            let picture = image::RgbImage::from_fn(TILE.into(), TILE.into(), |x, y| {
                let grain = (x * 31 + y * 17 + x * y * u32::from(kind)) % 64;
                image::Rgb([200 - kind, (120 + grain) as u8, 190])
            });
            let mut jpeg = Cursor::new(Vec::new());
            picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
            jpeg.into_inner()
        })
        .collect();
    let word = |number, value: u16| element(0x0028, number, "US", &value.to_le_bytes());
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let elements = [
        element(0x0002, 0x0010, "UI", b"1.2.840.10008.1.2.4.50"),
        element(0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.77.1.6"),
        element(0x0008, 0x0018, "UI", b"2.25.3"),
        element(0x0008, 0x0060, "CS", b"SM"),
        element(0x0020, 0x000D, "UI", b"2.25.1"),
        element(0x0020, 0x000E, "UI", b"2.25.2"),
        element(0x0020, 0x9311, "CS", b"TILED_FULL"),
        word(0x0002, 3),
        element(0x0028, 0x0004, "CS", b"YBR_FULL_422"),
        word(0x0006, 0),
        element(0x0028, 0x0008, "IS", (ACROSS * DOWN).to_string().as_bytes()),
        word(0x0010, TILE),
        word(0x0011, TILE),
        word(0x0100, 8),
        word(0x0101, 8),
        word(0x0102, 7),
        word(0x0103, 0),
        element(0x0048, 0x0006, "UL", &(ACROSS * u32::from(TILE)).to_le_bytes()),
        element(0x0048, 0x0007, "UL", &(DOWN * u32::from(TILE)).to_le_bytes()),
    ];
    bytes.extend(elements.concat());
    bytes.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend(item(&[]));
    bytes.extend((0..(ACROSS * DOWN) as usize).flat_map(|frame| item(&tiles[frame * 7 % 16])));
    bytes.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes
}

/// A PNG of one colour: a few hundred kilobytes, whatever its size.
fn plain_png(width: u32, height: u32, kind: ExtendedColorType) -> Vec<u8> {
    let bytes = u64::from(width) * u64::from(height) * u64::from(kind.bits_per_pixel()) / 8;
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&vec![200; bytes as usize], width, height, kind).unwrap();
    png
}

#[test]
fn a_slide_takes_little_and_nothing_takes_more_than_the_limit() {
    let dir = TempDir::new().unwrap();
    let blobs = Arc::new(ObjectBlobs::folder(&dir.path().join("blobs")).unwrap());
    let config = DecodePoolConfig {
        program: worker(),
        args: vec![],
        workers: 1,
        request_timeout: Duration::from_mins(1),
        memory_bytes: LIMIT,
    };
    let pool = DecodePool::new(Arc::clone(&blobs), config.clone());
    let slide = blobs.put(Area::Raw, &whole_slide()).unwrap();
    let header = pool.slide(&slide).unwrap();
    assert_eq!((header.levels[0].columns, header.levels[0].rows), (8192, 6144));
    let mut sums = std::collections::BTreeSet::new();
    for (row, column) in (0..DOWN).flat_map(|row| (0..ACROSS).map(move |column| (row, column))) {
        let tile = pool.tile(&slide, TilePosition { level: 0, column, row }).unwrap().unwrap();
        sums.insert(tile.rgb.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }
    assert_eq!(sums.len(), 16, "each kind of tile came back");
    let taken = peak();
    println!("768 tiles: {} MB resident at most", taken / 1_000_000);
    assert!(taken < SLIDE_LIMIT, "a slide of 768 tiles took {taken} bytes");
    drop(pool);

    let pictures = [
        ("24 megapixels, honest", true, plain_png(6000, 4000, ExtendedColorType::Rgb8)),
        ("24 megapixels with opacity", true, plain_png(6000, 4000, ExtendedColorType::Rgba8)),
        ("67 megapixels", false, plain_png(8192, 8192, ExtendedColorType::Rgb8)),
        ("24 megapixels of 16 bits with opacity", false, plain_png(6144, 4096, ExtendedColorType::Rgba16)),
    ];
    for (name, decodes, bytes) in pictures {
        let pool = DecodePool::new(Arc::clone(&blobs), config.clone());
        let blob = blobs.put(Area::Raw, &bytes).unwrap();
        let tile = pool
            .tile(&blob, TilePosition { level: 0, column: 0, row: 0 })
            .map(|tile| assert!(tile.is_some()));
        let frame = pool.frame(&blob, FrameNumber(1)).map(|_| ());
        for answer in [tile, frame] {
            match answer {
                Err(FrameError::Damaged { code, .. }) if !decodes => {
                    assert!(matches!(code.as_str(), "FRAME_TOO_LARGE" | "STILL_INVALID"), "{name}: {code:?}");
                }
                answer => assert_eq!(answer.is_ok(), decodes, "{name}: {answer:?}"),
            }
        }
        let taken = peak();
        println!("{name}: {} MB resident at most", taken / 1_000_000);
        assert!(taken < LIMIT, "{name} took {taken} bytes");
    }
}
