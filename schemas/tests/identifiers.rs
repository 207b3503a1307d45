//! Identifiers never hold what they must not.

use proptest::prelude::*;
use schemas::{BlobRef, Digest, ReasonCode, RunId, StudyUid, Uid, UidError};

proptest! {
    #[test]
    fn a_uid_is_digits_and_dots_or_an_error(text in "\\PC{0,80}") {
        if let Ok(uid) = Uid::new(&text) {
            prop_assert!(uid.as_str().len() <= 64);
            prop_assert!(uid.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        }
    }

    #[test]
    fn a_valid_uid_is_kept_as_it_is(parts in prop::collection::vec(0_u32..100_000, 1..10)) {
        let text = parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        prop_assert_eq!(StudyUid::new(&text).expect("a uid").to_string(), text);
    }

    #[test]
    fn a_digest_survives_its_text(bytes in prop::array::uniform32(any::<u8>())) {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }
}

#[test]
fn hostile_uids_are_refused_with_the_reason() {
    assert_eq!(Uid::new(""), Err(UidError::Empty));
    assert_eq!(Uid::new("../../etc/x"), Err(UidError::Character { position: 2 }));
    assert_eq!(Uid::new("1..2"), Err(UidError::EmptyComponent));
    assert_eq!(Uid::new(&"1".repeat(65)), Err(UidError::TooLong { length: 65 }));
    assert_eq!(Uid::new("1.2\0").map(|uid| uid.to_string()), Ok("1.2".to_owned()));
}

#[test]
fn a_blob_key_is_made_of_its_digest_alone() {
    let blob = BlobRef::of(schemas::Area::Raw, b"abc");
    assert_eq!(blob.key(), "raw/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn codes_and_run_ids_are_bounded() {
    assert!(ReasonCode::new("LOW_FPS").is_ok());
    assert!(ReasonCode::new("low").is_err());
    assert!(RunId::new("replay-2026_11").is_ok());
    assert!(RunId::new("../x").is_err());
}
