//! Every row of the list of bad inputs that concerns parsing or decoding, by its number there. Each ends in a typed error
//! or in the right picture; none panics; together they take little memory.

use std::io::{Cursor, Write as _};

use flate2::{Compression, write::DeflateEncoder};
use image::ImageEncoder as _;
use pixels::{Pixels, PrescanError, header::warning, prescan_file};

use crate::support::{
    DEFLATED, EXPLICIT, JPEG, JPEG_2000, Object, RLE, element, file, fixture, head, item, sequence_end,
};

fn scan_code(bytes: Vec<u8>) -> &'static str {
    prescan_file(Cursor::new(bytes)).err().map_or("accepted", |error| error.code())
}

fn image(bytes: &[u8]) -> Object {
    Object::new(EXPLICIT, 4, 2).pixels(bytes)
}

#[test]
fn rows_1_and_2_lengths_beyond_the_file() {
    for length in [0xFFFF_FFFE, 0x8000_0000, 100] {
        let huge = image(&[0; 8]).raw((0x0040, 0xA160), head(0x0040, 0xA160, "UT", length));
        assert_eq!(scan_code(huge.without((0x7FE0, 0x0010)).file()), "LENGTH_BEYOND_END");
    }
    let undefined = image(&[0; 8]).raw((0x0040, 0xA160), head(0x0040, 0xA160, "UT", u32::MAX));
    assert_eq!(scan_code(undefined.file()), "UNDEFINED_LENGTH");
}

fn nested(depth: usize) -> Vec<u8> {
    let open =
        [head(0x0040, 0xA730, "SQ", u32::MAX), vec![0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
    let close = [vec![0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], sequence_end()].concat();
    [open.repeat(depth), close.repeat(depth)].concat()
}

#[test]
fn row_3_nesting_has_a_limit() {
    let object = |depth| image(&[0; 8]).raw((0x0040, 0xA730), nested(depth)).file();
    assert_eq!(scan_code(object(64)), "accepted");
    assert_eq!(scan_code(object(65)), "TOO_DEEP");
    assert_eq!(scan_code(object(200_000)), "TOO_DEEP");
}

#[test]
fn row_4_a_deflate_bomb_is_stopped() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let whole = image(&[]).without((0x7FE0, 0x0010)).data_set();
    encoder.write_all(&whole).expect("in memory");
    encoder.write_all(&head(0x7FE0, 0x0010, "OW", 0x7FFF_FFFE)).expect("in memory");
    for _ in 0..80 {
        encoder.write_all(&vec![0; 1 << 20]).expect("in memory");
    }
    let deflated = encoder.finish().expect("in memory");
    assert!(deflated.len() < 1 << 20);
    assert_eq!(scan_code(file(DEFLATED, &deflated)), "INFLATE_LIMIT");
}

fn rle_pixel(value: u8) -> Vec<u8> {
    let mut fragment = vec![0; 64];
    fragment[0] = 1;
    fragment[4] = 64;
    // 257 - 249 = 8 times the value.
    fragment.extend([249, value]);
    fragment
}

fn rle_clip(frames: &str) -> Object {
    let fragments: Vec<Vec<u8>> = (0..8).map(rle_pixel).collect();
    let fragments: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
    Object::new(RLE, 4, 2).frames(frames).fragments(&[], &fragments)
}

#[test]
fn row_5_fewer_frames_than_declared() {
    assert_eq!(rle_clip("3000").refusal(), "FRAME_COUNT_MISMATCH");
    assert_eq!(image(&[0; 64]).frames("3000").refusal(), "FRAME_COUNT_MISMATCH");
}

#[test]
fn row_6_impossible_frame_counts() {
    for frames in ["2147483647", "0", "1A", "-1", "1.5"] {
        assert_eq!(rle_clip(frames).refusal(), "ATTRIBUTE_INVALID", "{frames}");
    }
}

#[test]
fn row_7_more_frames_than_declared() {
    let object = rle_clip("4");
    let mut clip = object.open().expect("opens");
    assert!(clip.header().expect("dicom").warnings.contains(&warning::EXTRA_FRAMES));
    assert_eq!(clip.frame(3).expect("frame 3").pixels, Pixels::Grey(vec![3; 8]));
    assert_eq!(clip.frame(4).expect_err("beyond").code(), "FRAME_INDEX");
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let grey: Vec<u8> = (0..width * height).map(|i| (i % 251) as u8).collect();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes)
        .write_image(&grey, width, height, image::ExtendedColorType::L8)
        .expect("encodes");
    bytes
}

fn jpeg_object(columns: u16, rows: u16, jpeg: &[u8]) -> Object {
    Object::new(JPEG, columns, rows).fragments(&[], &[jpeg])
}

#[test]
fn rows_8_to_10_jpeg_of_another_size() {
    assert_eq!(jpeg_object(16, 16, &jpeg(16, 16)).refusal(), "decoded");
    assert_eq!(jpeg_object(16, 16, &jpeg(32, 32)).refusal(), "CODESTREAM_MISMATCH");
    assert_eq!(jpeg_object(32, 32, &jpeg(16, 16)).refusal(), "CODESTREAM_MISMATCH");
    let mut huge = jpeg(16, 16);
    let sof = huge.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("has a frame header");
    for (at, byte) in [0xFF, 0xDC, 0xFF, 0xDC].into_iter().enumerate() {
        huge[sof + 5 + at] = byte;
    }
    assert_eq!(jpeg_object(16, 16, &huge).refusal(), "CODESTREAM_MISMATCH");
    // A second frame header cannot overrule the first.
    let mut twice = jpeg(16, 16);
    let segment: Vec<u8> = huge[sof..sof + 2 + usize::from(huge[sof + 3])].to_vec();
    let after = sof + segment.len();
    twice.splice(after..after, segment);
    assert_eq!(jpeg_object(16, 16, &twice).refusal(), "CODESTREAM_DAMAGED");
}

/// The start of a JPEG 2000 codestream: SOC and SIZ.
fn siz(width: u32, height: u32, components: u16, tile: u32) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51];
    bytes.extend((38 + 3 * components).to_be_bytes());
    bytes.extend([0, 0]);
    for value in [width, height, 0, 0, tile, tile, 0, 0] {
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend(components.to_be_bytes());
    bytes.extend([7, 1, 1].repeat(usize::from(components)));
    bytes
}

#[test]
fn rows_11_and_12_jpeg_2000_of_another_shape() {
    let refusal = |codestream: &[u8]| Object::new(JPEG_2000, 16, 16).fragments(&[], &[codestream]).refusal();
    assert_eq!(refusal(&siz(60_000, 60_000, 1, 60_000)), "CODESTREAM_MISMATCH");
    assert_eq!(refusal(&siz(16, 16, 4, 16)), "CODESTREAM_MISMATCH");
    assert_eq!(refusal(&siz(16, 16, 1, 0)), "CODESTREAM_DAMAGED");
    assert_eq!(refusal(&siz(16, 16, 1, 16)[..30]), "CODESTREAM_DAMAGED");
    assert_eq!(refusal(&siz(16, 16, 1, 16)), "CODEC_FAILED");
    let large = Object::new(JPEG_2000, 4096, 4096).fragments(&[], &[&siz(4096, 4096, 1, 1)]);
    assert_eq!(large.refusal(), "CODESTREAM_DAMAGED");
}

#[test]
fn rows_14_to_16_run_lengths_that_lie() {
    let refusal = |fragment: &[u8]| Object::new(RLE, 4, 2).fragments(&[], &[fragment]).refusal();
    assert_eq!(refusal(&[1, 0]), "CODESTREAM_DAMAGED");
    let mut segments = rle_pixel(1);
    segments[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refusal(&segments), "CODESTREAM_DAMAGED");
    let mut offset = rle_pixel(1);
    offset[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refusal(&offset), "CODESTREAM_DAMAGED");
    let mut short = rle_pixel(1);
    short[64] = 255;
    assert_eq!(refusal(&short), "CODESTREAM_DAMAGED");
    assert_eq!(refusal(&rle_pixel(1)[..64]), "CODESTREAM_DAMAGED");
}

#[test]
fn rows_17_to_19_attributes_that_cannot_be() {
    let whole = image(&[0; 8]);
    for (tag, value) in [
        ((0x0028, 0x0010), 0_u16),
        ((0x0028, 0x0011), 0),
        ((0x0028, 0x0002), 0),
        ((0x0028, 0x0002), 3),
        ((0x0028, 0x0101), 40),
        ((0x0028, 0x0101), 0),
        ((0x0028, 0x0100), 0),
        ((0x0028, 0x0102), 15),
    ] {
        assert_eq!(
            whole.clone().word(tag.0, tag.1, value).refusal(),
            "ATTRIBUTE_INVALID",
            "{tag:04X?} {value}"
        );
    }
    assert_eq!(whole.without((0x0028, 0x0010)).refusal(), "ATTRIBUTE_INVALID");
    let huge = Object::new(RLE, 65_535, 65_535).fragments(&[], &[&rle_pixel(0)]);
    assert_eq!(huge.refusal(), "FRAME_TOO_LARGE");
}

#[test]
fn row_20_pixel_data_of_another_form() {
    let encapsulated = Object::new(EXPLICIT, 16, 16).fragments(&[], &[&jpeg(16, 16)]);
    assert_eq!(encapsulated.refusal(), "PIXEL_DATA_FORM");
    let items = [item(&[]), item(&jpeg(16, 16)), sequence_end()].concat();
    assert_eq!(Object::new(EXPLICIT, 16, 16).pixels(&items).refusal(), "PIXEL_DATA_FORM");
    assert_eq!(Object::new(JPEG, 16, 16).pixels(&[0; 256]).refusal(), "PIXEL_DATA_FORM");
    assert_eq!(jpeg_object(16, 16, &siz(16, 16, 1, 16)).refusal(), "CODESTREAM_MISMATCH");
    assert_eq!(
        Object::new(JPEG_2000, 16, 16).fragments(&[], &[&jpeg(16, 16)]).refusal(),
        "CODESTREAM_MISMATCH"
    );
}

#[test]
fn whole_objects_without_a_decoder_are_not_errors_of_the_machine() {
    let code = |syntax: &str| Object::new(syntax, 16, 16).fragments(&[], &[&[0; 16]]).refusal();
    assert_eq!(code("1.2.840.10008.1.2.4.102"), "VIDEO");
    assert_eq!(code("1.2.840.10008.1.2.4.55"), "TRANSFER_SYNTAX");
    assert_eq!(code("1.2.840.113619.5.2"), "TRANSFER_SYNTAX");
    if cfg!(not(feature = "jpeg-ls")) {
        assert_eq!(code("1.2.840.10008.1.2.4.80"), "JPEG_LS");
    }
    let twelve = pixels::decode_one(Cursor::new(fixture("JPGExtended.dcm")), 0).expect_err("12 bits");
    assert_eq!(twelve.code(), "JPEG_12_BIT");
    assert!(matches!(
        stage::FrameError::from(twelve),
        stage::FrameError::NotAnalysable { reason: schemas::NotAnalysable::TransferSyntax }
    ));
    assert_eq!(image(&[0; 8]).without((0x7FE0, 0x0010)).refusal(), "NO_PIXEL_DATA");
    assert_eq!(image(&[0; 8]).word(0x0028, 0x0100, 32).refusal(), "BITS_ALLOCATED");
    let label = image(&[0; 8]).with(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\LABEL\\NONE");
    assert_eq!(label.refusal(), "LABEL_OR_OVERVIEW");
}

/// Two JPEG frames, each cut into two fragments, with any offset table.
fn split(offsets: &[u32]) -> Object {
    let (first, second) = (jpeg(16, 16), jpeg(16, 16));
    let cut = (first.len() / 2).next_multiple_of(2);
    let fragments = [&first[..cut], &first[cut..], &second[..cut], &second[cut..]];
    Object::new(JPEG, 16, 16).frames("2").fragments(offsets, &fragments)
}

#[test]
fn row_26_several_fragments_and_wrong_offsets() {
    let whole = jpeg_object(16, 16, &jpeg(16, 16)).frame(0).expect("decodes");
    let length = jpeg(16, 16).len();
    let cut = (length / 2).next_multiple_of(2);
    // Where the third fragment's item tag stands: two fragments before it, each with 8 bytes of item head.
    let second = 8 + cut + 8 + (length - cut).next_multiple_of(2);
    for (offsets, distrusted) in [
        (vec![], false),
        (vec![0, second as u32], false),
        (vec![1000, second as u32 + 1000], true),
        (vec![0, 8], true),
    ] {
        let mut clip = split(&offsets).open().expect("opens");
        assert_eq!(clip.frame(0).expect("frame 0"), whole, "{offsets:?}");
        assert_eq!(clip.frame(1).expect("frame 1"), whole, "{offsets:?}");
        let warnings = &clip.header().expect("dicom").warnings;
        assert_eq!(warnings.contains(&warning::OFFSET_TABLE_INVALID), distrusted, "{offsets:?}");
    }
    let extended: Vec<u8> = [0_u64, second as u64].iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let mut clip =
        split(&[]).raw((0x7FE0, 0x0001), element(0x7FE0, 0x0001, "OV", &extended)).open().expect("opens");
    assert_eq!(clip.frame(1).expect("by extended offset table"), whole);
}

#[test]
fn a_codestream_cut_short_is_refused_or_decoded_to_full_size() {
    let whole = jpeg(16, 16);
    for length in 0..whole.len() {
        if let Ok(frame) = jpeg_object(16, 16, &whole[..length]).frame(0) {
            assert_eq!(frame.into_rgb().len(), 3 * 16 * 16);
        }
    }
}

#[test]
fn errors_never_repeat_text_from_the_header() {
    let object =
        image(&[0; 8]).with(0x0028, 0x0004, "CS", b"DOE^JANE").with(0x0010, 0x0010, "PN", b"DOE^JANE");
    let error = object.frame(0).expect_err("no such interpretation");
    assert!(!format!("{error} {error:?}").contains("DOE"));
    let error =
        prescan_file(Cursor::new(object.with(0x0020, 0x000E, "UI", b"DOE").file())).expect_err("no uid");
    assert!(matches!(error, PrescanError::InvalidUid { .. }));
    assert!(!format!("{error} {error:?}").contains("DOE"));
}

/// The peak of this process in bytes (`VmHWM`), which has all tests of this file in it.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Naively read, these take between 1 and 17 GB.
#[test]
#[cfg(target_os = "linux")]
fn memory_follows_the_bytes_and_not_what_they_declare() {
    rows_1_and_2_lengths_beyond_the_file();
    row_4_a_deflate_bomb_is_stopped();
    row_5_fewer_frames_than_declared();
    rows_8_to_10_jpeg_of_another_size();
    rows_11_and_12_jpeg_2000_of_another_shape();
    rows_14_to_16_run_lengths_that_lie();
    rows_17_to_19_attributes_that_cannot_be();
    assert!(peak() < 256 << 20, "peak {} MiB", peak() >> 20);
}
