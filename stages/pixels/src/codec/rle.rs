//! Run length (PS3.5 annex G): one segment per byte of each sample, most significant first.

use crate::{colour::Samples, header::ImageHeader, probe::CodestreamError};

const KIND: &str = "RLE";
/// The header: a count and 15 offsets, all u32 little endian.
const HEADER: usize = 64;

pub(super) fn decode(header: &ImageHeader, bytes: &[u8]) -> Result<Samples, CodestreamError> {
    let samples = usize::from(header.layout.samples);
    let bytes_per_sample = usize::from(header.layout.bits_allocated / 8);
    let pixels = usize::from(header.rows) * usize::from(header.columns);
    let segments = segments(bytes, samples * bytes_per_sample)?;

    let mut words = vec![0_u16; pixels * samples];
    for (number, segment) in segments.into_iter().enumerate() {
        let plane = unpack(segment, pixels);
        if plane.len() < pixels {
            return Err(CodestreamError::ShortSegment {
                segment: number,
                found: plane.len(),
                expected: pixels,
            });
        }
        let sample = number / bytes_per_sample;
        let shift = 8 * (bytes_per_sample - 1 - number % bytes_per_sample);
        for (word, byte) in words.iter_mut().skip(sample).step_by(samples).zip(plane) {
            *word |= u16::from(byte) << shift;
        }
    }
    Ok(if bytes_per_sample == 1 {
        Samples::Eight(words.into_iter().map(|word| word as u8).collect())
    } else {
        Samples::Sixteen(words)
    })
}

fn segments(bytes: &[u8], expected: usize) -> Result<Vec<&[u8]>, CodestreamError> {
    let damaged = |offset| CodestreamError::Damaged { kind: KIND, offset };
    let (fields, _) = bytes.get(..HEADER).ok_or_else(|| damaged(0))?.as_chunks::<4>();
    let mut fields = fields.iter().map(|field| u32::from_le_bytes(*field) as usize);
    if fields.next() != Some(expected) {
        return Err(damaged(0));
    }
    let mut ends: Vec<usize> = fields.take(expected).collect();
    ends.push(bytes.len());
    let mut segments = Vec::with_capacity(expected);
    for pair in ends.windows(2) {
        let &[start, end] = pair else { break };
        let segment = bytes.get(start..end).filter(|_| start >= HEADER);
        segments.push(segment.ok_or_else(|| damaged(4 + 4 * segments.len()))?);
    }
    Ok(segments)
}

/// PackBits, stopping at `wanted` bytes or where the segment ends.
fn unpack(segment: &[u8], wanted: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = segment;
    while out.len() < wanted {
        let Some((&control, after)) = rest.split_first() else { break };
        rest = after;
        match control {
            0..=127 => {
                let count = usize::from(control) + 1;
                let Some((literal, after)) = rest.split_at_checked(count) else {
                    out.extend_from_slice(rest);
                    break;
                };
                out.extend_from_slice(literal);
                rest = after;
            }
            129..=255 => {
                let Some((&byte, after)) = rest.split_first() else { break };
                out.resize(out.len() + 257 - usize::from(control), byte);
                rest = after;
            }
            128 => {}
        }
    }
    out.truncate(wanted);
    out
}
