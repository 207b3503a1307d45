//! Hostile and unusual TIFF files, made byte by byte.

use std::{collections::BTreeMap, io::Cursor};

use pixels::{DecodeError, Slide};
use proptest::prelude::*;
use schemas::NotAnalysable;
use stage::{FrameError, TilePosition};

use crate::support::fixture;

/// Type and values of a tag.
#[derive(Clone)]
enum Values {
    Text(&'static str),
    Short(Vec<u16>),
    Long(Vec<u32>),
    Long8(Vec<u64>),
    Rational([u32; 2]),
}

impl Values {
    fn bytes(&self) -> (u16, u64, Vec<u8>) {
        match self {
            Self::Text(text) => (2, text.len() as u64, text.as_bytes().to_vec()),
            Self::Short(words) => {
                (3, words.len() as u64, words.iter().flat_map(|w| w.to_le_bytes()).collect())
            }
            Self::Long(words) => {
                (4, words.len() as u64, words.iter().flat_map(|w| w.to_le_bytes()).collect())
            }
            Self::Long8(words) => {
                (16, words.len() as u64, words.iter().flat_map(|w| w.to_le_bytes()).collect())
            }
            Self::Rational(pair) => (5, 1, pair.iter().flat_map(|w| w.to_le_bytes()).collect()),
        }
    }
}

/// One directory: tags by number, so that a test can replace any of them.
type Tags = BTreeMap<u16, Values>;

/// 4 x 4 grey pixels in 2 x 2 tiles of 2 x 2, uncompressed, whose four bytes each stand at byte 8 of the file and on.
fn level() -> Tags {
    BTreeMap::from([
        (256, Values::Long(vec![4])),
        (257, Values::Long(vec![4])),
        (258, Values::Short(vec![8])),
        (259, Values::Short(vec![1])),
        (262, Values::Short(vec![1])),
        (277, Values::Short(vec![1])),
        (322, Values::Long(vec![2])),
        (323, Values::Long(vec![2])),
        (324, Values::Long(vec![8, 12, 16, 20])),
        (325, Values::Long(vec![4; 4])),
    ])
}

/// The pixels that [`level`] refers to: tile i is all `10 i + 100`.
fn tiles() -> Vec<u8> {
    (0..4).flat_map(|tile| [100 + 10 * tile; 4]).collect()
}

/// A little-endian file: `pixels` at byte 8, then the directories, in a chain.
fn file(pixels: &[u8], directories: &[Tags]) -> Vec<u8> {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    bytes.extend(pixels);
    let mut link = 4;
    for tags in directories {
        let start = bytes.len();
        bytes[link..link + 4].copy_from_slice(&(start as u32).to_le_bytes());
        bytes.extend((tags.len() as u16).to_le_bytes());
        let mut after = start + 2 + 12 * tags.len() + 4;
        let mut values = Vec::new();
        for (tag, value) in tags {
            let (kind, count, mut value) = value.bytes();
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend((count as u32).to_le_bytes());
            if value.len() <= 4 {
                value.resize(4, 0);
                bytes.extend(value);
            } else {
                bytes.extend((after as u32).to_le_bytes());
                after += value.len();
                values.extend(value);
            }
        }
        link = bytes.len();
        bytes.extend([0; 4]);
        bytes.extend(values);
    }
    bytes
}

fn with(mut tags: Tags, changes: &[(u16, Values)]) -> Tags {
    tags.extend(changes.iter().cloned());
    tags
}

fn without(mut tags: Tags, tag: u16) -> Tags {
    tags.remove(&tag);
    tags
}

fn open(bytes: &[u8]) -> Result<Slide<Cursor<Vec<u8>>>, DecodeError> {
    Slide::open(Cursor::new(bytes.to_vec()))
}

fn refusal(bytes: &[u8]) -> &'static str {
    open(bytes).err().map_or("opened", |error| error.code())
}

fn at(level: u32, column: u32, row: u32) -> TilePosition {
    TilePosition { level, column, row }
}

fn one(changes: &[(u16, Values)]) -> Vec<u8> {
    file(&tiles(), &[with(level(), changes)])
}

#[test]
fn the_file_that_the_others_are_made_from_is_read() {
    let mut slide = open(&one(&[])).expect("opens");
    assert_eq!(slide.header().levels.len(), 1);
    assert_eq!(slide.header().levels[0].microns_per_pixel, None);
    for (index, (column, row)) in [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().enumerate() {
        let tile = slide.tile(at(0, column, row)).expect("decodes").expect("is there");
        assert_eq!((tile.width, tile.height), (2, 2));
        assert_eq!(tile.rgb.to_vec(), [100 + 10 * index as u8; 12]);
    }
}

#[test]
fn directories_in_a_circle_end_the_reading() {
    let mut circle = one(&[]);
    let first = u32::from_le_bytes(circle[4..8].try_into().expect("four bytes"));
    let entries = level().len();
    let link = first as usize + 2 + 12 * entries;
    circle[link..link + 4].copy_from_slice(&first.to_le_bytes());
    assert_eq!(refusal(&circle), "TIFF_DIRECTORY_LOOP");

    let own_child = one(&[(330, Values::Long(vec![8 + tiles().len() as u32]))]);
    assert_eq!(refusal(&own_child), "TIFF_DIRECTORY_LOOP");

    let mut two = file(
        &tiles(),
        &[level(), with(level(), &[(256, Values::Long(vec![2])), (257, Values::Long(vec![2]))])],
    );
    let second = two.len() - 4 - (16 + 16);
    two[second..second + 4].copy_from_slice(&first.to_le_bytes());
    assert_eq!(refusal(&two), "TIFF_DIRECTORY_LOOP");
}

#[test]
fn a_hundred_thousand_directories_are_refused_by_number() {
    let empty = BTreeMap::from([(256, Values::Long(vec![4]))]);
    assert_eq!(refusal(&file(&tiles(), &vec![empty.clone(); 100_000])), "TIFF_TOO_MANY_DIRECTORIES");
    // A thousand are a stack of something.
    let mut stack = vec![level()];
    stack.extend(vec![empty; 999]);
    assert_eq!(refusal(&file(&tiles(), &stack)), "opened");

    let children: Vec<u32> = (0..2000).map(|child| 8 + child).collect();
    assert_ne!(refusal(&one(&[(330, Values::Long(children))])), "opened");
    let mut entries = one(&[]);
    let first = u32::from_le_bytes(entries[4..8].try_into().expect("four bytes")) as usize;
    entries[first..first + 2].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(refusal(&entries), "TIFF_TOO_MANY_DIRECTORIES");
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_it_is_taken() {
    let side = |tag, value: u32| (tag, Values::Long(vec![value]));
    assert_eq!(refusal(&one(&[side(322, 1 << 31), side(323, 1 << 31)])), "FRAME_TOO_LARGE");
    assert_eq!(refusal(&one(&[side(322, u32::MAX), side(323, 1)])), "FRAME_TOO_LARGE");
    assert_eq!(
        refusal(&one(&[(322, Values::Long8(vec![u64::MAX])), (323, Values::Long8(vec![u64::MAX]))])),
        "FRAME_TOO_LARGE"
    );
    assert_eq!(refusal(&one(&[side(322, 0)])), "TIFF_TAG_INVALID");
    assert_eq!(refusal(&one(&[side(256, 0)])), "TIFF_TAG_INVALID");
    assert_eq!(refusal(&one(&[side(256, u32::MAX), side(257, u32::MAX)])), "TOO_MANY_TILES");
    assert_eq!(refusal(&one(&[side(256, 6)])), "TIFF_TILE_COUNT");
    assert_eq!(refusal(&one(&[(325, Values::Long(vec![4; 3]))])), "TIFF_TILE_COUNT");
    for tag in [256, 257, 323, 324, 325] {
        assert_eq!(refusal(&file(&tiles(), &[without(level(), tag)])), "TIFF_TAG_INVALID", "without {tag}");
    }
    // A table that would pass the end of the file.
    let mut long = one(&[]);
    let first = u32::from_le_bytes(long[4..8].try_into().expect("four bytes")) as usize;
    let count = first + 2 + 12 * 8 + 4;
    long[count..count + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refusal(&long), "TRUNCATED");
}

#[test]
fn tiles_that_the_file_does_not_hold_cost_themselves() {
    let beyond = one(&[(324, Values::Long(vec![8, 0x7FFF_FFFF, 16, 20]))]);
    let mut slide = open(&beyond).expect("opens");
    assert_eq!(slide.tile(at(0, 1, 0)).expect_err("beyond the end").code(), "TRUNCATED");
    slide.tile(at(0, 0, 1)).expect("decodes").expect("is there");

    let huge = one(&[(325, Values::Long(vec![4, u32::MAX, 4, 2]))]);
    let mut slide = open(&huge).expect("opens");
    assert_eq!(slide.tile(at(0, 1, 0)).expect_err("four gigabytes").code(), "CODESTREAM_DAMAGED");
    assert_eq!(slide.tile(at(0, 1, 1)).expect_err("half a tile").code(), "CODESTREAM_DAMAGED");

    let cut = fixture("slides/aperio_lzw.tif");
    assert_eq!(refusal(&cut[..cut.len() / 2]), "TRUNCATED", "its directories stand at the end");
}

#[test]
fn an_empty_tile_is_glass() {
    let mut slide =
        open(&one(&[(324, Values::Long(vec![8, 0, 16, 20])), (325, Values::Long(vec![4, 4, 0, 4]))]))
            .expect("opens");
    let there = [(0, 0), (1, 0), (0, 1), (1, 1)]
        .map(|(column, row)| slide.tile(at(0, column, row)).expect("is inside").is_some());
    assert_eq!(there, [true, false, false, true]);
}

#[test]
fn a_compression_without_a_decoder_is_named() {
    for (code, name) in [
        (33003, "JPEG 2000"),
        (33005, "JPEG 2000"),
        (50001, "WebP"),
        (50000, "Zstandard"),
        (6, "1995"),
        (3, "fax"),
    ] {
        let error = open(&one(&[(259, Values::Short(vec![code]))])).err().expect("refused");
        assert_eq!(error.code(), "TIFF_COMPRESSION");
        let cause = std::error::Error::source(&error).and_then(|slide| slide.source()).expect("has a cause");
        assert!(cause.to_string().contains(name), "{cause}");
        assert!(cause.to_string().contains(&code.to_string()), "{cause}");
        let reason = NotAnalysable::TransferSyntax;
        assert!(
            matches!(FrameError::from(error), FrameError::NotAnalysable { reason: found } if found == reason)
        );
    }
}

#[test]
fn samples_and_colours_that_are_not_read_are_refused() {
    let short = |tag, value| (tag, Values::Short(vec![value]));
    assert_eq!(refusal(&one(&[short(258, 32)])), "BITS_ALLOCATED");
    assert_eq!(refusal(&one(&[short(258, 1)])), "BITS_ALLOCATED");
    assert_eq!(refusal(&one(&[short(339, 3)])), "BITS_ALLOCATED");
    assert_eq!(refusal(&one(&[short(277, 7)])), "BITS_ALLOCATED");
    assert_eq!(refusal(&one(&[short(277, 3), short(262, 6)])), "PHOTOMETRIC", "YCbCr without JPEG");
    assert_eq!(refusal(&one(&[short(262, 5), short(277, 4)])), "PHOTOMETRIC", "CMYK");
    assert_eq!(refusal(&one(&[short(262, 3)])), "PHOTOMETRIC", "palette");
    assert_eq!(refusal(&one(&[short(259, 8), short(317, 3)])), "TIFF_TAG_INVALID", "differences of floats");
    assert_eq!(refusal(&one(&[(256, Values::Text("four"))])), "TIFF_TAG_INVALID");
}

#[test]
fn broken_streams_of_each_codec_are_refused() {
    for code in [5, 7, 8, 32773] {
        let noise: Vec<u8> = (0..64_u8).map(|byte| byte.wrapping_mul(37) ^ 0x5A).collect();
        let bytes = file(
            &noise,
            &[with(level(), &[(259, Values::Short(vec![code])), (325, Values::Long(vec![16; 4]))])],
        );
        let mut slide = open(&bytes).expect("opens");
        for column in 0..2 {
            match slide.tile(at(0, column, 0)) {
                Err(error) => {
                    assert!(matches!(error.code(), "CODEC_FAILED" | "CODESTREAM_DAMAGED"), "{error:?}");
                }
                Ok(tile) => {
                    assert_eq!(tile.expect("is there").rgb.len(), 12, "noise may be a code of {code}");
                }
            }
        }
    }
}

#[test]
fn a_jpeg_that_claims_another_size_is_refused_before_it_is_decoded() {
    let mut bytes = fixture("slides/subifds_jpeg.big.tif");
    // SOF0 of the first tile: height and width become 65,500.
    let frame = bytes.windows(4).position(|window| window == [0xFF, 0xC0, 0, 17]).expect("is baseline");
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    let mut slide = open(&bytes).expect("opens");
    assert_eq!(slide.tile(at(0, 0, 0)).expect_err("65,500 pixels wide").code(), "CODESTREAM_MISMATCH");
    slide.tile(at(0, 1, 0)).expect("decodes").expect("is there");
}

#[test]
fn a_file_of_labels_holds_nothing_to_show() {
    for change in [
        (254, Values::Long(vec![9])),
        (254, Values::Long(vec![4])),
        (270, Values::Text("Label\0")),
        (270, Values::Text("Aperio Image Library\r\nmacro 1280x431\0")),
    ] {
        let error = open(&one(&[change])).err().expect("refused");
        assert_eq!(error.code(), "LABEL_OR_OVERVIEW");
        let reason = NotAnalysable::LabelOrOverview;
        assert!(
            matches!(FrameError::from(error), FrameError::NotAnalysable { reason: found } if found == reason)
        );
    }
    // A picture in strips that says it is a label: not decoded as a field of view either.
    let strips = BTreeMap::from([
        (256, Values::Long(vec![4])),
        (257, Values::Long(vec![4])),
        (258, Values::Short(vec![8])),
        (262, Values::Short(vec![1])),
        (270, Values::Text("label\0")),
        (273, Values::Long(vec![8])),
        (279, Values::Long(vec![16])),
    ]);
    assert_eq!(refusal(&file(&tiles(), std::slice::from_ref(&strips))), "LABEL_OR_OVERVIEW");
    assert_eq!(refusal(&file(&tiles(), &[without(strips, 270)])), "opened");
}

#[test]
fn only_smaller_pictures_of_the_same_shape_are_levels() {
    let sized = |columns: u32, rows: u32| {
        let tiles = columns.div_ceil(2) * rows.div_ceil(2);
        with(
            level(),
            &[
                (256, Values::Long(vec![columns])),
                (257, Values::Long(vec![rows])),
                (324, Values::Long(vec![8; tiles as usize])),
                (325, Values::Long(vec![4; tiles as usize])),
            ],
        )
    };
    // Not in order, with a second plane of the base, and a picture of another shape.
    let bytes = file(&tiles(), &[sized(16, 8), sized(64, 32), sized(64, 32), sized(33, 17), sized(16, 16)]);
    let slide = open(&bytes).expect("opens");
    let sizes: Vec<_> = slide.header().levels.iter().map(|level| (level.columns, level.rows)).collect();
    assert_eq!(sizes, [(64, 32), (33, 17), (16, 8)]);
    let warnings: Vec<_> = slide.header().warnings.iter().map(schemas::ReasonCode::as_str).collect();
    assert_eq!(warnings, ["DIRECTORY_SKIPPED"]);
}

#[test]
fn a_scale_that_no_microscope_has_is_none() {
    let resolution = |per_unit: u32, unit: u16| {
        let value = Values::Rational([per_unit, 1]);
        let bytes = one(&[(282, value.clone()), (283, value), (296, Values::Short(vec![unit]))]);
        open(&bytes).expect("opens").header().levels[0].microns_per_pixel
    };
    assert_eq!(resolution(40_000, 3), Some([0.25; 2]));
    assert_eq!(resolution(50_800, 2), Some([0.5; 2]));
    assert_eq!(resolution(40_000, 1), None, "no unit");
    for screen in [0, 1, 72, 300, 1200] {
        assert_eq!(resolution(screen, 2), None, "{screen} dots an inch");
    }
    let described =
        |text| open(&one(&[(270, Values::Text(text))])).expect("opens").header().levels[0].microns_per_pixel;
    assert_eq!(
        described("Aperio Image Library v1\r\n4x4|AppMag = 40|MPP = 0.2520|Left = 3"),
        Some([0.252; 2])
    );
    assert_eq!(described("MPP = none"), None);
    assert_eq!(described("MPP = 1e400"), None);
}

#[test]
fn a_tiled_screenshot_with_a_dark_margin_is_taken_for_ultrasound() {
    let dark = [0_u8; 16];
    assert_eq!(refusal(&file(&dark, &[level()])), "NOT_MICROSCOPY");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is changed in a real file: an error or a tile of the announced size, never a panic.
    #[test]
    fn changed_files_never_panic(name in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let name = ["aperio_lzw.tif", "subifds_jpeg.big.tif", "deflate.mm.tif"][name];
        let mut bytes = fixture(&format!("slides/{name}"));
        for (place, byte) in changes {
            // Half of the changes go to the last kilobytes, where the directories are.
            let length = bytes.len();
            let place = place.index(length);
            let place = if byte % 2 == 0 { length - 1 - place % length.min(4096) } else { place };
            bytes[place] = byte;
        }
        let Ok(mut slide) = open(&bytes) else { return Ok(()) };
        for (index, level) in (0..).zip(slide.header().levels.clone()) {
            if let Ok(Some(tile)) = slide.tile(at(index, 0, 0)) {
                prop_assert_eq!(tile.width, level.columns.min(level.tile_columns));
                prop_assert_eq!(tile.rgb.len(), 3 * tile.width as usize * tile.height as usize);
            }
        }
    }
}
