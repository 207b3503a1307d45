//! From A-ASSOCIATE-RQ to A-ASSOCIATE-AC or -RJ (PS3.8 §9.3).
//!
//! Done here and not by dicom-ul's acceptor, which takes even, duplicate and no context ids at all, cannot reject for
//! congestion, refuses protocol versions with further bits, and closes on a damaged PDU without an A-ABORT.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AssociationAC, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderASCEReason, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, Pdu, PresentationContextProposed,
    PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};
use pixels::{PixelCoding, TransferSyntax};
use schemas::{Priority, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Access, Peer, ScpConfig,
    wire::{Wire, WireError},
};
use crate::{
    dimse,
    meta_header::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME},
};

/// DICOM Application Context Name (PS3.7 annex A).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// The smallest P-DATA PDU worth speaking to: below, a response does not fit.
const MIN_PEER_PDU: u32 = 512;

/// What a presentation context is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Verification,
    Storage { sop_class: Uid },
}

/// One accepted presentation context.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) purpose: Purpose,
    pub(crate) transfer_syntax: Uid,
}

/// What was agreed.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) calling_ae_title: String,
    pub(crate) access: Access,
    pub(crate) priority: Priority,
    pub(crate) contexts: HashMap<u8, Context>,
}

/// Why there is no association.
#[derive(Debug)]
pub(crate) enum Rejected {
    CalledAeTitle,
    Peer,
    Protocol,
    Contexts,
    Unexpected,
    Wire(WireError),
}

impl Rejected {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::CalledAeTitle => "called_ae_title",
            Self::Peer => "calling_ae_title",
            Self::Protocol => "protocol",
            Self::Contexts => "presentation_contexts",
            Self::Unexpected => "unexpected_pdu",
            Self::Wire(WireError::Malformed) => "not_dicom",
            Self::Wire(WireError::Timeout(_)) => "timeout",
            Self::Wire(WireError::Closed | WireError::Io(_)) => "connection",
        }
    }

    fn source(&self) -> Option<AssociationRJSource> {
        let user = AssociationRJSource::ServiceUser;
        let provider = AssociationRJSource::ServiceProviderASCE;
        Some(match self {
            Self::CalledAeTitle => user(AssociationRJServiceUserReason::CalledAETitleNotRecognized),
            Self::Peer => user(AssociationRJServiceUserReason::CallingAETitleNotRecognized),
            Self::Protocol => provider(AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported),
            Self::Contexts => provider(AssociationRJServiceProviderASCEReason::NoReasonGiven),
            Self::Unexpected | Self::Wire(_) => return None,
        })
    }
}

/// Reads the request, answers it, and gives what was agreed.
pub(crate) async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    config: &ScpConfig,
    address: IpAddr,
) -> Result<Association, Rejected> {
    let answer = match wire.receive().await {
        Ok(Pdu::AssociationRQ(request)) => decide(request, config, address, wire.max_pdu()),
        Ok(_) => Err(Rejected::Unexpected),
        Err(error) => Err(Rejected::Wire(error)),
    };
    match answer {
        Ok((association, accept)) => match wire.send(&Pdu::AssociationAC(accept)).await {
            Ok(()) => Ok(association),
            Err(error) => Err(Rejected::Wire(error)),
        },
        Err(rejected) => {
            if let Some(source) = rejected.source() {
                let result = AssociationRJResult::Permanent;
                wire.finish(&Pdu::AssociationRJ(AssociationRJ { result, source })).await;
            } else {
                wire.abort(AbortRQServiceProviderReason::UnexpectedPdu).await;
            }
            Err(rejected)
        }
    }
}

/// Why a connection is not even negotiated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// All associations are taken: come back later.
    Congestion,
    /// No peer is listed for the address.
    Address,
}

impl Unserved {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Congestion => "congestion",
            Self::Address => "address",
        }
    }
}

/// Rejects whatever is requested.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, why: Unserved) {
    // The answer is the same whatever comes; waiting for the request spares peers that read only after writing.
    if let Err(error) = wire.receive().await {
        tracing::debug!(%error, "refused peer requested nothing");
    }
    let (result, source) = match why {
        Unserved::Congestion => {
            let reason = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
            (AssociationRJResult::Transient, AssociationRJSource::ServiceProviderPresentation(reason))
        }
        Unserved::Address => {
            let reason = AssociationRJServiceUserReason::CallingAETitleNotRecognized;
            (AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(reason))
        }
    };
    wire.finish(&Pdu::AssociationRJ(AssociationRJ { result, source })).await;
}

fn decide(
    request: AssociationRQ,
    config: &ScpConfig,
    address: IpAddr,
    max_pdu: u32,
) -> Result<(Association, AssociationAC), Rejected> {
    // PS3.8 table 9-11: only bit 0 is tested.
    if request.protocol_version & 1 == 0 || trim(&request.application_context_name) != APPLICATION_CONTEXT {
        return Err(Rejected::Protocol);
    }
    if request.called_ae_title != config.ae_title {
        return Err(Rejected::CalledAeTitle);
    }
    let is_peer = |peer: &&Peer| peer.ae_title == request.calling_ae_title && peer.may_come_from(address);
    let peer = config.peers.iter().find(is_peer).ok_or(Rejected::Peer)?;
    let largest = request.user_variables.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(length) => Some(*length),
        _ => None,
    });
    if largest.is_some_and(|length| length != 0 && length < MIN_PEER_PDU) {
        return Err(Rejected::Contexts);
    }
    let (contexts, results) = contexts(request.presentation_contexts)?;
    let accept = AssociationAC {
        protocol_version: 1,
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        called_ae_title: request.called_ae_title,
        calling_ae_title: request.calling_ae_title.clone(),
        presentation_contexts: results,
        user_variables: vec![
            UserVariableItem::MaxLength(max_pdu),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
        ],
    };
    let association = Association {
        calling_ae_title: request.calling_ae_title,
        access: peer.access,
        priority: peer.priority,
        contexts,
    };
    Ok((association, accept))
}

type Contexts = (HashMap<u8, Context>, Vec<PresentationContextResult>);

fn contexts(proposed: Vec<PresentationContextProposed>) -> Result<Contexts, Rejected> {
    let mut ids = HashSet::new();
    // PS3.8 table 9-13: odd numbers, and each context has its own.
    if proposed.is_empty() || !proposed.iter().all(|context| context.id % 2 == 1 && ids.insert(context.id)) {
        return Err(Rejected::Contexts);
    }
    let mut accepted = HashMap::new();
    let mut results = Vec::new();
    for context in proposed {
        let (reason, transfer_syntax) = match agree(&context) {
            Ok(agreed) => {
                let transfer_syntax = agreed.transfer_syntax.to_string();
                accepted.insert(context.id, agreed);
                (PresentationContextResultReason::Acceptance, transfer_syntax)
            }
            // The transfer syntax of a refused context is not significant (PS3.8 §9.3.3.2), but must be there.
            Err(reason) => (reason, "1.2.840.10008.1.2".to_owned()),
        };
        results.push(PresentationContextResult { id: context.id, reason, transfer_syntax });
    }
    Ok((accepted, results))
}

fn agree(proposed: &PresentationContextProposed) -> Result<Context, PresentationContextResultReason> {
    let purpose = purpose(trim(&proposed.abstract_syntax))
        .ok_or(PresentationContextResultReason::AbstractSyntaxNotSupported)?;
    let mut uids = proposed.transfer_syntaxes.iter().filter_map(|uid| Uid::new(trim(uid)).ok());
    let transfer_syntax = uids.find(is_known);
    let transfer_syntax =
        transfer_syntax.ok_or(PresentationContextResultReason::TransferSyntaxesNotSupported)?;
    Ok(Context { purpose, transfer_syntax })
}

/// Every transfer syntax whose data set can be read is taken, in the order proposed, pixels or not: a video that
/// cannot be looked at is still the hospital's.
fn is_known(uid: &Uid) -> bool {
    TransferSyntax::new(uid.clone()).coding() != PixelCoding::Unknown
}

/// Every storage class is taken, private ones too: a C-MOVE fails as a whole if one of its classes is refused.
fn purpose(abstract_syntax: &str) -> Option<Purpose> {
    if abstract_syntax == dimse::VERIFICATION {
        return Some(Purpose::Verification);
    }
    let sop_class = Uid::new(abstract_syntax).ok()?;
    let Some(standard) = abstract_syntax.strip_prefix("1.2.840.10008.") else {
        return Some(Purpose::Storage { sop_class });
    };
    // PS3.6 annex A: the storage arc, and the storage classes outside it (hanging protocol, colour palette, implant
    // templates, RT delivery instruction, inventory).
    let is_storage = standard.starts_with("5.1.4.1.1.")
        || matches!(
            standard,
            "5.1.4.38.1" | "5.1.4.39.1" | "5.1.4.43.1" | "5.1.4.44.1" | "5.1.4.45.1" | "5.1.4.34.7"
        );
    is_storage.then_some(Purpose::Storage { sop_class })
}

/// UIDs on the wire may be padded.
fn trim(uid: &str) -> &str {
    uid.trim_end_matches(['\0', ' '])
}
