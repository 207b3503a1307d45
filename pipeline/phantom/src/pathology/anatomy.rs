//! Where tissue, glands and nuclei lie: functions of place, in pixels of the finest level.
//!
//! ```text
//!  outline    the tissue's pieces: a level set, its threshold set so that the stained share is the one asked for
//!  warp       a smooth displacement; glands and fibres are straight before it and organic after it
//!  glands     at most one in each square of a grid, in warped coordinates: lumen < 0.45 R, nuclei at 0.85 R
//!  nuclei     the glands' rings, and at most one in each square of a finer grid in the stroma between
//! ```

use rand::Rng;

use super::chance::{self, Fbm, Lattice, Purpose};
use super::spec::Section;

/// Side of a gland's square, pixels. A gland of the greatest radius at the greatest offset stays inside it.
const GLAND_PITCH: f32 = 230.0;
const GLAND_RADIUS: std::ops::Range<f32> = 58.0..84.0;
const GLAND_OFFSET: f32 = 23.0;
/// Radii, as shares of the gland's: the lumen's edge, the ring of nuclei, and the stroma's first nuclei.
const LUMEN: f32 = 0.45;
const RING: f32 = 0.85;
const CLEAR: f32 = 1.12;
/// Pixels along the ring from nucleus to nucleus.
const RING_SPACING: f32 = 15.0;
/// Side of a stromal nucleus's square, pixels.
const STROMA_PITCH: f32 = 20.0;
/// Half the length of the longest nucleus with its edge, pixels: how far outside a region one may begin.
const NUCLEUS_REACH: f32 = 22.0;
/// Displacement (standard deviation) and wavelength of the warp, pixels.
const WARP: f32 = 14.0;
const WARP_WAVELENGTH: f32 = 120.0;
/// Width over which tissue ends, pixels.
const EDGE: f32 = 3.0;
/// Samples along each side when the threshold is set.
const SURVEY: usize = 160;

/// A rectangle of the finest level; it may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Region {
    pub(crate) fn grown(self, by: usize) -> Self {
        Self {
            left: self.left - by as i32,
            top: self.top - by as i32,
            columns: self.columns + 2 * by,
            rows: self.rows + 2 * by,
        }
    }

    fn contains(self, x: f32, y: f32) -> bool {
        let (x, y) = (x - self.left as f32, y - self.top as f32);
        x >= 0.0 && y >= 0.0 && x < self.columns as f32 && y < self.rows as f32
    }
}

/// An ellipse of chromatin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nucleus {
    pub(crate) x: f32,
    pub(crate) y: f32,
    /// Semi-axes.
    pub(crate) long: f32,
    pub(crate) short: f32,
    /// Cosine and sine of the long axis.
    pub(crate) axis: [f32; 2],
    /// Concentration of haematoxylin.
    pub(crate) hematoxylin: f32,
}

impl Nucleus {
    /// Distance from the centre as a share of the ellipse's radius in that direction.
    #[inline]
    pub(crate) fn radius_at(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let along = (dx * self.axis[0] + dy * self.axis[1]) / self.long;
        let across = (dy * self.axis[0] - dx * self.axis[1]) / self.short;
        (along * along + across * across).sqrt()
    }
}

struct Gland {
    x: f32,
    y: f32,
    radius: f32,
    /// Width over length.
    aspect: f32,
    axis: [f32; 2],
}

impl Gland {
    /// Distance in warped coordinates as a share of the radius.
    #[inline]
    fn radius_at(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let along = dx * self.axis[0] + dy * self.axis[1];
        let across = (dy * self.axis[0] - dx * self.axis[1]) / self.aspect;
        (along * along + across * across).sqrt() / self.radius
    }
}

/// What a place is made of, apart from nuclei.
pub(crate) struct Matter {
    /// 0 (glass) to 1.
    pub(crate) tissue: f32,
    /// 0 (stroma) to 1: cytoplasm of a gland.
    pub(crate) epithelium: f32,
    /// Warped coordinates turned along the fibres.
    pub(crate) fibre: [f32; 2],
}

/// The glands of the squares around a region, looked up by square.
pub(crate) struct Glands {
    first: [i64; 2],
    across: usize,
    squares: Vec<Option<Gland>>,
}

impl Glands {
    #[inline]
    fn at(&self, x: f32, y: f32) -> Option<&Gland> {
        let column = usize::try_from((x / GLAND_PITCH).floor() as i64 - self.first[0]).ok()?;
        let row = usize::try_from((y / GLAND_PITCH).floor() as i64 - self.first[1]).ok()?;
        if column >= self.across {
            return None;
        }
        self.squares.get(row * self.across + column)?.as_ref()
    }
}

/// The whole specimen's plan.
pub(crate) struct Anatomy {
    seed: u64,
    section: Section,
    columns: f32,
    rows: f32,
    /// Glass left free along the border, pixels.
    margin: f32,
    lattice: Lattice,
    crowding: Fbm<2>,
    pieces: Vec<[f32; 3]>,
    threshold: f32,
    /// Cosine and sine of the fibres' direction.
    fibres: [f32; 2],
    /// A place well inside the tissue, where artefacts cross it.
    heart: [f32; 2],
}

impl Anatomy {
    pub(crate) fn new(seed: u64, extent: [u32; 2], margin: f32, section: Section) -> Self {
        let [columns, rows] = extent.map(|side| side as f32);
        let rng = &mut chance::at(seed, Purpose::Outline, 0, 0);
        let side = columns.min(rows);
        let mut pieces: Vec<[f32; 3]> = Vec::with_capacity(section.pieces);
        for _ in 0..section.pieces {
            // The farthest of some candidates from the pieces there are, so that pieces lie apart (Mitchell 1991).
            let candidates: [[f32; 2]; 8] = std::array::from_fn(|_| {
                [columns * rng.random_range(0.15..0.85), rows * rng.random_range(0.15..0.85)]
            });
            let room = |[x, y]: &[f32; 2]| {
                let squares = pieces.iter().map(|[px, py, _]| (x - px) * (x - px) + (y - py) * (y - py));
                squares.fold(f32::INFINITY, f32::min)
            };
            let [x, y] = candidates
                .into_iter()
                .max_by(|a, b| room(a).total_cmp(&room(b)))
                .unwrap_or([columns / 2.0, rows / 2.0]);
            pieces.push([x, y, side * rng.random_range(0.35..0.60)]);
        }
        let angle = rng.random_range(0.0..std::f32::consts::TAU);
        let mut anatomy = Self {
            seed,
            section,
            columns,
            rows,
            margin,
            lattice: Lattice::new(seed, Purpose::Lattice),
            crowding: Fbm::new([(150.0, 1.0), (60.0, 0.6)]),
            pieces,
            threshold: f32::INFINITY,
            fibres: [libm::cosf(angle), libm::sinf(angle)],
            heart: [columns / 2.0, rows / 2.0],
        };
        anatomy.survey(rng);
        anatomy
    }

    /// Sets the threshold so that the share asked for is stained, and picks the heart.
    fn survey(&mut self, rng: &mut impl Rng) {
        let whole = Region { left: 0, top: 0, columns: self.columns as usize, rows: self.rows as usize };
        let glands = self.glands(whole);
        let mut depths: Vec<(f32, [f32; 2])> = Vec::with_capacity(SURVEY * SURVEY);
        for row in 0..SURVEY {
            for column in 0..SURVEY {
                let place = [
                    (column as f32 + 0.5) * self.columns / SURVEY as f32,
                    (row as f32 + 0.5) * self.rows / SURVEY as f32,
                ];
                let warped = self.warped(place[0], place[1]);
                let lumen = glands
                    .at(warped[0], warped[1])
                    .is_some_and(|gland| gland.radius_at(warped[0], warped[1]) < LUMEN);
                if !lumen {
                    depths.push((self.depth(place[0], place[1]), place));
                }
            }
        }
        depths.sort_by(|a, b| b.0.total_cmp(&a.0));
        let wanted = (self.section.tissue_share * (SURVEY * SURVEY) as f64).round() as usize;
        self.threshold = match wanted {
            0 => f32::INFINITY,
            _ => depths.get(wanted).map_or(f32::NEG_INFINITY, |(depth, _)| *depth),
        };
        // The deepest quarter of the tissue.
        let deep = (wanted.min(depths.len()) / 4).max(1);
        if let Some((_, place)) = depths.get(rng.random_range(0..deep)) {
            self.heart = *place;
        }
    }

    /// A place well inside the tissue.
    pub(crate) fn heart(&self) -> [f32; 2] {
        self.heart
    }

    pub(crate) fn lattice(&self) -> &Lattice {
        &self.lattice
    }

    /// How far inside its piece a place lies, as a share of the piece's radius; tissue is where it passes a threshold.
    fn depth(&self, x: f32, y: f32) -> f32 {
        let side = self.columns.min(self.rows);
        let nearest = self
            .pieces
            .iter()
            .map(|[px, py, radius]| 1.0 - ((x - px) * (x - px) + (y - py) * (y - py)).sqrt() / radius)
            .fold(f32::NEG_INFINITY, f32::max);
        let rough = 0.22 * self.lattice.smooth(x * 4.3 / side + 31.7, y * 4.3 / side + 11.3)
            + 0.07 * self.lattice.smooth(x * 17.0 / side + 3.1, y * 17.0 / side + 71.9)
            + 4.0 / side * self.lattice.smooth(x / 11.0 + 7.7, y / 11.0 + 5.3);
        let border = x.min(y).min(self.columns - x).min(self.rows - y);
        let outside = if self.margin > 0.0 { 4.0 * (1.0 - border / self.margin).max(0.0) } else { 0.0 };
        nearest + rough - outside
    }

    fn tissue_at(&self, x: f32, y: f32) -> f32 {
        // Depth falls by about 1 over half a side.
        let pixels = (self.depth(x, y) - self.threshold) * 0.5 * self.columns.min(self.rows);
        (pixels / EDGE + 0.5).clamp(0.0, 1.0)
    }

    #[inline]
    fn shift(&self, x: f32, y: f32) -> [f32; 2] {
        let (u, v) = (x / WARP_WAVELENGTH, y / WARP_WAVELENGTH);
        [WARP * self.lattice.smooth(u + 13.1, v + 91.3), WARP * self.lattice.smooth(u + 57.9, v + 23.7)]
    }

    #[inline]
    fn warped(&self, x: f32, y: f32) -> [f32; 2] {
        let [dx, dy] = self.shift(x, y);
        [x + dx, y + dy]
    }

    /// The place whose warp is (x, y), by fixed-point iteration: the warp is gentle, three steps leave less than a pixel.
    fn unwarped(&self, x: f32, y: f32) -> [f32; 2] {
        let mut place = [x, y];
        for _ in 0..3 {
            let [dx, dy] = self.shift(place[0], place[1]);
            place = [x - dx, y - dy];
        }
        place
    }

    fn gland(&self, column: i64, row: i64) -> Option<Gland> {
        let rng = &mut chance::at(self.seed, Purpose::Gland, column, row);
        if rng.random::<f64>() >= self.section.gland_share {
            return None;
        }
        let mut offset = || rng.random_range(-GLAND_OFFSET..GLAND_OFFSET);
        let (x, y) = (offset(), offset());
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        Some(Gland {
            x: (column as f32 + 0.5) * GLAND_PITCH + x,
            y: (row as f32 + 0.5) * GLAND_PITCH + y,
            radius: rng.random_range(GLAND_RADIUS),
            aspect: rng.random_range(0.65..1.0),
            axis: [libm::cosf(angle), libm::sinf(angle)],
        })
    }

    /// The glands that a region may touch.
    pub(crate) fn glands(&self, region: Region) -> Glands {
        let reach = NUCLEUS_REACH + 4.0 * WARP;
        let square = |at: f32| (at / GLAND_PITCH).floor() as i64;
        let first = [square(region.left as f32 - reach), square(region.top as f32 - reach)];
        let last = [
            square(region.left as f32 + region.columns as f32 + reach),
            square(region.top as f32 + region.rows as f32 + reach),
        ];
        let squares = (first[1]..=last[1])
            .flat_map(|row| (first[0]..=last[0]).map(move |column| (column, row)))
            .map(|(column, row)| self.gland(column, row))
            .collect();
        Glands { first, across: (last[0] - first[0] + 1) as usize, squares }
    }

    /// What a place is made of; none for glass beside the tissue.
    #[inline]
    pub(crate) fn matter(&self, glands: &Glands, x: f32, y: f32) -> Option<Matter> {
        let mut tissue = self.tissue_at(x, y);
        if tissue == 0.0 {
            return None;
        }
        let [wx, wy] = self.warped(x, y);
        let mut epithelium = 0.0;
        if let Some(gland) = glands.at(wx, wy) {
            let radius = gland.radius_at(wx, wy);
            let pixels = |from: f32| ((radius - from) * gland.radius / EDGE + 0.5).clamp(0.0, 1.0);
            tissue *= pixels(LUMEN);
            epithelium = 1.0 - pixels(1.0);
        }
        let [cos, sin] = self.fibres;
        Some(Matter { tissue, epithelium, fibre: [cos * wx + sin * wy, cos * wy - sin * wx] })
    }

    /// Every nucleus that reaches into a region, in an order that does not depend on the region.
    pub(crate) fn nuclei(&self, glands: &Glands, region: Region) -> Vec<Nucleus> {
        let mut nuclei = Vec::new();
        let near = region.grown(NUCLEUS_REACH as usize);
        for gland in glands.squares.iter().flatten() {
            self.ring(gland, near, &mut nuclei);
        }
        let square = |at: i32| (at as f32 / STROMA_PITCH).floor() as i64;
        let (right, bottom) = (near.left + near.columns as i32, near.top + near.rows as i32);
        for row in square(near.top)..=square(bottom) {
            for column in square(near.left)..=square(right) {
                nuclei.extend(self.stromal(glands, column, row).filter(|n| near.contains(n.x, n.y)));
            }
        }
        nuclei
    }

    /// Centres inside the region itself, the ones to count.
    pub(crate) fn count(nuclei: &[Nucleus], region: Region) -> usize {
        nuclei.iter().filter(|nucleus| region.contains(nucleus.x, nucleus.y)).count()
    }

    fn ring(&self, gland: &Gland, near: Region, nuclei: &mut Vec<Nucleus>) {
        let [x, y] = self.unwarped(gland.x, gland.y);
        let reach = gland.radius as usize + 4 * WARP as usize;
        if !near.grown(reach).contains(x, y) {
            return;
        }
        let (column, row) = ((gland.x / GLAND_PITCH).floor() as i64, (gland.y / GLAND_PITCH).floor() as i64);
        let rng = &mut chance::at(self.seed ^ 0x5ca1_ab1e, Purpose::Gland, column, row);
        let length = std::f32::consts::PI * gland.radius * RING * (1.0 + gland.aspect);
        let count = (length / RING_SPACING).floor().max(1.0);
        for place in 0..count as usize {
            let turn = (place as f32 + rng.random_range(-0.25..0.25)) / count * std::f32::consts::TAU;
            let radius = gland.radius * (RING + rng.random_range(-0.04..0.04));
            let (long, short) = (rng.random_range(8.0..10.5), rng.random_range(5.0..6.8));
            let hematoxylin = rng.random_range(1.3..1.5);
            let (along, across) = (radius * libm::cosf(turn), radius * gland.aspect * libm::sinf(turn));
            let [cos, sin] = gland.axis;
            let out = [cos * along - sin * across, sin * along + cos * across];
            let [x, y] = self.unwarped(gland.x + out[0], gland.y + out[1]);
            let length = (out[0] * out[0] + out[1] * out[1]).sqrt().max(1.0);
            let axis = [out[0] / length, out[1] / length];
            if near.contains(x, y) && self.tissue_at(x, y) == 1.0 {
                nuclei.push(Nucleus { x, y, long, short, axis, hematoxylin });
            }
        }
    }

    fn stromal(&self, glands: &Glands, column: i64, row: i64) -> impl Iterator<Item = Nucleus> + use<> {
        let rng = &mut chance::at(self.seed, Purpose::Stroma, column, row);
        let x = (column as f32 + rng.random_range(0.2..0.8)) * STROMA_PITCH;
        let y = (row as f32 + rng.random_range(0.2..0.8)) * STROMA_PITCH;
        let crowding = f64::from(libm::expf(0.6 * self.crowding.at(&self.lattice, x, y)));
        let spindle = rng.random::<f32>() < 0.6;
        let turn: f32 = rng.random_range(-0.3..0.3);
        let hematoxylin = rng.random_range(1.3..1.5);
        let size: f32 = rng.random_range(0.85..1.15);
        let there = rng.random::<f64>() < self.section.cellularity * crowding && self.tissue_at(x, y) == 1.0;
        let [wx, wy] = self.warped(x, y);
        let free = glands.at(wx, wy).is_none_or(|gland| gland.radius_at(wx, wy) > CLEAR);
        // About 4 µm in radius: fibroblasts along the fibres, lymphocytes round.
        let (long, short) = if spindle { (11.5 * size, 4.2) } else { (7.2 * size, 6.6 * size) };
        let [cos, sin] = self.fibres;
        let axis = [
            cos * libm::cosf(turn) - sin * libm::sinf(turn),
            sin * libm::cosf(turn) + cos * libm::sinf(turn),
        ];
        (there && free).then_some(Nucleus { x, y, long, short, axis, hematoxylin }).into_iter()
    }
}
