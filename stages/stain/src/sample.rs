//! A bounded, repeatable sample of a picture's pixels.

/// Pixels from which stains are estimated at most, of a picture or of all tiles of a slide together.
pub const MAX_SAMPLE: usize = 100_000;

/// At most `most` pixels of `rgb`: all of a small picture, else one from each of equally long stretches. Where in its
/// stretch is hashed, so that no pattern in the picture can fall into step with the sampling.
pub fn sample(rgb: &[u8], most: usize) -> Vec<[u8; 3]> {
    let (pixels, _) = rgb.as_chunks::<3>();
    if pixels.len() <= most {
        return pixels.to_vec();
    }
    let start = |stretch: usize| stretch * pixels.len() / most;
    let drawn = (0..most).filter_map(|stretch| {
        let (from, to) = (start(stretch), start(stretch + 1));
        pixels.get(from + hash(stretch as u64) as usize % (to - from)).copied()
    });
    drawn.collect()
}

/// Splitmix64: a fixed, well-mixed number for each index.
fn hash(index: u64) -> u64 {
    let z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
