//! What both sides are asked: of eight studies two pictures each and the same words.

use glm46v::{Message, Part, Prompt, RgbImage, Role, Thinking};

/// Asked about.
pub(super) const STUDIES: usize = 8;
/// Of a picture, in pixels: 16 by 16 vision tokens, which no resize changes.
const SIDE: u32 = 448;
const PICTURES: u64 = 2;
/// Of a question: (448 / 28)² for each picture.
pub(super) const VISION_TOKENS: usize = 512;

const TEXT: &str = "The pictures are keyframes of one study: end diastole and end systole. Name the view, say whether the \
    pictures are good enough, give the ejection fraction in percent, and name each finding that you see. If the pictures are \
    not enough to answer, say so. Answer with one JSON object and nothing else.";

/// A study, and what is asked of it.
pub(super) struct Question {
    pub(super) number: usize,
    pub(super) pictures: Vec<RgbImage>,
    pub(super) text: &'static str,
}

/// Of all studies.
pub(super) fn all(seed: u64) -> Vec<Question> {
    (0..STUDIES)
        .map(|number| {
            let first = seed + number as u64 * PICTURES;
            let pictures = (first..first + PICTURES).map(|seed| picture(seed, SIDE, SIDE)).collect();
            Question { number, pictures, text: TEXT }
        })
        .collect()
}

impl Question {
    /// The system turn. Another `asking`, another beginning of the prompt, of the same length: below 1000.
    pub(super) fn system(&self, asking: usize) -> String {
        format!("Asking {:03} of study {}. You are a careful assistant.", asking % 1000, self.number)
    }

    pub(super) fn prompt(&self, asking: usize) -> Prompt {
        let pictures = self.pictures.iter().cloned().map(Part::Image);
        let content = pictures.chain([Part::Text(self.text.to_owned())]).collect();
        Prompt {
            messages: vec![
                Message::text(Role::System, self.system(asking)),
                Message { role: Role::User, content },
            ],
            thinking: Thinking::Off,
        }
    }
}

/// Soft blobs under noise, the same for the same seed.
pub(super) fn picture(seed: u64, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = (f64::from(x) / 37.0 + seed as f64).sin() * (f64::from(y) / 53.0).cos();
        let noise = mixed(seed ^ ((u64::from(x) << 32) | u64::from(y)));
        let level =
            |channel: u32| (128.0 + 90.0 * wave + f64::from((noise >> (8 * channel)) as u8) / 8.0) as u8;
        image::Rgb([level(0), level(1), level(2)])
    })
}

/// SplitMix64 (Steele, Lea, Flood; OOPSLA 2014).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
