//! The one reader of data set bytes: iterative, bounded, and the same for the pre-scan and for decoding, so that no
//! second parser can see a different object in the same bytes.
//!
//! ```text
//!   stack:  data set ─▶ sequence ─▶ item ─▶ sequence ─▶ …   at most MAX_DEPTH sequences, each with the end it must respect
//!   element: order ▸ VR ▸ length ≤ bytes left ▸ length ≤ limit ▸ keep | skip
//! ```
//! Invariants: memory grows only with values that [`Attributes`] keeps and with the number of pixel fragments; no
//! length is trusted before it was compared with the bytes left.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::{
    ShownTag,
    attributes::{Attributes, Value},
    element::{ElementHeader, Elements},
    error::PrescanError,
    functional_groups::FunctionalGroups,
    limits::{MAX_DEPTH, MAX_ELEMENTS, MAX_KEPT, MAX_KEPT_VALUE, MAX_VALUE},
};
use crate::{input::Input, transfer_syntax::Encoding};

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// A run of pixel bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Where the pixel data of the image lies.
#[derive(Debug)]
pub(crate) enum PixelLocation {
    /// One block for all frames; `big_words` if it is written in big endian words (VR OW), so that 8-bit samples stand in
    /// pairs the wrong way round.
    Native { piece: Piece, big_words: bool },
    /// Items: the basic offset table's bytes, then the fragments.
    Encapsulated { basic_offsets: Vec<u8>, fragments: Vec<Piece> },
}

/// What one walk over a data set brings home.
pub(crate) struct Walked {
    pub(crate) attributes: Attributes,
    pub(crate) pixels: Option<PixelLocation>,
    /// Float or double pixel data (7FE0,0008 or 0009) instead of integers.
    pub(crate) float_pixels: bool,
}

enum Kind {
    DataSet,
    Sequence(Tag),
    Item,
}

/// Where an element stands, as far as it matters for keeping it.
enum Place {
    DataSet,
    /// In an item of a kept sequence of the data set.
    Item(Tag),
    /// In an item of the second sequence, in an item of the first, which is of the data set.
    Group(Tag, Tag),
    Elsewhere,
}

struct Open {
    kind: Kind,
    /// Where it ends, if its length is defined.
    end: Option<u64>,
    /// Nothing in it may pass this.
    limit: u64,
    implicit: bool,
    last: Tag,
}

/// Walks a data set to its end.
pub(crate) fn walk(input: &mut impl Input, encoding: Encoding) -> Result<Walked, PrescanError> {
    Walk {
        limit: input.end().unwrap_or(u64::MAX),
        reader: Elements { input, big_endian: encoding == Encoding::ExplicitBig },
        implicit: encoding == Encoding::ImplicitLittle,
        elements: 0,
        kept: 0,
        walked: Walked { attributes: Attributes::default(), pixels: None, float_pixels: false },
    }
    .run()
}

/// Reads the meta header (PS3.10 §7.1), always explicit VR little endian, up to the first element of another group.
/// Gives the value of the transfer syntax element and the offset of the data set.
pub(crate) fn walk_meta(input: &mut impl Input) -> Result<(Option<Value>, u64), PrescanError> {
    let limit = input.end().unwrap_or(u64::MAX);
    let attributes = Attributes::default();
    let walked = Walked { attributes, pixels: None, float_pixels: false };
    let mut walk = Walk {
        limit,
        reader: Elements { input, big_endian: false },
        implicit: false,
        elements: 0,
        kept: 0,
        walked,
    };
    let mut transfer_syntax = None;
    loop {
        let offset = walk.reader.input.position();
        let Some(tag) = walk.reader.tag()? else { return Ok((transfer_syntax, offset)) };
        if tag.group() != 0x0002 {
            return Ok((transfer_syntax, offset));
        }
        walk.count()?;
        let header = walk.reader.header(tag, offset, false)?;
        walk.check_length(&header, limit)?;
        if tag == tags::TRANSFER_SYNTAX_UID {
            transfer_syntax = Some(walk.value(&header)?);
        } else {
            walk.reader.skip(&header)?;
        }
    }
}

struct Walk<'a, I> {
    reader: Elements<'a, I>,
    limit: u64,
    implicit: bool,
    elements: u64,
    kept: u64,
    walked: Walked,
}

impl<I: Input> Walk<'_, I> {
    fn run(mut self) -> Result<Walked, PrescanError> {
        let root = Open {
            kind: Kind::DataSet,
            end: None,
            limit: self.limit,
            implicit: self.implicit,
            last: Tag(0x0004, 0),
        };
        let mut stack = vec![root];
        loop {
            while stack.len() > 1
                && stack.last().is_some_and(|open| open.end == Some(self.reader.input.position()))
            {
                stack.pop();
            }
            let offset = self.reader.input.position();
            let Some(tag) = self.reader.tag()? else {
                return match stack.len() {
                    0 | 1 => Ok(self.walked),
                    open => Err(PrescanError::Unclosed { offset, open: open - 1 }),
                };
            };
            self.count()?;
            let level = stack.len();
            let sequence_at = |depth: usize| match stack.get(depth).map(|open| &open.kind) {
                Some(Kind::Sequence(sequence)) => Some(*sequence),
                _ => None,
            };
            let place = match (level, sequence_at(1), sequence_at(3)) {
                (1, ..) => Place::DataSet,
                (3, Some(parent), _) if Attributes::keeps_sequence(parent) => Place::Item(parent),
                (5, Some(outer), Some(inner)) => Place::Group(outer, inner),
                _ => Place::Elsewhere,
            };
            let Some(top) = stack.last_mut() else { return Ok(self.walked) };
            match (&top.kind, tag) {
                (Kind::Sequence(sequence), ITEM) => {
                    let sequence = *sequence;
                    let length = self.reader.length32(tag)?;
                    let item = self.open(top, Kind::Item, length, (tag, offset))?;
                    if level == 2 {
                        self.walked.attributes.open_item(sequence);
                    }
                    stack.push(item);
                }
                (Kind::Sequence(_), SEQUENCE_END) | (Kind::Item, ITEM_END) if top.end.is_none() => {
                    self.reader.length32(tag)?;
                    stack.pop();
                }
                (Kind::Sequence(_), _) => {
                    let expected = "an item or its delimiter";
                    return Err(PrescanError::Misplaced { tag: ShownTag(tag), offset, expected });
                }
                (_, ITEM | ITEM_END | SEQUENCE_END) => {
                    let expected = "a data element";
                    return Err(PrescanError::Misplaced { tag: ShownTag(tag), offset, expected });
                }
                (Kind::DataSet | Kind::Item, _) => {
                    if tag.group() < top.last.group() {
                        let previous = ShownTag(top.last);
                        return Err(PrescanError::OutOfOrder { tag: ShownTag(tag), offset, previous });
                    }
                    top.last = tag;
                    let header = self.reader.header(tag, offset, top.implicit)?;
                    if let Some(sequence) = self.element(&header, top, place)? {
                        if stack.iter().filter(|open| matches!(open.kind, Kind::Sequence(_))).count()
                            >= MAX_DEPTH
                        {
                            return Err(PrescanError::TooDeep { tag: ShownTag(tag), offset });
                        }
                        stack.push(sequence);
                    }
                }
            }
        }
    }

    /// Handles one element; gives the sequence that it opens, if it does.
    fn element(
        &mut self,
        header: &ElementHeader,
        within: &Open,
        place: Place,
    ) -> Result<Option<Open>, PrescanError> {
        let &ElementHeader { tag, offset, vr, length } = header;
        let top_level = matches!(place, Place::DataSet);
        if tag == tags::PIXEL_DATA {
            let location = self.pixel_data(header, within)?;
            if top_level && self.walked.pixels.replace(location).is_some() {
                return Err(PrescanError::OutOfOrder { tag: ShownTag(tag), offset, previous: ShownTag(tag) });
            }
            return Ok(None);
        }
        if vr == VR::SQ || (length == UNDEFINED && vr == VR::UN) {
            let mut sequence = self.open(within, Kind::Sequence(tag), length, (tag, offset))?;
            // PS3.5 §6.2.2 note 2: UN of undefined length holds an implicit VR little endian sequence.
            sequence.implicit |= vr == VR::UN;
            return Ok(Some(sequence));
        }
        if length == UNDEFINED {
            return Err(PrescanError::UndefinedLength { tag: ShownTag(tag), offset });
        }
        self.check_length(header, within.limit)?;
        match place {
            Place::DataSet if Attributes::keeps(tag) => {
                let value = self.value(header)?;
                if !self.walked.attributes.insert(tag, value) {
                    let previous = ShownTag(tag);
                    return Err(PrescanError::OutOfOrder { tag: ShownTag(tag), offset, previous });
                }
            }
            Place::Item(sequence) if Attributes::keeps_in_items(tag) => {
                let value = self.value(header)?;
                self.walked.attributes.insert_in_item(sequence, tag, value);
            }
            Place::Group(outer, inner) if FunctionalGroups::keeps(outer, inner, tag) => {
                let value = self.value(header)?;
                self.walked.attributes.groups.insert(tag, value);
            }
            _ => {
                self.walked.float_pixels |=
                    top_level && matches!(tag, tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA);
                self.reader.skip(header)?;
            }
        }
        Ok(None)
    }

    fn open(
        &self,
        within: &Open,
        kind: Kind,
        length: u32,
        (tag, offset): (Tag, u64),
    ) -> Result<Open, PrescanError> {
        let (end, limit) = if length == UNDEFINED {
            (None, within.limit)
        } else {
            let position = self.reader.input.position();
            let left = within.limit.saturating_sub(position);
            let length = u64::from(length);
            if length > left {
                return Err(PrescanError::LengthBeyondEnd { tag: ShownTag(tag), offset, length, left });
            }
            (Some(position + length), position + length)
        };
        Ok(Open { kind, end, limit, implicit: within.implicit, last: Tag(0, 0) })
    }

    fn pixel_data(&mut self, header: &ElementHeader, within: &Open) -> Result<PixelLocation, PrescanError> {
        let &ElementHeader { tag, offset, length, .. } = header;
        if length != UNDEFINED {
            self.within(header, within.limit)?;
            let piece = Piece { offset: self.reader.input.position(), length: u64::from(length) };
            self.reader.skip(header)?;
            let big_words = self.reader.big_endian && header.vr == VR::OW;
            return Ok(PixelLocation::Native { piece, big_words });
        }
        let mut basic_offsets = None;
        let mut fragments = Vec::new();
        loop {
            let offset_of_item = self.reader.input.position();
            let Some(item) = self.reader.tag()? else {
                return Err(PrescanError::Truncated { tag: ShownTag(tag), offset: offset_of_item });
            };
            self.count()?;
            let length = self.reader.length32(item)?;
            match item {
                ITEM if length != UNDEFINED => {
                    let header = ElementHeader { tag: item, offset: offset_of_item, vr: VR::OB, length };
                    self.within(&header, within.limit)?;
                    if basic_offsets.is_none() {
                        basic_offsets = Some(self.value(&header)?.bytes);
                    } else {
                        let piece = Piece { offset: self.reader.input.position(), length: u64::from(length) };
                        self.reader.skip(&header)?;
                        fragments.push(piece);
                    }
                }
                SEQUENCE_END => {
                    let basic_offsets = basic_offsets.unwrap_or_default();
                    return Ok(PixelLocation::Encapsulated { basic_offsets, fragments });
                }
                _ => {
                    let expected = "a fragment of defined length or the sequence delimiter";
                    return Err(PrescanError::Misplaced { tag: ShownTag(item), offset, expected });
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), PrescanError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(PrescanError::TooManyElements { offset: self.reader.input.position() });
        }
        Ok(())
    }

    fn within(&self, header: &ElementHeader, limit: u64) -> Result<(), PrescanError> {
        let left = limit.saturating_sub(self.reader.input.position());
        let &ElementHeader { tag, offset, length, .. } = header;
        let length = u64::from(length);
        if length > left || self.reader.input.position() > limit {
            return Err(PrescanError::LengthBeyondEnd { tag: ShownTag(tag), offset, length, left });
        }
        Ok(())
    }

    fn check_length(&self, header: &ElementHeader, limit: u64) -> Result<(), PrescanError> {
        self.within(header, limit)?;
        at_most(header, MAX_VALUE)
    }

    fn value(&mut self, header: &ElementHeader) -> Result<Value, PrescanError> {
        at_most(header, MAX_KEPT_VALUE.min(MAX_KEPT.saturating_sub(self.kept)))?;
        let bytes = self.reader.append(header)?;
        self.kept += u64::from(header.length);
        Ok(Value { vr: header.vr, big_endian: self.reader.big_endian, bytes })
    }
}

fn at_most(header: &ElementHeader, limit: u64) -> Result<(), PrescanError> {
    let &ElementHeader { tag, offset, length, .. } = header;
    let length = u64::from(length);
    if length > limit {
        return Err(PrescanError::ValueTooLong { tag: ShownTag(tag), offset, length, limit });
    }
    Ok(())
}
