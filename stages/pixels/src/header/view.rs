//! Which view the header says the clip shows. A code is trusted before a name; most devices write neither.

use dicom_dictionary_std::tags;
use schemas::View;

use crate::prescan::{Attributes, Value};

/// View Code Sequence (CID 12226, SNOMED CT and the older SRT codes), else View Name in its usual spellings, else Stage Name or
/// Series Description where they spell a view: both are for other things too.
pub(super) fn read(attributes: &Attributes) -> Option<View> {
    let code = attributes.items(tags::VIEW_CODE_SEQUENCE).next().and_then(|item| item.get(&tags::CODE_VALUE));
    let named = |tag| by_name(&attributes.text(tag)?);
    let spelt = |tag| named(tag).filter(|view| *view != View::Other);
    code.map(Value::text)
        .map(|code| by_code(&code))
        .or_else(|| named(tags::VIEW_NAME))
        .or_else(|| spelt(tags::STAGE_NAME))
        .or_else(|| spelt(tags::SERIES_DESCRIPTION))
}

fn by_code(code: &str) -> View {
    match code {
        "399214001" | "G-A19C" => View::A4C,
        "399232001" | "G-A19B" => View::A2C,
        "399139001" | "G-0396" => View::PLAX,
        "399306005" | "G-0397" | "399239005" | "G-0398" | "399371001" | "G-0399" | "399036006" | "G-039A"
        | "399271003" | "G-039B" => View::PSAX,
        "399310008" | "G-039E" | "399200001" | "G-039F" => View::Subcostal,
        _ => View::Other,
    }
}

fn by_name(name: &str) -> Option<View> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    Some(match plain.as_str() {
        "A4C" | "AP4" | "4C" | "4CH" | "APICAL4CHAMBER" | "APICALFOURCHAMBER" => View::A4C,
        "A2C" | "AP2" | "2C" | "2CH" | "APICAL2CHAMBER" | "APICALTWOCHAMBER" => View::A2C,
        "PLAX" | "LAX" | "PARASTERNALLONGAXIS" => View::PLAX,
        "PSAX" | "SAX" | "PARASTERNALSHORTAXIS" => View::PSAX,
        "SUBCOSTAL" | "SC4C" => View::Subcostal,
        "" => return None,
        _ => View::Other,
    })
}
