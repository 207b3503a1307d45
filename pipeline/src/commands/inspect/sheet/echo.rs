//! One loop: what of it is visible, its area curve, its keyframes with the ventricle's outline.

use keyframes::{Trace, Traced, trace};
use maud::{Markup, html};
use schemas::{Clip, FrameNumber, GatedInstance, Geometry, Keyframe};
use stage::{ClipHeader, Ctx, FrameError};

use super::{Sheet, curve, picture, picture::Part, words};
use crate::{exit::Failure, word::word};

/// A keyframe as the service stores it, with what else was read off it.
struct Shown<'a> {
    /// `ED-1`: also the name of its files.
    name: String,
    keyframe: &'a Keyframe,
    traced: &'a Traced,
    url: String,
    part: Part,
}

impl Sheet {
    /// The pictures of one loop; those of its keyframes are also written.
    pub(super) fn cine(
        &mut self,
        instance: &GatedInstance,
        clip: Option<&Clip>,
        ctx: &Ctx<'_>,
    ) -> Result<Markup, Failure> {
        let Some(header) = decoded(ctx.frames().header(&instance.blob))? else { return Ok(undecodable()) };
        let clip = clip.filter(|clip| !clip.keyframes.is_empty());
        let traced = match clip {
            Some(_) => trace(instance, ctx.frames(), &self.config)?.ok(),
            None => None,
        };
        let Some((clip, trace)) = clip.zip(traced) else {
            let middle = FrameNumber::from_index(header.frames / 2);
            let Some(frame) = decoded(ctx.frames().frame(&instance.blob, middle))? else {
                return Ok(undecodable());
            };
            let url = picture::part(&frame.image, header.visible)?;
            return Ok(html! { div.pictures { (visible(&header, url.as_deref(), header.visible, middle)) } });
        };
        let shown = self.keyframes(clip, &trace, &header, ctx)?;
        let whole = shown.first().map(|one| (one.url.as_str(), one.part, one.keyframe.frame));
        Ok(html! {
            (curve::figure(&trace, &header, &labels(&shown)))
            (ejection_fraction(&trace))
            div.pictures {
                @for one in &shown { (keyframe(one)) }
                @if let Some((url, part, frame)) = whole { (visible(&header, Some(url), part, frame)) }
            }
        })
    }

    fn keyframes<'a>(
        &mut self,
        clip: &'a Clip,
        trace: &'a Trace,
        header: &ClipHeader,
        ctx: &Ctx<'_>,
    ) -> Result<Vec<Shown<'a>>, Failure> {
        // Beats of a clip may be numbered with gaps: only the clearest are kept.
        let mut beats: Vec<u32> = clip.keyframes.iter().map(|keyframe| keyframe.beat).collect();
        beats.sort_unstable();
        beats.dedup();
        let mut shown = Vec::new();
        for (keyframe, traced) in clip.keyframes.iter().zip(&trace.keyframes) {
            let beat = beats.iter().take_while(|beat| **beat < keyframe.beat).count();
            let name = format!("{}-{}", word(keyframe.kind), self.beats + beat + 1);
            let png = ctx.blobs().get(&keyframe.image)?;
            let part = keyframe.bbox.unwrap_or([0, 0, header.columns, header.rows]);
            self.write("frames", &format!("{name}.png"), &png)?;
            if !traced.outline.is_empty() {
                self.write("masks", &format!("{name}.png"), &picture::mask(&traced.outline, part)?)?;
            }
            shown.push(Shown { name, keyframe, traced, url: picture::stored(&png)?, part });
        }
        self.beats += beats.len();
        Ok(shown)
    }
}

/// What was decoded; nothing where it cannot be, which a check of the gate explains.
pub(super) fn decoded<T>(answer: Result<T, FrameError>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(FrameError::Damaged { .. } | FrameError::NotAnalysable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn undecodable() -> Markup {
    html! { p.note { "No picture can be shown: it does not decode. 图像无法解码，不能显示。" } }
}

/// The keyframes' names at their place on the curve's axis.
fn labels<'a>(shown: &'a [Shown<'_>]) -> Vec<curve::Label<'a>> {
    let label = |one: &'a Shown<'_>| curve::Label {
        name: &one.name,
        kind: one.keyframe.kind,
        frame: one.keyframe.frame,
        time_ms: one.keyframe.time_ms,
    };
    shown.iter().map(label).collect()
}

fn ejection_fraction(trace: &Trace) -> Markup {
    let [measured, dropped] = trace.beats_measured;
    html! {
        p.geometry {
            @match &trace.geometry {
                Some(Geometry { ef_percent, method, flags }) => {
                    "Geometric EF 几何射血分数 " strong { (format!("{ef_percent:.1} %")) } " · " (method)
                    @for flag in flags { " " span.badge.fair { (flag) } }
                }
                None => { "Geometric EF 几何射血分数: " strong { "not measured 未测量" } }
            }
            " · " (measured) " beats measured 测量心搏, " (dropped) " dropped by rule 剔除"
            br;
            small { "From the outlines alone, independent of the model; a ratio, no volumes are given. 仅由轮廓得出，独立于模型；只给比值，不给容积。" }
        }
    }
}

fn keyframe(shown: &Shown<'_>) -> Markup {
    let Shown { name, keyframe, traced, url, part: [left, top, width, height] } = shown;
    html! {
        figure {
            svg viewBox={ (left) " " (top) " " (width) " " (height) } role="img" aria-label={ (name) " with the outline of the left ventricle" } {
                image href=(url) x=(left) y=(top) width=(width) height=(height) {}
                @if !traced.outline.is_empty() { polygon.outline points=(points(&traced.outline)) {} }
            }
            figcaption {
                b { (name) } " " (words::kind(keyframe.kind)) br;
                "beat " (keyframe.beat) " · frame " (keyframe.frame.0)
                @if let Some(ms) = keyframe.time_ms { " · " (format!("{ms:.0} ms")) }
                " · confidence 置信度 " (format!("{:.2}", keyframe.confidence)) br;
                (words::source(keyframe.source))
                @if let Some(ef) = traced.ef_percent { " · EF of this beat 本搏 " (format!("{ef:.1} %")) }
                @if traced.outline.is_empty() { " · no outline 未辨认出轮廓" }
            }
        }
    }
}

/// The whole picture as it was sent, with what never leaves the decoder hatched.
fn visible(
    header: &ClipHeader,
    url: Option<&str>,
    [left, top, width, height]: Part,
    frame: FrameNumber,
) -> Markup {
    let ClipHeader { columns, rows, .. } = header;
    html! {
        figure {
            svg viewBox={ "0 0 " (columns) " " (rows) } role="img" aria-label="the part of the picture that is visible" {
                rect.hidden width=(columns) height=(rows) {}
                @if let Some(url) = url { image href=(url) x=(left) y=(top) width=(width) height=(height) preserveAspectRatio="none" {} }
                rect.visible x=(left) y=(top) width=(width) height=(height) {}
            }
            figcaption {
                b { "Mask" } " 掩膜 · frame " (frame.0) " of " (columns) " × " (rows) br;
                "visible 可见 " (width) " × " (height) " at " (left) ", " (top) " · by " (word(header.mask)) br;
                "Grey and black: blacked out before a frame leaves the decoder. 灰色及黑色部分在解码时即被遮盖。"
                @if let Some([across, down]) = header.mm_per_pixel { br; (words::number(across)) " × " (words::number(down)) " mm/px" }
                @if let Some(rate) = header.heart_rate { br; "heart rate in the header 头文件心率 " (words::number(rate)) " /min" }
            }
        }
    }
}

fn points(outline: &[[f64; 2]]) -> String {
    let corners: Vec<String> = outline.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    corners.join(" ")
}
