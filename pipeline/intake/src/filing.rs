//! What an object is: from its header to the facts that the catalogue keeps.

use std::io::{Seek as _, SeekFrom};

use pixels::{Header, prescan_file};
use schemas::{Digest, Domain, InstanceUid, NotAnalysable, Priority, ReceivedFrom, SeriesUid, StudyUid, Uid};
use serde::{Deserialize, Serialize};

use crate::{
    incoming::{Sealed, TemporaryFile},
    refusal::Refusal,
};

/// Secondary Capture Image Storage: the SOP class of a picture that is no DICOM object.
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// VL Whole Slide Microscopy Image Storage.
const WHOLE_SLIDE: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
/// Ultrasound Multi-frame Image Storage and Ultrasound Image Storage, with their retired forms.
const ULTRASOUND: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.6",
];

/// One instance as the catalogue knows it. Holds nothing that names a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub(crate) series: SeriesUid,
    pub(crate) uid: InstanceUid,
    pub(crate) sop_class: Uid,
    pub(crate) transfer_syntax: Option<Uid>,
    pub(crate) frames: u32,
    pub(crate) blob: schemas::BlobRef,
    /// SHA-256 of the data set without meta header: the same object however it came.
    pub(crate) data_set: Digest,
    pub(crate) domain: Domain,
    pub(crate) not_analysable: Option<NotAnalysable>,
}

impl Instance {
    /// Is this the same object, however it travelled?
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.data_set == other.data_set
            && self.transfer_syntax == other.transfer_syntax
    }
}

/// An object that passed every check of its own and waits to be filed.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) temporary: TemporaryFile,
    pub(crate) study: StudyUid,
    pub(crate) instance: Instance,
    pub(crate) synthetic: bool,
    pub(crate) origin: Origin,
}

/// What the way it came says about an object.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) from: ReceivedFrom,
    pub(crate) priority: Priority,
    /// Declared a phantom by whoever brings it.
    pub(crate) synthetic: bool,
    /// The domain that whoever brings it says it has; counts where the object itself does not tell.
    pub(crate) domain: Option<Domain>,
}

/// What the request said that brings the object.
pub(crate) struct Announced<'a> {
    pub(crate) sop_class: &'a Uid,
    pub(crate) instance: &'a InstanceUid,
}

/// Refused with its bytes, so that the caller can decide on quarantine.
pub(crate) type Checked = Result<Candidate, (Refusal, Option<Box<Sealed>>)>;

/// Pre-scans a sealed DICOM file and checks it against what was announced.
pub(crate) fn check_dicom(mut sealed: Sealed, announced: Option<&Announced<'_>>, origin: Origin) -> Checked {
    match dicom_facts(&mut sealed, announced, &origin) {
        Ok((study, instance, synthetic)) => {
            Ok(Candidate { temporary: sealed.temporary, study, instance, synthetic, origin })
        }
        Err(refusal) => Err((refusal, Some(Box::new(sealed)))),
    }
}

fn dicom_facts(
    sealed: &mut Sealed,
    announced: Option<&Announced<'_>>,
    origin: &Origin,
) -> Result<(StudyUid, Instance, bool), Refusal> {
    sealed.file.seek(SeekFrom::Start(0)).map_err(Refusal::spool("read a temporary file"))?;
    let header = prescan_file(&mut sealed.file).map_err(Refusal::Unparsable)?.header;
    if let Some(announced) = announced {
        if header.instance != *announced.instance {
            return Err(Refusal::Mismatch { what: "SOP Instance UID" });
        }
        if header.sop_class != *announced.sop_class {
            return Err(Refusal::Mismatch { what: "SOP Class UID" });
        }
    }
    let domain = match domain_of(&header) {
        Domain::Unknown => origin.domain.unwrap_or(Domain::Unknown),
        known => known,
    };
    let instance = Instance {
        not_analysable: not_analysable(&header, domain),
        data_set: sealed.data_set_digest(header.data_set_offset)?,
        blob: sealed.blob.clone(),
        // 0 says that the declared number cannot be read; whoever decodes gives the reason.
        frames: header.frames.unwrap_or(u32::from(!header.has_pixels)),
        transfer_syntax: Some(header.transfer_syntax.uid().clone()),
        series: header.series,
        uid: header.instance,
        sop_class: header.sop_class,
        domain,
    };
    Ok((header.study, instance, header.synthetic || origin.synthetic))
}

/// Files a picture that is no DICOM object: a study of its own, its UIDs derived from its content.
pub(crate) fn check_still(sealed: Sealed, origin: Origin) -> Checked {
    let digest = sealed.blob.sha256;
    let facts = || {
        Ok::<_, schemas::UidError>((
            StudyUid(derived_uid("study", digest.as_bytes())?),
            Instance {
                series: SeriesUid(derived_uid("series", digest.as_bytes())?),
                uid: InstanceUid(derived_uid("instance", digest.as_bytes())?),
                sop_class: Uid::new(SECONDARY_CAPTURE)?,
                transfer_syntax: None,
                frames: 1,
                blob: sealed.blob.clone(),
                data_set: digest,
                domain: origin.domain.unwrap_or(Domain::Pathology),
                not_analysable: None,
            },
        ))
    };
    match facts() {
        Ok((study, instance)) => {
            let synthetic = origin.synthetic;
            Ok(Candidate { temporary: sealed.temporary, study, instance, synthetic, origin })
        }
        // Derived UIDs are digits by construction; an error here is ours.
        Err(_) => Err((Refusal::Mismatch { what: "derived UID" }, None)),
    }
}

fn domain_of(header: &Header) -> Domain {
    match (header.modality.as_deref(), header.sop_class.as_str()) {
        (Some("US"), _) => Domain::Echo,
        (Some("SM"), _) | (_, WHOLE_SLIDE) => Domain::Pathology,
        (_, class) if ULTRASOUND.contains(&class) => Domain::Echo,
        _ => Domain::Unknown,
    }
}

fn not_analysable(header: &Header, domain: Domain) -> Option<NotAnalysable> {
    let ours =
        header.modality.as_deref().and_then(|modality| result_series_uid(&header.study, modality).ok());
    if ours.as_ref() == Some(&header.series) {
        return Some(NotAnalysable::OwnResult);
    }
    if !header.has_pixels {
        return Some(NotAnalysable::NotAnImage);
    }
    let coding = pixels::NotAnalysable::of_coding(header.transfer_syntax.coding());
    coding.map(Into::into).or((domain == Domain::Unknown).then_some(NotAnalysable::Modality))
}

/// The Series Instance UID of the results that prescreen writes into `study` with this modality (`SR`, `OT`, `DOC`).
///
/// It is derived from the study, so that a result coming back through the PACS is known by it, whoever relays it and
/// whatever became of its texts. Whoever writes results takes it from here.
///
/// # Errors
/// None in practice: a derived UID is digits and dots.
pub fn result_series_uid(study: &StudyUid, modality: &str) -> Result<SeriesUid, schemas::UidError> {
    derived_uid("prescreen result series", format!("{study} {modality}").as_bytes()).map(SeriesUid)
}

/// `2.25.` and a UUID as a decimal number (PS3.5 B.2), made of what it names.
fn derived_uid(kind: &str, content: &[u8]) -> Result<Uid, schemas::UidError> {
    let name = [kind.as_bytes(), b"\0", content].concat();
    Uid::new(&format!("2.25.{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &name).as_u128()))
}
