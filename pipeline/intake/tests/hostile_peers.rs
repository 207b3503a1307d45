//! The SCP against peers that do not keep to the rules: whatever they do, the next good object passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/raw.rs"]
mod raw;
mod support;

use dicom_ul::pdu::{
    AssociationRJResult, AssociationRJServiceProviderPresentationReason, AssociationRJSource, PDataValueType,
    Pdu,
    PresentationContextResultReason::{AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported},
};
use intake::scp;
use raw::{Raw, command, command_for, context, number, request, store_context};
use support::{
    EXPLICIT, H264, IMPLICIT, Object, Serving, US_MULTIFRAME, VERIFICATION, element, scp_config, start,
};

type Trick<'a> = (&'a str, Box<dyn Fn(&mut Raw) + 'a>);

#[test]
fn hostile_data_sets_are_refused_and_the_next_good_one_passes() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let mut raw = store_context(serving.address);
    let object = Object::new("1", "1");
    let mut huge_length = object.data_set();
    huge_length.extend_from_slice(&[0xE1, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    let mut deep = Vec::new();
    for _ in 0..1_800 {
        deep.extend_from_slice(&[0x08, 0x00, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        deep.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    let mut long_text = object.data_set();
    element(&mut long_text, (0x7FE1, 0x0010), "LO", b"X");
    long_text.extend_from_slice(&[0xE1, 0x7F, 0x01, 0x10, b'U', b'T', 0, 0, 0, 0, 0, 0x80]);
    for (name, data_set) in
        [("length FFFFFFFE", huge_length), ("depth 1800", deep), ("UT of 2 GB", long_text)]
    {
        assert_eq!(raw.store(1, &command_for(&object), &data_set), 0xC000, "{name}");
    }
    assert_eq!(raw.store(1, &command_for(&object), &object.data_set()), 0x0000);
    serving.end();
    running.end();
}

#[test]
fn an_association_cut_in_the_middle_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let object = Object::new("1", "1");
    for how in ["abort", "close", "release"] {
        let mut raw = store_context(serving.address);
        raw.value(1, PDataValueType::Command, true, &command_for(&object));
        raw.value(1, PDataValueType::Data, false, &object.data_set()[..100]);
        match how {
            "abort" => raw.send(&Pdu::AbortRQ { source: dicom_ul::pdu::AbortRQSource::ServiceUser }),
            "release" => {
                raw.send(&Pdu::ReleaseRQ);
                assert!(matches!(raw.receive(), Some(Pdu::AbortRQ { .. })), "release inside a message");
            }
            _ => {}
        }
        drop(raw);
    }
    serving.end();
    assert_eq!(running.files("incoming").len() + running.files("objects").len(), 0);
    assert_eq!(running.intake.open_studies().unwrap(), []);
    running.end();
}

#[test]
fn bytes_that_are_no_dicom_end_the_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let greetings: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a tls hello",
        &[0x01, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x04, 0, 0, 0, 0, 0],
        &[0x99, 0, 0, 0, 0, 2, 1, 2],
    ];
    for greeting in greetings {
        let mut raw = Raw::connect(serving.address);
        raw.write(greeting);
        assert!(matches!(raw.receive(), Some(Pdu::AbortRQ { .. }) | None), "{greeting:?}");
        assert_eq!(raw.receive(), None, "{greeting:?}");
    }
    let object = Object::new("1", "1");
    assert_eq!(store_context(serving.address).store(1, &command_for(&object), &object.data_set()), 0x0000);
    serving.end();
    running.end();
}

#[test]
fn whatever_breaks_the_message_order_is_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let object = Object::new("1", "1");
    let start_store = |raw: &mut Raw| raw.value(1, PDataValueType::Command, true, &command_for(&object));
    let tricks: Vec<Trick<'_>> = vec![
        ("data before command", Box::new(|raw| raw.value(1, PDataValueType::Data, true, b"12"))),
        (
            "unknown context",
            Box::new(|raw| raw.value(9, PDataValueType::Command, true, &command_for(&object))),
        ),
        ("garbage command", Box::new(|raw| raw.value(1, PDataValueType::Command, true, b"garbage garbage"))),
        ("empty command", Box::new(|raw| raw.value(1, PDataValueType::Command, true, b""))),
        (
            "command in data set",
            Box::new(|raw| {
                start_store(raw);
                start_store(raw);
            }),
        ),
        (
            "context changes",
            Box::new(|raw| {
                start_store(raw);
                raw.value(3, PDataValueType::Data, true, b"12");
            }),
        ),
        (
            "command over 64 KiB",
            Box::new(|raw| {
                for _ in 0..7 {
                    raw.value(1, PDataValueType::Command, false, &[0; 10_000]);
                }
            }),
        ),
        (
            "value overruns the PDU",
            Box::new(|raw| raw.write(&[4, 0, 0, 0, 0, 8, 0, 0, 0xFF, 0xFF, 1, 3, 0, 0])),
        ),
        (
            "second request",
            Box::new(|raw| raw.send(&Pdu::AssociationRQ(request("MODALITY", "PRESCREEN", vec![])))),
        ),
        (
            "response instead of request",
            Box::new(|raw| {
                let response =
                    command(&[(0x0100, number(0x8001)), (0x0110, number(1)), (0x0800, number(0x0101))]);
                raw.value(1, PDataValueType::Command, true, &response);
            }),
        ),
    ];
    for (name, trick) in tricks {
        let mut raw = store_context(serving.address);
        trick(&mut raw);
        assert!(matches!(raw.receive(), Some(Pdu::AbortRQ { .. })), "{name}");
    }
    serving.end();
    assert_eq!(running.files("incoming").len() + running.files("objects").len(), 0);
    running.end();
}

#[test]
fn presentation_contexts_are_checked_and_every_storage_class_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving = Serving::start(&running.intake);
    let good = || context(1, US_MULTIFRAME, &[EXPLICIT]);
    for wrong in [
        vec![],
        vec![good(), good()],
        vec![context(2, US_MULTIFRAME, &[EXPLICIT])],
        vec![context(0, VERIFICATION, &[IMPLICIT])],
    ] {
        let (_, answer) = Raw::associate(serving.address, request("MODALITY", "PRESCREEN", wrong));
        assert!(matches!(answer, Some(Pdu::AssociationRJ(_))), "{answer:?}");
    }
    let proposed = vec![
        context(1, "1.2.840.10008.5.1.4.1.1.104.1", &[EXPLICIT]),
        context(3, "1.2.840.113619.4.26", &[IMPLICIT]),
        context(5, US_MULTIFRAME, &["1.2.840.10008.1.2.4.55", "1.2.3.4", H264]),
        context(7, US_MULTIFRAME, &["1.2.840.10008.1.2.4.55"]),
        context(9, "1.2.840.10008.5.1.4.1.2.2.1", &[IMPLICIT]),
    ];
    let (_, answer) = Raw::associate(serving.address, request("MODALITY", "PRESCREEN", proposed));
    let Some(Pdu::AssociationAC(accepted)) = answer else { panic!("{answer:?}") };
    let reasons: Vec<_> = accepted.presentation_contexts.iter().map(|result| result.reason.clone()).collect();
    assert_eq!(
        reasons,
        [Acceptance, Acceptance, Acceptance, TransferSyntaxesNotSupported, AbstractSyntaxNotSupported]
    );
    assert_eq!(
        accepted.presentation_contexts[2].transfer_syntax, H264,
        "the first known one, in the order proposed"
    );
    serving.end();
    running.end();
}

#[test]
fn connections_over_the_limit_are_told_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let serving =
        Serving::start_with(&running.intake, scp::ScpConfig { max_associations: 1, ..scp_config() });
    let first = store_context(serving.address);
    let contexts = vec![context(1, VERIFICATION, &[IMPLICIT])];
    let (_, answer) = Raw::associate(serving.address, request("MODALITY", "PRESCREEN", contexts));
    let Some(Pdu::AssociationRJ(rejected)) = answer else { panic!("{answer:?}") };
    assert_eq!(rejected.result, AssociationRJResult::Transient);
    let congestion = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
    assert_eq!(rejected.source, AssociationRJSource::ServiceProviderPresentation(congestion));
    let mut silent = Raw::connect(serving.address);
    assert!(matches!(silent.receive(), Some(Pdu::AssociationRJ(_))), "one that says nothing is told as well");
    drop(first);
    serving.end();
    running.end();
}

#[test]
fn an_address_without_a_peer_is_rejected_and_takes_no_slot() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut config = scp_config();
    for peer in &mut config.peers {
        peer.address = Some([192, 0, 2, 1].into());
    }
    let serving = Serving::start_with(&running.intake, scp::ScpConfig { max_associations: 0, ..config });
    let contexts = vec![context(1, VERIFICATION, &[IMPLICIT])];
    let (_, answer) = Raw::associate(serving.address, request("MODALITY", "PRESCREEN", contexts));
    let Some(Pdu::AssociationRJ(rejected)) = answer else { panic!("{answer:?}") };
    assert_eq!(rejected.result, AssociationRJResult::Permanent);
    serving.end();
    assert_eq!(running.metric("prescreen_dicom_associations_rejected_total", Some("address")), 1.0);
    running.end();
}

#[test]
fn a_peer_that_says_nothing_or_stops_in_the_middle_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let short = std::time::Duration::from_millis(30);
    let config = scp::ScpConfig { request_timeout: short, idle_timeout: short, ..scp_config() };
    let serving = Serving::start_with(&running.intake, config);
    let object = Object::new("1", "1");
    for half in [&b""[..], &[1, 0, 0]] {
        let mut raw = Raw::connect(serving.address);
        raw.write(half);
        assert!(matches!(raw.receive(), Some(Pdu::AbortRQ { .. })));
    }
    let mut raw = store_context(serving.address);
    raw.value(1, PDataValueType::Command, true, &command_for(&object));
    raw.write(&[4, 0, 0, 0, 1, 0, 0, 0]);
    assert!(matches!(raw.receive(), Some(Pdu::AbortRQ { .. })));
    drop(raw);
    serving.end();
    assert_eq!(running.files("incoming").len(), 0);
    assert_eq!(running.metric("prescreen_dicom_associations_rejected_total", Some("idle")), 1.0);
    running.end();
}
