//! The chambers of clips, as numbers and pictures: some lines for each clip, a PPM with the outlines if a folder is
//! named. A clip is a file of binary PGM pictures one after the other (Netpbm), each a frame with nothing but the fan
//! lit.
//!
//! ```sh
//! cargo run -p chambers --example pools -- [--out DIR] FILE.pgm...
//! ```

use std::{error::Error, io::Write as _, path::PathBuf};

use chambers::{Blood, Chambers, HEIGHT, segment_clip, segment_from};
use raster::{Mask, Plane, fan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments.iter().position(|argument| argument == "--out").map(|at| {
        let pair: Vec<String> = arguments.drain(at..(at + 2).min(arguments.len())).collect();
        PathBuf::from(pair.last().map_or("", String::as_str))
    });
    for path in &arguments {
        let planes = planes(path)?;
        let mut brightest = planes.first().ok_or("no frames")?.clone();
        for plane in &planes {
            brightest.raise_to(plane);
        }
        let found = fan(&brightest);
        let mut line = std::io::stdout().lock();
        let Some(blood) = Blood::of(&planes, &found) else {
            writeln!(line, "{path}: one grey level")?;
            continue;
        };
        let blobs = segment_clip(&planes, &found, &blood);
        let chambers = Chambers::of(&blobs, &found);
        let share = |blob: &chambers::Blob| 100.0 * blob.area as f64 / found.area() as f64;
        writeln!(
            line,
            "{path} threshold {:.0} four {} two {} tilt {:.0} annulus {:.2} ratio {:.2}",
            blood.threshold(),
            chambers.are_four(),
            chambers.are_two(),
            chambers.tilt_deg().unwrap_or(f64::NAN),
            chambers.annulus().unwrap_or(f64::NAN),
            chambers.ventricle_ratio().unwrap_or(f64::NAN),
        )?;
        let named = [
            ("LV", &chambers.left_ventricle),
            ("RV", &chambers.right_ventricle),
            ("LA", &chambers.left_atrium),
            ("RA", &chambers.right_atrium),
        ];
        for blob in &blobs {
            let role =
                named.iter().find(|(_, other)| other.as_ref() == Some(blob)).map_or("--", |(role, _)| role);
            writeln!(
                line,
                "   {role} {:5.1} % at {:5.1} depth {:.2}, {:.1} x {:.1} px, axis {:+.2}",
                share(blob),
                blob.centroid.x,
                chambers.depth(blob.centroid),
                blob.length,
                blob.width,
                blob.axis.x,
            )?;
        }
        let seeds: Vec<chambers::Blob> = named.iter().filter_map(|(_, blob)| (*blob).clone()).collect();
        let area = |plane| {
            let blobs = segment_from(plane, &found, &blood, &seeds);
            blobs.first().and_then(Option::as_ref).map_or(0, |blob| blob.area)
        };
        let areas: Vec<usize> = planes.iter().map(area).collect();
        writeln!(line, "   left ventricle by frame {areas:?}")?;
        if let Some(folder) = &out {
            let name = path.replace(['/', '.'], "_");
            std::fs::write(folder.join(format!("{name}.ppm")), outlined(&planes, &blobs))?;
        }
    }
    Ok(())
}

fn planes(path: &str) -> Result<Vec<Plane>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.as_slice();
    let mut planes = Vec::new();
    while !rest.is_empty() {
        let mut words = [0_usize; 3];
        let (magic, after) = word(rest).ok_or("no picture")?;
        if magic != "P5" {
            return Err(format!("{path}: {magic:?} is not P5").into());
        }
        rest = after;
        for value in &mut words {
            let (text, after) = word(rest).ok_or("the header ends early")?;
            (*value, rest) = (text.parse()?, after);
        }
        let [width, height, _] = words;
        let (samples, after) = rest.split_at_checked(width * height).ok_or("the picture ends early")?;
        planes.push(Plane::new(width, height, samples.to_vec()).reduced_to_height(HEIGHT));
        rest = after;
    }
    Ok(planes)
}

/// The text before the next white space, and what comes after it.
fn word(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(u8::is_ascii_whitespace)?;
    Some((std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?))
}

/// The middle frame as a PPM, the outlines in yellow.
fn outlined(planes: &[Plane], blobs: &[chambers::Blob]) -> Vec<u8> {
    let contours: Vec<Mask> = blobs.iter().map(chambers::Blob::contour).collect();
    let plane = &planes[planes.len() / 2];
    let mut picture = format!("P6 {} {} 255\n", plane.width(), plane.height()).into_bytes();
    for (index, grey) in plane.samples().iter().enumerate() {
        let edge = contours.iter().any(|contour| contour.inside()[index]);
        picture.extend(if edge { [255, 220, 0] } else { [*grey; 3] });
    }
    picture
}
