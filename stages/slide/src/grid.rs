//! Places for tiles: 512 pixels a side at 20x, whatever the slide's own tiles and resolution.

use raster::Window;
use stage::{FrameError, Frames, Image};

use crate::{
    appearance::reduced,
    overview::Overview,
    pyramid::{Level, Pyramid},
    tissue::Tissue,
};

/// Side of a tile in pixels.
const SIDE: u32 = 512;
/// Micrometres per pixel of a 20x objective, at which thresholds of focus were measured.
const WANTED: f64 = 0.5;
/// A level within this factor of it is taken as it is.
const NEAR: f64 = 1.1;

/// Where tiles of one slide may lie, and how they are read.
#[derive(Debug, Clone)]
pub struct Grid<'a> {
    pyramid: &'a Pyramid,
    level: &'a Level,
    /// Pixels of the level under one tile, across and down.
    source: [u32; 2],
    /// Pixels of a tile.
    size: [u32; 2],
}

/// A place for a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Left, top, width, height in pixels of the slide's finest level.
    pub bbox: [u32; 4],
    /// Share of the place that is tissue, by the overview.
    pub tissue: f64,
    /// The piece of tissue that most of it belongs to, counted from 1.
    pub piece: u32,
}

impl<'a> Grid<'a> {
    /// For a field of view the whole picture, else tiles of 512 pixels; both at 0.5 µm/px where the slide is that fine,
    /// and as they are where it is coarser or does not say.
    pub fn new(pyramid: &'a Pyramid) -> Self {
        let mean = |level: &Level| {
            pyramid.microns_per_pixel(level).map(|[across, down]| f64::midpoint(across, down))
        };
        let fits = |level: &&Level| mean(level).is_some_and(|microns| microns <= WANTED * NEAR);
        let level = pyramid.levels().rev().find(fits).unwrap_or(pyramid.finest());
        let scale = pyramid.microns_per_pixel(level).map_or([1.0; 2], |microns| {
            microns.map(|microns| if microns * NEAR < WANTED { WANTED / microns } else { 1.0 })
        });
        let extent = [level.grid.columns, level.grid.rows];
        let (source, size) = if pyramid.is_field() {
            let size = [0, 1].map(|k| ((f64::from(extent[k]) / scale[k]).round() as u32).max(1));
            (extent, size)
        } else {
            let source =
                [0, 1].map(|k| ((f64::from(SIDE) * scale[k]).round() as u32).clamp(1, extent[k].max(1)));
            (source, [SIDE; 2])
        };
        Self { pyramid, level, source, size }
    }

    /// Places half a tile apart with at least `least` tissue by the overview, in reading order. Where no place has so
    /// much, all that have any.
    pub fn places(&self, overview: &Overview, tissue: &Tissue, least: f64) -> Vec<Place> {
        let extent = [self.level.grid.columns, self.level.grid.rows];
        let starts = |axis: usize| {
            let (length, side) = (extent[axis], self.source[axis]);
            let last = length - side;
            let half = (side / 2).max(1);
            (0..last.div_ceil(half)).map(move |index| index * half).chain([last]).collect::<Vec<u32>>()
        };
        let (lefts, tops) = (starts(0), starts(1));
        let all = tops.iter().flat_map(|top| lefts.iter().map(move |left| [*left, *top]));
        let mut places: Vec<Place> = all.filter_map(|corner| self.place(corner, overview, tissue)).collect();
        if places.iter().any(|place| place.tissue >= least) {
            places.retain(|place| place.tissue >= least);
        }
        places
    }

    fn place(&self, corner: [u32; 2], overview: &Overview, tissue: &Tissue) -> Option<Place> {
        let down = self.pyramid.downsample(self.level);
        let bbox = [
            (f64::from(corner[0]) * down[0]).round() as u32,
            (f64::from(corner[1]) * down[1]).round() as u32,
            (f64::from(self.source[0]) * down[0]).round() as u32,
            (f64::from(self.source[1]) * down[1]).round() as u32,
        ];
        let [xs, ys] = overview.cells(bbox);
        let total = xs.len() * ys.len();
        let mut within: Vec<(u32, usize)> = Vec::new();
        for y in ys {
            let row = tissue.pieces.get(y * tissue.mask.width()..)?;
            for piece in row.get(xs.clone())?.iter().filter(|piece| **piece != 0) {
                match within.iter_mut().find(|(known, _)| known == piece) {
                    Some((_, count)) => *count += 1,
                    None => within.push((*piece, 1)),
                }
            }
        }
        let inside: usize = within.iter().map(|(_, count)| count).sum();
        let (piece, _) = within.into_iter().rev().max_by_key(|(_, count)| *count)?;
        Some(Place { bbox, tissue: inside as f64 / total.max(1) as f64, piece })
    }

    /// The tile at `bbox` (pixels of the finest level), at most 512 pixels a side where the slide is tiled.
    pub fn read(&self, frames: &dyn Frames, bbox: [u32; 4]) -> Result<Image, FrameError> {
        let down = self.pyramid.downsample(self.level);
        let window = Window {
            left: (f64::from(bbox[0]) / down[0]).round() as usize,
            top: (f64::from(bbox[1]) / down[1]).round() as usize,
            width: self.source[0] as usize,
            height: self.source[1] as usize,
        };
        let region = self.level.region(frames, window)?;
        Ok(reduced(&region, self.size[0], self.size[1]))
    }
}
