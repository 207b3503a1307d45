//! One cine, coded without loss in many ways, is one cine. The files are made by `tests/oracle/matrix.py`.

use std::io::Cursor;

use pixels::{Clip, Frame};

use crate::support::fixture;

fn frames(folder: &str, file: &str) -> Result<Vec<Frame>, pixels::DecodeError> {
    let mut clip = Clip::open(Cursor::new(fixture(&format!("codings/{folder}/{file}.dcm"))))?;
    (0..clip.frames()).map(|index| clip.frame(index)).collect()
}

#[test]
fn every_lossless_coding_gives_the_native_pixels() {
    let rgb = [
        "jpeg_2000_ybr_rct_2_fragments_a_frame",
        "jpeg_2000_extended_offset_table",
        "htj2k",
        "jpeg_xl",
        "jpeg_lossless",
    ];
    let ybr_full = ["jpeg_2000", "jpeg_xl", "jpeg_lossless_with_quantisation_tables"];
    for (folder, files) in [("rgb", &rgb[..]), ("ybr_full", &ybr_full)] {
        let native = frames(folder, "native").expect("decodes");
        assert_eq!(native.len(), 3);
        for file in files {
            assert_eq!(frames(folder, file).expect(file), native, "{folder}/{file}");
        }
    }
}

#[test]
fn jpeg_ls_is_right_or_refused_by_name() {
    let decoded = frames("ybr_full", "jpeg_ls").map_err(|error| error.code());
    let native = frames("ybr_full", "native").map_err(|error| error.code());
    assert_eq!(decoded, if cfg!(feature = "jpeg-ls") { native } else { Err("JPEG_LS") });
}
