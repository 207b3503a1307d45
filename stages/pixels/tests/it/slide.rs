//! Slides through the public door: levels, tiles, and what is refused.

use std::io::{Cursor, Read, Seek, SeekFrom};

use image::{ImageFormat, Rgb, RgbImage};
use pixels::Slide;
use stage::{FrameError, Image, SlideLevel, TilePosition};

use crate::support::{EXPLICIT, JPEG, Object, element, fixture, head, item, sequence_end};

const WHOLE_SLIDE: &[u8] = b"1.2.840.10008.5.1.4.1.1.77.1.6";
const MICROSCOPIC: &[u8] = b"1.2.840.10008.5.1.4.1.1.77.1.2";
const ULTRASOUND: &[u8] = b"1.2.840.10008.5.1.4.1.1.3.1";

fn at(level: u32, column: u32, row: u32) -> TilePosition {
    TilePosition { level, column, row }
}

fn open(bytes: Vec<u8>) -> Slide<Cursor<Vec<u8>>> {
    Slide::open(Cursor::new(bytes)).expect("opens")
}

/// The stable code of the refusal to open.
fn refusal(bytes: Vec<u8>) -> &'static str {
    Slide::open(Cursor::new(bytes)).err().map_or("opened", |error| error.code())
}

fn file(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

/// The colours of an H&E field: bright everywhere.
fn field() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| Rgb([200 + (x % 40) as u8, 120 + (y % 30) as u8, 190]))
}

#[derive(serde::Deserialize)]
struct Expected {
    file: String,
    tolerance: u8,
    levels: Vec<ExpectedLevel>,
}

#[derive(serde::Deserialize)]
struct ExpectedLevel {
    columns: u32,
    rows: u32,
    microns: [f64; 2],
    /// Column, row, red, green, blue.
    pixels: Vec<[u32; 5]>,
}

#[test]
fn levels_scales_and_tiles_are_those_that_wsidicom_and_tifffile_read() {
    let expected: Vec<Expected> =
        serde_json::from_slice(&fixture("slides/expected.json")).expect("is a list of cases");
    assert!(expected.len() >= 5, "{} cases", expected.len());
    for case in expected {
        let mut slide = open(fixture(&format!("slides/{}", case.file)));
        let levels = slide.header().levels.clone();
        assert_eq!(levels.len(), case.levels.len(), "{}", case.file);
        for ((index, level), expected) in (0..).zip(&levels).zip(&case.levels) {
            assert_eq!((level.columns, level.rows), (expected.columns, expected.rows), "{}", case.file);
            let microns = level.microns_per_pixel.expect("has a scale");
            for (ours, theirs) in microns.iter().zip(expected.microns) {
                assert!((ours - theirs).abs() < 1e-6 * theirs, "{}: {ours} for {theirs}", case.file);
            }
            for [x, y, rgb @ ..] in &expected.pixels {
                let tile = slide.tile(at(index, x / level.tile_columns, y / level.tile_rows));
                let tile = tile.expect("decodes").unwrap_or_else(|| glass(level));
                let place = (y % level.tile_rows * tile.width + x % level.tile_columns) as usize;
                for (ours, theirs) in tile.rgb[3 * place..3 * place + 3].iter().zip(rgb) {
                    let difference = u32::from(*ours).abs_diff(*theirs);
                    assert!(
                        difference <= u32::from(case.tolerance),
                        "{} at {x}, {y}: {difference}",
                        case.file
                    );
                }
            }
        }
    }
}

fn glass(level: &SlideLevel) -> Image {
    let (width, height) = (level.tile_columns, level.tile_rows);
    Image { width, height, rgb: vec![0xFF; 3 * width as usize * height as usize].into() }
}

#[test]
fn tiles_at_the_edge_are_cut_and_those_beyond_are_refused() {
    for name in ["full_jpeg.dcm", "subifds_jpeg.big.tif"] {
        let mut slide = open(fixture(&format!("slides/{name}")));
        let size = |tile: Image| (tile.width, tile.height, tile.rgb.len());
        let mut tile = |position| slide.tile(position).map(|tile| size(tile.expect("is there")));
        assert_eq!(tile(at(0, 0, 0)).expect("inside"), (64, 64, 3 * 64 * 64), "{name}");
        assert_eq!(tile(at(0, 2, 1)).expect("the last"), (150 - 128, 100 - 64, 3 * 22 * 36), "{name}");
        for beyond in [at(0, 3, 0), at(0, 0, 2), at(9, 0, 0), at(0, u32::MAX, u32::MAX)] {
            assert_eq!(tile(beyond).expect_err("beyond").code(), "TILE_POSITION", "{name}: {beyond:?}");
        }
    }
}

#[test]
fn a_sparse_slide_has_glass_where_it_has_no_frame() {
    let mut slide = open(fixture("slides/sparse_rle.dcm"));
    for (column, row, there) in [(0, 0, true), (1, 0, false), (2, 0, true), (2, 1, false), (0, 1, true)] {
        let tile = slide.tile(at(0, column, row)).expect("is inside");
        assert_eq!(tile.is_some(), there, "tile {column}, {row}");
    }
    let level = slide.header().levels[0];
    assert_eq!(level.microns_per_pixel, Some([0.25, 0.5]), "horizontal comes first");
}

#[test]
fn label_and_overview_of_a_scanner_file_are_no_levels() {
    let slide = open(fixture("slides/aperio_lzw.tif"));
    let sizes: Vec<_> = slide.header().levels.iter().map(|level| (level.columns, level.rows)).collect();
    assert_eq!(sizes, [(150, 100), (75, 50)]);
}

#[test]
fn a_field_of_view_is_one_level_of_one_tile() {
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Jpeg] {
        let mut slide = open(file(&field(), format));
        let [level] = slide.header().levels[..] else { panic!("one level") };
        assert_eq!((level.columns, level.rows, level.tile_columns, level.tile_rows), (40, 30, 40, 30));
        let tile = slide.tile(at(0, 0, 0)).expect("decodes").expect("is there");
        if format != ImageFormat::Jpeg {
            assert_eq!(tile.rgb.to_vec(), field().into_raw());
        }
        assert_eq!(slide.tile(at(0, 1, 0)).expect_err("one tile").code(), "TILE_POSITION");
    }
}

/// A whole slide of 2 x 2 tiles of 2 x 2 grey pixels, 3 x 3 pixels in all; tile i is all `10 i + 100`.
fn whole_slide() -> Object {
    let pixels: Vec<u8> = (0..4).flat_map(|tile| [100 + 10 * tile; 4]).collect();
    Object::new(EXPLICIT, 2, 2)
        .with(0x0008, 0x0016, "UI", WHOLE_SLIDE)
        .with(0x0008, 0x0060, "CS", b"SM")
        .with(0x0020, 0x9311, "CS", b"TILED_FULL")
        .with(0x0048, 0x0006, "UL", &3_u32.to_le_bytes())
        .with(0x0048, 0x0007, "UL", &3_u32.to_le_bytes())
        .frames("4")
        .pixels(&pixels)
}

fn sequence(group: u16, number: u16, items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = head(group, number, "SQ", u32::MAX);
    bytes.extend(items.iter().flat_map(|inner| item(inner)));
    bytes.extend(sequence_end());
    bytes
}

/// Per-frame functional groups that place each frame at a column and row, from 1.
fn placed(places: &[(i32, i32)]) -> Vec<u8> {
    let groups: Vec<_> = places
        .iter()
        .map(|(column, row)| {
            let place = [
                element(0x0048, 0x021E, "SL", &column.to_le_bytes()),
                element(0x0048, 0x021F, "SL", &row.to_le_bytes()),
            ];
            sequence(0x0048, 0x021A, &[place.concat()])
        })
        .collect();
    sequence(0x5200, 0x9230, &groups)
}

fn sparse(places: &[(i32, i32)]) -> Object {
    whole_slide().with(0x0020, 0x9311, "CS", b"TILED_SPARSE").raw((0x5200, 0x9230), placed(places))
}

fn value(slide: &mut Slide<Cursor<Vec<u8>>>, column: u32, row: u32) -> Option<u8> {
    slide.tile(at(0, column, row)).expect("inside").map(|tile| tile.rgb[0])
}

#[test]
fn frames_of_a_full_matrix_go_along_the_rows() {
    let mut slide = open(whole_slide().file());
    let values = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(column, row)| value(&mut slide, column, row));
    assert_eq!(values, [Some(100), Some(110), Some(120), Some(130)]);
    let corner = slide.tile(at(0, 1, 1)).expect("inside").expect("there");
    assert_eq!((corner.width, corner.height), (1, 1));
}

#[test]
fn frames_of_a_sparse_matrix_lie_where_their_groups_say() {
    let mut slide = open(sparse(&[(3, 3), (1, 3), (3, 3), (1, 1)]).file());
    let values = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(column, row)| value(&mut slide, column, row));
    assert_eq!(values, [Some(130), None, Some(110), Some(100)]);
    let warnings: Vec<_> = slide.header().warnings.iter().map(schemas::ReasonCode::as_str).collect();
    assert_eq!(warnings, ["FIRST_PLANE_ONLY"], "two frames lie at one place");
}

#[test]
fn a_matrix_that_its_frames_do_not_fill_is_refused() {
    let wider = whole_slide().with(0x0048, 0x0006, "UL", &5_u32.to_le_bytes());
    assert_eq!(refusal(wider.file()), "FRAME_COUNT_MISMATCH");
    // Eight frames are two planes, if the header says so or nothing.
    let planes = |object: Object| object.frames("8").pixels(&[150; 32]);
    assert_eq!(refusal(planes(whole_slide()).file()), "opened");
    let paths = |n: u32| planes(whole_slide()).with(0x0048, 0x0302, "UL", &n.to_le_bytes());
    assert_eq!(refusal(paths(2).file()), "opened");
    assert_eq!(refusal(paths(3).file()), "FRAME_COUNT_MISMATCH");
    assert_eq!(refusal(paths(u32::MAX).file()), "FRAME_COUNT_MISMATCH");
    let endless = sparse(&[(1, 1); 4]).with(0x0048, 0x0006, "UL", &u32::MAX.to_le_bytes());
    assert_eq!(refusal(endless.file()), "TOO_MANY_TILES");
    assert_eq!(refusal(whole_slide().without((0x0048, 0x0007)).file()), "ATTRIBUTE_INVALID");
    let no_matrix = whole_slide().without((0x0048, 0x0006)).without((0x0048, 0x0007));
    assert_eq!(refusal(no_matrix.file()), "ATTRIBUTE_INVALID");
    assert_eq!(refusal(whole_slide().frames("0").file()), "ATTRIBUTE_INVALID");
}

#[test]
fn frames_without_a_place_on_the_grid_are_refused() {
    for places in [&[(1, 1), (3, 1), (1, 3)][..], &[(1, 1); 5], &[]] {
        assert_eq!(refusal(sparse(places).file()), "TILE_PLACE_INVALID", "{places:?}");
    }
    for place in [(2, 1), (0, 1), (-1, 1), (1, 5), (i32::MAX, 1), (1, i32::MIN)] {
        assert_eq!(refusal(sparse(&[place; 4]).file()), "TILE_PLACE_INVALID", "{place:?}");
    }
}

#[test]
fn a_part_of_a_concatenation_is_refused_and_a_concatenation_of_one_is_not() {
    let part = |of: u16| whole_slide().with(0x0020, 0x9161, "UI", b"2.25.9").word(0x0020, 0x9163, of);
    assert_eq!(refusal(part(2).file()), "CONCATENATION");
    assert_eq!(refusal(part(1).file()), "opened");
    assert_eq!(refusal(part(1).without((0x0020, 0x9163)).file()), "CONCATENATION");
}

#[test]
fn labels_overviews_and_burned_in_text_are_never_decoded() {
    let objects = [
        whole_slide().with(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\LABEL\\NONE"),
        whole_slide().with(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\OVERVIEW\\NONE"),
        whole_slide().with(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\LOCALIZER\\NONE"),
        whole_slide().with(0x0048, 0x0010, "CS", b"YES"),
        whole_slide().with(0x0028, 0x0301, "CS", b"YES"),
    ];
    for object in objects {
        let error = Slide::open(Cursor::new(object.file())).err().expect("refused");
        assert_eq!(error.code(), "LABEL_OR_OVERVIEW");
        let reason = schemas::NotAnalysable::LabelOrOverview;
        assert!(
            matches!(FrameError::from(error), FrameError::NotAnalysable { reason: found } if found == reason)
        );
    }
    assert_eq!(refusal(whole_slide().with(0x0048, 0x0010, "CS", b"NO").file()), "opened");
}

#[test]
fn nothing_that_may_be_ultrasound_leaves_as_a_tile() {
    let single = |modality: &[u8], class: &[u8]| {
        Object::new(EXPLICIT, 2, 2)
            .with(0x0008, 0x0016, "UI", class)
            .with(0x0008, 0x0060, "CS", modality)
            .pixels(&[200; 4])
    };
    let regions = sequence(0x0018, 0x6011, &[element(0x0018, 0x6012, "US", &1_u16.to_le_bytes())]);
    let objects = [
        single(b"US", ULTRASOUND),
        single(b"US", WHOLE_SLIDE),
        single(b"SM", ULTRASOUND),
        single(b"SM", MICROSCOPIC).raw((0x0018, 0x6011), regions),
        single(b"OT", b"1.2.840.10008.5.1.4.1.1.7"),
        single(b"CT", b"1.2.840.10008.5.1.4.1.1.2"),
        single(b"", b"1.2.840.10008.5.1.4.1.1.7"),
        whole_slide().with(0x0008, 0x0060, "CS", b"US"),
    ];
    for object in objects {
        let error = Slide::open(Cursor::new(object.file())).err().expect("refused");
        assert_eq!(error.code(), "NOT_MICROSCOPY");
        let reason = schemas::NotAnalysable::Modality;
        assert!(
            matches!(FrameError::from(error), FrameError::NotAnalysable { reason: found } if found == reason)
        );
    }
    assert_eq!(refusal(fixture("examples_ybr_color.dcm")), "NOT_MICROSCOPY", "a real cine");
    for modality in [&b"SM"[..], b"GM", b"OT"] {
        let mut slide = open(single(modality, MICROSCOPIC).file());
        assert_eq!(value(&mut slide, 0, 0), Some(200));
    }
}

#[test]
fn a_picture_with_a_dark_margin_is_taken_for_ultrasound() {
    // Half of it black, with text; and a fan, which the mask of a clip would find.
    let screenshot = RgbImage::from_fn(120, 90, |x, y| {
        let text = y == 8 && x % 3 == 0;
        let fan = y > 20 && x.abs_diff(60) < y / 2;
        if text {
            Rgb([255; 3])
        } else if fan {
            Rgb([120; 3])
        } else {
            Rgb([0; 3])
        }
    });
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff] {
        assert_eq!(refusal(file(&screenshot, format)), "NOT_MICROSCOPY", "{format:?}");
    }
}

#[test]
fn a_picture_too_large_for_one_tile_is_refused_before_it_is_decoded() {
    let mut bytes = file(&field(), ImageFormat::Png);
    bytes[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
    // The checksum of the header chunk.
    let sum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(refusal(bytes), "FRAME_TOO_LARGE");
    let frame = Object::new(EXPLICIT, 8192, 8192).with(0x0008, 0x0060, "CS", b"SM");
    let frame = frame.with(0x0008, 0x0016, "UI", MICROSCOPIC).pixels(&vec![200; 8192 * 8192]);
    assert_eq!(refusal(frame.file()), "FRAME_TOO_LARGE");
}

/// As PNG has it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn damage_of_one_tile_costs_that_tile() {
    let mut bytes = fixture("slides/full_jpeg.dcm");
    // The first frame's JPEG, whose header is overwritten behind the SOI.
    let start = bytes.windows(3).position(|window| window == [0xFF, 0xD8, 0xFF]).expect("is a JPEG");
    bytes[start + 2..start + 60].fill(0xFF);
    let mut slide = open(bytes);
    assert_eq!(slide.tile(at(0, 0, 0)).expect_err("damaged").code(), "CODESTREAM_DAMAGED");
    slide.tile(at(0, 1, 0)).expect("decodes").expect("is there");
}

#[test]
fn a_jpeg_tile_of_another_size_than_the_header_says_is_refused() {
    let mut jpeg = Cursor::new(Vec::new());
    field().write_to(&mut jpeg, ImageFormat::Jpeg).expect("encodes");
    let object = Object::colour(JPEG, "YBR_FULL_422", 64, 64)
        .with(0x0008, 0x0016, "UI", MICROSCOPIC)
        .with(0x0008, 0x0060, "CS", b"SM")
        .fragments(&[], &[jpeg.get_ref()]);
    assert_eq!(open(object.file()).tile(at(0, 0, 0)).expect_err("40 x 30").code(), "CODESTREAM_MISMATCH");
}

/// A file that counts what is read of it.
struct Counted {
    file: Cursor<Vec<u8>>,
    read: usize,
}

impl Read for &mut Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read += n;
        Ok(n)
    }
}

impl Seek for &mut Counted {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn opening_and_a_tile_read_a_small_part_of_a_slide() {
    // 1,024 tiles of 64 x 64 in the colour of glass, as bytes.
    let tile = vec![230_u8; 64 * 64];
    let object = Object::new(EXPLICIT, 64, 64)
        .with(0x0008, 0x0016, "UI", WHOLE_SLIDE)
        .with(0x0008, 0x0060, "CS", b"SM")
        .with(0x0048, 0x0006, "UL", &2048_u32.to_le_bytes())
        .with(0x0048, 0x0007, "UL", &2048_u32.to_le_bytes())
        .frames("1024")
        .pixels(&tile.repeat(1024));
    let mut counted = Counted { file: Cursor::new(object.file()), read: 0 };
    let whole = counted.file.get_ref().len();
    let mut slide = Slide::open(&mut counted).expect("opens");
    slide.tile(at(0, 31, 31)).expect("decodes").expect("is there");
    drop(slide);
    assert!(counted.read < whole / 50, "{} of {whole} bytes", counted.read);
}
