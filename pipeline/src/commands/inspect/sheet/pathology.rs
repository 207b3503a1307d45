//! One slide or field of view: where its tiles lie, and each of them as scanned and normalised.

use maud::{Markup, html};
use schemas::{Clip, GatedInstance, Keyframe, KeyframeSource};
use slide::{Overview, Part, Pyramid, pyramids};
use stage::Ctx;

use super::{
    Sheet,
    echo::{decoded, undecodable},
    picture, words,
};
use crate::exit::Failure;

/// The slides of a study, each with its finest instance.
#[derive(Default)]
pub(super) struct Slides<'a>(Vec<(&'a GatedInstance, Pyramid)>);

impl<'a> Slides<'a> {
    /// Puts the levels together that several instances may hold.
    pub(super) fn of(instances: &'a [GatedInstance], ctx: &Ctx<'_>) -> Result<Self, Failure> {
        let mut opened = Vec::new();
        for instance in instances {
            if let Some(header) = decoded(ctx.frames().slide(&instance.blob))? {
                opened.push((instance, header));
            }
        }
        let parts: Vec<Part<'_>> = opened
            .iter()
            .map(|(one, header)| Part { series_uid: &one.series_uid, blob: &one.blob, header })
            .collect();
        let slides = pyramids(&parts).into_iter();
        Ok(Self(slides.filter_map(|(index, slide)| Some((opened.get(index)?.0, slide))).collect()))
    }

    fn get(&self, instance: &GatedInstance) -> Option<&Pyramid> {
        let same = |one: &GatedInstance| one.instance_uid == instance.instance_uid;
        self.0.iter().find(|(one, _)| same(one)).map(|(_, slide)| slide)
    }
}

/// A tile, also as it is shown.
struct Shown<'a> {
    /// Also the name of its files.
    number: usize,
    tile: &'a Keyframe,
    scanned: String,
    normalised: Option<String>,
}

impl Sheet {
    /// The pictures of one slide; its tiles are also written.
    pub(super) fn slide(
        &mut self,
        instance: &GatedInstance,
        clip: Option<&Clip>,
        slides: &Slides<'_>,
        ctx: &Ctx<'_>,
    ) -> Result<Markup, Failure> {
        let Some(slide) = slides.get(instance) else { return Ok(undecodable()) };
        let mut shown = Vec::new();
        for tile in clip.iter().flat_map(|clip| &clip.keyframes) {
            shown.push(self.tile(tile, ctx)?);
        }
        let read = Overview::read(slide, ctx.frames(), self.config.pathology.overview_tiles);
        let Some(overview) = decoded(read)? else { return Ok(undecodable()) };
        let whole = [0, 0, overview.image.width, overview.image.height];
        let url = picture::part(&overview.image, whole)?;
        Ok(html! {
            @if let Some(url) = &url { (thumbnail(slide, url, &shown)) }
            @if !shown.is_empty() { div.tiles { @for one in &shown { (pair(one)) } } }
        })
    }

    fn tile<'a>(&mut self, tile: &'a Keyframe, ctx: &Ctx<'_>) -> Result<Shown<'a>, Failure> {
        self.tiles += 1;
        let number = self.tiles;
        let png = ctx.blobs().get(&tile.image)?;
        self.write("tiles", &format!("{number}.png"), &png)?;
        let normalised = match &tile.normalised {
            Some(blob) => {
                let png = ctx.blobs().get(blob)?;
                self.write("tiles", &format!("{number}.normalised.png"), &png)?;
                Some(picture::stored(&png)?)
            }
            None => None,
        };
        Ok(Shown { number, tile, scanned: picture::stored(&png)?, normalised })
    }
}

/// The whole slide with the places of its tiles.
fn thumbnail(slide: &Pyramid, url: &str, tiles: &[Shown<'_>]) -> Markup {
    let grid = &slide.finest().grid;
    let (columns, rows) = (grid.columns, grid.rows);
    // The drawing counts in pixels of the slide, which may be many.
    let letters = f64::from(columns.max(rows)) / 30.0;
    html! {
        figure.overview {
            svg viewBox={ "0 0 " (columns) " " (rows) } role="img" aria-label="the slide with the places of the tiles" {
                image href=(url) width=(columns) height=(rows) preserveAspectRatio="none" {}
                @for Shown { number, tile, .. } in tiles {
                    @if let Some([left, top, width, height]) = tile.bbox {
                        rect.place x=(left) y=(top) width=(width) height=(height) {}
                        text.place x=(f64::from(left) + 0.3 * letters) y=(f64::from(top) + 1.1 * letters) font-size=(letters) { (number) }
                    }
                }
            }
            figcaption {
                (columns) " × " (rows) " px"
                @if let Some([across, down]) = grid.microns_per_pixel { " · " (words::number(across)) " × " (words::number(down)) " µm/px" }
                " · " (slide.levels().count()) " levels 层级 · raw tiles 原始图块 " (grid.tile_columns) " × " (grid.tile_rows)
                @if slide.is_field() { br; "A field of view: one tile, whole. 单视野：整图为一个图块。" }
            }
        }
    }
}

fn pair(shown: &Shown<'_>) -> Markup {
    let Shown { number, tile, scanned, normalised } = shown;
    html! {
        figure.pair {
            div {
                img src=(scanned) alt={ "tile " (number) " as scanned" };
                @if let Some(normalised) = normalised { img src=(normalised) alt={ "tile " (number) " normalised" }; }
            }
            figcaption {
                b { (number) } " as scanned 原图 | normalised 归一化"
                @if normalised.is_none() { " –" }
                br;
                @if tile.source == KeyframeSource::TileScore { "score 评分 " } @else { (words::source(tile.source)) " · score 评分 " }
                (format!("{:.3}", tile.confidence))
                @if let Some([left, top, width, height]) = tile.bbox { " · " (width) " × " (height) " px at " (left) ", " (top) }
            }
        }
    }
}
