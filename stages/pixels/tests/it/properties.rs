//! Whatever bytes come: no panic, no picture of another size than declared.

use std::io::Cursor;

use pixels::{Clip, TransferSyntax, prescan_data_set};
use proptest::prelude::*;
use schemas::Uid;

use crate::support::{EXPLICIT, JPEG, Object, RLE, fixture};

/// Opens and decodes what can be; says nothing of what cannot.
fn look_at(bytes: Vec<u8>) {
    if let Ok(mut clip) = Clip::open(Cursor::new(bytes)) {
        let last = clip.frames() - 1;
        let size = clip.header().map(|header| (u32::from(header.columns), u32::from(header.rows)));
        for index in [0, last] {
            if let Ok(frame) = clip.frame(index) {
                assert_eq!(Some((frame.width, frame.height)), size.or(Some((frame.width, frame.height))));
                assert_eq!(frame.luma().len(), frame.width as usize * frame.height as usize);
            }
        }
    }
}

fn mutate(
    mut bytes: Vec<u8>,
    changes: &[(prop::sample::Index, u8)],
    cut: Option<prop::sample::Index>,
) -> Vec<u8> {
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

fn samples() -> impl Strategy<Value = Vec<u8>> {
    let rle = {
        let mut fragment = vec![0; 64];
        fragment[0] = 1;
        fragment[4] = 64;
        fragment.extend([249, 7]);
        Object::new(RLE, 4, 2).frames("2").fragments(&[0, 74], &[&fragment, &fragment]).file()
    };
    prop::sample::select(vec![
        rle,
        Object::colour(EXPLICIT, "YBR_FULL_422", 4, 2).pixels(&[9; 16]).file(),
        fixture("SC_rgb_small_odd_jpeg.dcm"),
        fixture("SC_rgb_rle_2frame.dcm"),
        fixture("SC_rgb_small_odd_big_endian.dcm"),
        fixture("image_dfl.dcm"),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        bytes in samples(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        look_at(mutate(bytes, &changes, cut));
    }

    #[test]
    fn any_data_set_of_any_syntax_is_walked(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        syntax in prop::sample::select(vec!["", ".1", ".2", ".1.99", ".4.50"]),
    ) {
        let syntax = TransferSyntax::new(Uid::new(&format!("1.2.840.10008.1.2{syntax}")).expect("uid"));
        // The outcome may be either; it must come.
        drop(prescan_data_set(Cursor::new(bytes), &syntax));
    }

    #[test]
    fn any_fragments_give_the_declared_frames_or_none(
        frames in 1_u32..6,
        offsets in prop::collection::vec(0_u32..200, 0..6),
        fragments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        starts in prop::collection::vec(any::<bool>(), 6),
    ) {
        let fragments: Vec<Vec<u8>> = fragments
            .into_iter()
            .zip(starts)
            .map(|(bytes, starts)| if starts { [vec![0xFF, 0xD8], bytes].concat() } else { bytes })
            .collect();
        let fragments: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
        let object = Object::new(JPEG, 4, 2).frames(&frames.to_string()).fragments(&offsets, &fragments);
        if let Ok(mut clip) = object.open() {
            prop_assert_eq!(clip.frames(), frames);
            prop_assert!(clip.frame(frames).is_err());
        }
    }
}
