//! What a picture looks like, for the oracle: `look IN.png` prints one JSON line.

#![expect(clippy::print_stdout, reason = "the line is the answer")]

use std::{env, error::Error};

use raster::{Mask, Plane, Window, laplacian_variance};
use serde_json::json;
use slide::Appearance;
use stage::Image;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("look IN.png")?;
    let picture = image::open(path)?.into_rgb8();
    let image = Image { width: picture.width(), height: picture.height(), rgb: picture.into_raw().into() };
    let whole = Window { left: 0, top: 0, width: image.width as usize, height: image.height as usize };
    let luma = Plane::luma(&image, whole);
    let everywhere = Mask::of(&luma, |_| true);
    let look = Appearance::of(&image);
    println!(
        "{}",
        json!({
            "laplacian_variance": laplacian_variance(&luma, &everywhere),
            "on_tissue": {
                "share": look.tissue, "laplacian_variance": look.laplacian_variance, "reblur": look.reblur,
                "density": look.density,
            },
            "pen": look.pen, "black_pen": look.black_pen, "fold": look.fold, "density_99": look.density_99,
        })
    );
    Ok(())
}
