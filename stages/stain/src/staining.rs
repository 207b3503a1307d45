//! Two stains, how strong they are, and how much of each a pixel holds.

use crate::density::densities;

/// The colours of two stains: optical density of red, green and blue for one unit of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stains {
    /// The bluer one, which absorbs more red.
    pub haematoxylin: [f64; 3],
    /// The pinker one.
    pub eosin: [f64; 3],
}

/// How a picture is stained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staining {
    /// The colours.
    pub stains: Stains,
    /// 99th percentile of the concentration of haematoxylin and of eosin.
    pub strongest: [f64; 2],
}

/// A staining that pictures are brought to. Whoever changes one gives it another version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Name and number, for the record of how a picture was made.
    pub version: &'static str,
    /// The staining.
    pub staining: Staining,
}

/// `HERef` and `maxCRef` of `normalizeStaining.m` (M. Veta 2013), which torchstain and most others use.
pub const REFERENCE: Reference = Reference {
    version: "macenko-veta-2013/1",
    staining: Staining {
        stains: Stains { haematoxylin: [0.5626, 0.7201, 0.4062], eosin: [0.2159, 0.8012, 0.5581] },
        strongest: [1.9705, 1.0308],
    },
};

impl Stains {
    /// The angle between the stains in degrees.
    pub fn angle_degrees(&self) -> f64 {
        let (h, e) = (self.haematoxylin, self.eosin);
        let cosine = dot(h, e) / (dot(h, h) * dot(e, e)).sqrt();
        cosine.clamp(-1.0, 1.0).acos().to_degrees()
    }

    /// By how much red or blue outweigh green in the stain where they do so most: at most 1 for haematoxylin and
    /// eosin, which both absorb green the most; 1.37 for diaminobenzidine, 1.35 for aniline blue (Ruifrok 2001).
    pub fn off_green(&self) -> f64 {
        let off = |[r, g, b]: [f64; 3]| r.max(b) / g.max(1e-6);
        off(self.haematoxylin).max(off(self.eosin))
    }

    /// Rows of the matrix that turns densities into concentrations: least squares by the normal equations.
    pub(crate) fn unmixing(&self) -> [[f64; 3]; 2] {
        let (h, e) = (self.haematoxylin, self.eosin);
        let (hh, he, ee) = (dot(h, h), dot(h, e), dot(e, e));
        let determinant = hh * ee - he * he;
        let row = |a: f64, b: f64| [0, 1, 2].map(|k| (a * h[k] + b * e[k]) / determinant);
        [row(ee, -he), row(-he, hh)]
    }
}

pub(crate) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Reads off how much of each stain a pixel holds.
#[derive(Debug, Clone)]
pub struct Concentrations {
    /// For each channel and level, its part in both concentrations.
    parts: [[[f32; 2]; 256]; 3],
}

impl Concentrations {
    /// By these stains.
    pub fn by(stains: &Stains) -> Self {
        let unmixing = stains.unmixing();
        let part =
            |channel: usize| densities().map(|density| unmixing.map(|row| (row[channel] * density) as f32));
        Self { parts: [part(0), part(1), part(2)] }
    }

    /// Haematoxylin and eosin of one pixel, in units of the stain vectors. Below 0 where the pixel is of neither.
    pub fn of(&self, [r, g, b]: [u8; 3]) -> [f32; 2] {
        let [red, green, blue] = &self.parts;
        let (r, g, b) = (red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]);
        [r[0] + g[0] + b[0], r[1] + g[1] + b[1]]
    }
}
