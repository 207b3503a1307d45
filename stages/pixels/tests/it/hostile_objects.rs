//! The rows of the list of bad inputs that are whole objects: refused by name, passed over with a warning, or right after
//! all. The damaged ones are in `hostile`, those about times, regions and heart beats in `header`.

use std::io::Cursor;

use pixels::{Clip, header::warning, prescan_file};
use schemas::ReasonCode;

use crate::support::{EXPLICIT, JPEG, JPEG_2000, Object, RLE, element, file, fixture, head, item};

fn image() -> Object {
    Object::new(EXPLICIT, 4, 2).pixels(&[0, 10, 20, 30, 40, 50, 60, 70])
}

/// Opened and decoded, or the code of the refusal.
fn outcome(bytes: Vec<u8>) -> &'static str {
    match Clip::open(Cursor::new(bytes)).and_then(|mut clip| clip.frame(0)) {
        Ok(_) => "decoded",
        Err(error) => error.code(),
    }
}

/// JPEG-LS of one grey component: SOI and SOF55.
fn jpeg_ls(side: u8) -> Vec<u8> {
    vec![
        0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, side, 0, side, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0,
    ]
}

#[test]
fn rows_13_21_22_25_and_49_are_refused_by_name() {
    let coded = |syntax: &str| Object::new(syntax, 16, 16).fragments(&[], &[&[0; 16]]).file();
    let jpeg_ls_larger = Object::new("1.2.840.10008.1.2.4.80", 16, 16).fragments(&[], &[&jpeg_ls(32)]).file();
    let implicit = [0x08, 0x00, 0x16, 0x00, 0x02, 0x00, 0x00, 0x00, 0x31, 0x00].to_vec();
    let without_pixels = image().without((0x7FE0, 0x0010));
    let of_type = |value: &[u8]| image().with(0x0008, 0x0008, "CS", value).file();
    let rows = [
        (13, jpeg_ls_larger, if cfg!(feature = "jpeg-ls") { "CODESTREAM_MISMATCH" } else { "JPEG_LS" }),
        (21, coded("1.2.840.10008.1.2.4.55"), "TRANSFER_SYNTAX"),
        (21, coded("1.2.840.113619.5.2"), "TRANSFER_SYNTAX"),
        (22, file(EXPLICIT, &implicit), "INVALID_VR"),
        (25, coded("1.2.840.10008.1.2.4.100"), "VIDEO"),
        (25, coded("1.2.840.10008.1.2.4.102"), "VIDEO"),
        (25, coded("1.2.840.10008.1.2.4.107"), "VIDEO"),
        (25, fixture("JPGExtended.dcm"), "JPEG_12_BIT"),
        (49, without_pixels.clone().with(0x0008, 0x0060, "CS", b"SR").file(), "NO_PIXEL_DATA"),
        (49, without_pixels.with(0x0042, 0x0011, "OB", b"%PDF-1.7").file(), "NO_PIXEL_DATA"),
        (49, image().frames("0").file(), "ATTRIBUTE_INVALID"),
        (49, of_type(b"ORIGINAL\\PRIMARY\\LABEL\\NONE"), "LABEL_OR_OVERVIEW"),
        (49, of_type(b"DERIVED\\PRIMARY\\OVERVIEW\\NONE"), "LABEL_OR_OVERVIEW"),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(outcome(bytes), expected, "row {row}");
    }
    // A retired or private syntax is still filed: only its pixels are not read.
    assert!(prescan_file(Cursor::new(coded("1.2.840.113619.5.2"))).is_ok());
}

#[test]
fn row_23_a_file_cut_anywhere_is_not_taken_for_a_whole_one() {
    let whole = image().file();
    for length in 0..whole.len() {
        assert_ne!(outcome(whole[..length].to_vec()), "decoded", "{length} of {} bytes", whole.len());
    }
}

/// Each of these has silently wrong colours, or none, in a naive decoder.
#[test]
fn row_24_colours_that_others_get_wrong() {
    let blue = [0, 0, 254];
    let mut run_length = vec![0; 64];
    for (at, value) in [3_u32, 64, 66, 68].into_iter().enumerate() {
        run_length[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    }
    run_length.extend([0, 29, 0, 255, 0, 107]);
    let table = |value: u8| [0, 0, 0, value];
    let palette = Object::new(EXPLICIT, 1, 1)
        .with(0x0028, 0x0004, "CS", b"PALETTE COLOR")
        .with(0x0028, 0x1101, "US", &[2, 0, 0, 0, 16, 0])
        .with(0x0028, 0x1102, "US", &[2, 0, 0, 0, 16, 0])
        .with(0x0028, 0x1103, "US", &[2, 0, 0, 0, 16, 0])
        .with(0x0028, 0x1201, "OW", &table(0))
        .with(0x0028, 0x1202, "OW", &table(0))
        .with(0x0028, 0x1203, "OW", &table(254))
        .pixels(&[1]);
    let cases = [
        ("run length", Object::colour(RLE, "YBR_FULL", 1, 1).fragments(&[], &[&run_length])),
        ("native", Object::colour(EXPLICIT, "YBR_FULL", 1, 1).pixels(&[29, 255, 107])),
        ("native 4:2:2", Object::colour(EXPLICIT, "YBR_FULL_422", 2, 1).pixels(&[29, 29, 255, 107])),
        ("palette", palette),
    ];
    for (name, object) in cases {
        assert_eq!(object.frame(0).expect(name).into_rgb()[..3], blue, "{name}");
    }
}

#[test]
fn row_27_a_window_or_slope_that_cannot_be_is_passed_over() {
    let plain = image().frame(0).expect("decodes");
    let window = |center: &[u8], width: &[u8]| {
        image().with(0x0028, 0x1050, "DS", center).with(0x0028, 0x1051, "DS", width)
    };
    let slope = |text: &[u8]| image().with(0x0028, 0x1053, "DS", text);
    let cases: [(Object, ReasonCode); 6] = [
        (window(b"64", b"0"), warning::WINDOW_INVALID),
        (window(b"64", b"-5"), warning::WINDOW_INVALID),
        (window(b"64\\32", b"128"), warning::WINDOW_INVALID),
        (window(b"64", b"abc"), warning::WINDOW_INVALID),
        (slope(b"0"), warning::RESCALE_INVALID),
        (slope(b"1e308"), warning::RESCALE_INVALID),
    ];
    for (object, expected) in cases {
        let mut clip = object.open().expect("opens");
        assert_eq!(clip.frame(0).expect("decodes"), plain, "{expected:?}");
        assert!(clip.header().expect("dicom").warnings.contains(&expected), "{expected:?}");
    }
}

#[test]
fn row_31_names_keep_their_bytes_in_any_character_set() {
    let names: [(&[u8], &[u8]); 5] = [
        (b"\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1="),
        (b"ISO_IR 100", b"\xcd\xf5^\xd0\xa1\xb6\xab"),
        (b"ISO_IR 192", b"\xff\xfe^broken"),
        (b"NO SUCH SET", b"anything^at all"),
        (b"", b"\xcd\xf5^\xd0\xa1"),
    ];
    for (set, name) in names {
        let object = image().with(0x0008, 0x0005, "CS", set).with(0x0010, 0x0010, "PN", name);
        let identity = prescan_file(Cursor::new(object.file())).expect("any set is filed").identity;
        assert!(identity.patient_name.starts_with(name), "{set:?}");
        assert!(identity.character_set.starts_with(set), "{set:?}");
        assert_eq!(outcome(object.file()), "decoded");
    }
}

#[test]
fn row_45_an_executable_in_the_preamble_changes_nothing() {
    let mut bytes = image().file();
    bytes[..4].copy_from_slice(b"MZ\x90\x00");
    let frame = pixels::decode_one(Cursor::new(bytes), 0).expect("decodes");
    assert_eq!(frame, image().frame(0).expect("decodes"));
}

/// A strip that is not a two-dimensional picture of tissue says so, whatever view its name claims.
#[test]
fn row_49_strips_are_told_from_b_mode() {
    let with_region = |format: u16, data_type: u16| {
        let region = item(
            &[
                element(0x0018, 0x6012, "US", &format.to_le_bytes()),
                element(0x0018, 0x6014, "US", &data_type.to_le_bytes()),
                element(0x0018, 0x6018, "UL", &[0; 4]),
                element(0x0018, 0x601A, "UL", &[0; 4]),
                element(0x0018, 0x601C, "UL", &199_u32.to_le_bytes()),
                element(0x0018, 0x601E, "UL", &199_u32.to_le_bytes()),
            ]
            .concat(),
        );
        let tissue: Vec<u8> = (0..40_000_u32)
            .map(|at| if (40..160).contains(&(at % 200)) && (40..160).contains(&(at / 200)) { 90 } else { 0 })
            .collect();
        let mut clip = Object::new(EXPLICIT, 200, 200)
            .with(0x0008, 0x2127, "SH", b"A4C")
            .raw((0x0018, 0x6011), [head(0x0018, 0x6011, "SQ", region.len() as u32), region].concat())
            .pixels(&tissue)
            .open()
            .expect("opens");
        let mask = clip.mask().expect("has a bright part");
        let header = clip.clip_header(&mask);
        (header.b_mode, header.doppler)
    };
    assert_eq!(with_region(1, 1), (true, false), "tissue");
    assert_eq!(with_region(2, 1), (false, false), "M-mode");
    assert_eq!(with_region(3, 3), (false, true), "pulsed Doppler");
    assert_eq!(with_region(3, 4), (false, true), "continuous Doppler");
    assert_eq!(with_region(1, 2), (false, true), "colour flow");
}

/// Codestreams under the wrong name, in either direction.
#[test]
fn row_20_one_codestream_under_the_name_of_another() {
    let jpeg_ls = jpeg_ls(16);
    for (syntax, expected) in
        [(JPEG, "CODESTREAM_MISMATCH"), (JPEG_2000, "CODESTREAM_MISMATCH"), (RLE, "CODESTREAM_DAMAGED")]
    {
        assert_eq!(Object::new(syntax, 16, 16).fragments(&[], &[&jpeg_ls]).refusal(), expected);
    }
    let jpeg_xl = Object::new("1.2.840.10008.1.2.4.110", 16, 16).fragments(&[], &[&jpeg_ls]);
    assert_eq!(jpeg_xl.refusal(), "CODESTREAM_MISMATCH");
}
