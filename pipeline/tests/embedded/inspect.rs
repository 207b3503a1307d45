//! `inspect --out`: the sheet, and the pictures beside it.

use std::{collections::BTreeSet, fs, path::Path};

use image::GenericImageView as _;
use serde_json::Value;

use crate::harness::{
    process::{Place, stderr, stdout},
    studies::{make, make_spoilt, small},
};

/// Runs `inspect` and gives its exit code, what it said of the one study, and the page.
fn inspect(place: &Place, path: &Path, out: &Path, more: &[&str]) -> (i32, Value, String) {
    let (path, folder) = (path.to_str().unwrap(), out.to_str().unwrap());
    let output = place.cli(&[&["inspect", path, "--json", "--out", folder], more].concat());
    let json: Value =
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    // Nothing is loaded from anywhere, and nobody is named.
    for foreign in ["src=\"http", "href=\"http", "<script", "src=\"/", "PHANTOM^ECHO", "PH-0000", "/sent/"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for promised in ["For reference only", "仅供参考", "</html>"] {
        assert!(page.contains(promised), "{promised}");
    }
    for check in json["checks"].as_array().unwrap() {
        assert!(page.contains(check["name"].as_str().unwrap()), "{check}");
    }
    (output.status.code().unwrap(), json, page)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn size(file: &Path) -> (u32, u32) {
    image::open(file).unwrap().dimensions()
}

#[test]
fn a_loops_sheet_has_its_checks_its_curve_its_keyframes_and_their_masks() {
    let place = Place::new("desk");
    let out = place.folder("sheet");
    let study = make(&small(60), &place.folder("sent"));
    let one = study.files.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let (code, json, page) = inspect(&place, one, &out, &[]);
    assert_eq!(code, 0, "{json}");
    assert!(page.contains(&study.uid) && page.contains("PHANTOM"), "{page}");

    // One loop: its beats in order are ED-1, ES-1, ED-2 …
    let keyframes = json["keyframes"].as_array().unwrap();
    let mut named: Vec<String> = Vec::new();
    for keyframe in keyframes {
        let kind = keyframe["kind"].as_str().unwrap();
        let before = named.iter().filter(|name| name.starts_with(kind)).count();
        named.push(format!("{kind}-{}.png", before + 1));
    }
    assert!(named.contains(&"ED-1.png".to_owned()) && named.contains(&"ES-1.png".to_owned()), "{named:?}");
    assert_eq!(names(&out.join("frames")), named.iter().cloned().collect());
    for (keyframe, name) in keyframes.iter().zip(&named) {
        let [width, height] = [2, 3].map(|k| keyframe["bbox"][k].as_u64().unwrap() as u32);
        assert_eq!(size(&out.join("frames").join(name)), (width, height), "{keyframe}");
        assert!(page.contains(name.trim_end_matches(".png")), "{name}");
    }

    // The ventricle is smaller at end-systole.
    let inside = |name: &str| {
        let mask = out.join("masks").join(name);
        assert_eq!(size(&mask), size(&out.join("frames").join(name)));
        image::open(mask).unwrap().into_luma8().pixels().filter(|pixel| pixel[0] == 255).count()
    };
    let (diastole, systole) = (inside("ED-1.png"), inside("ES-1.png"));
    assert!(systole > 500 && diastole > systole, "{diastole} and {systole} pixels");
    assert_eq!(page.matches("<polygon class=\"outline\"").count(), named.len());
    assert!(page.contains("<polyline class=\"line\""), "the curve");
    let ef = json["geometry"][0]["ef_percent"].as_f64().unwrap();
    assert!(page.contains(&format!("{ef:.1} %")), "{ef}");
}

#[test]
fn a_rejected_study_has_a_sheet_that_says_why_and_no_pictures_of_an_earlier_one() {
    let place = Place::new("desk");
    let out = place.folder("sheet");
    for folder in ["frames", "masks", "tiles"] {
        fs::create_dir_all(out.join(folder)).unwrap();
    }
    for earlier in ["frames/ED-1.png", "masks/ES-12.png", "tiles/3.png", "tiles/3.normalised.png"] {
        fs::write(out.join(earlier), b"earlier").unwrap();
    }
    fs::write(out.join("frames/mine.png"), b"not of a sheet").unwrap();

    let study = make_spoilt(61, "blur:5", &place.folder("sent"));
    let (code, json, page) = inspect(&place, study.files[0].parent().unwrap(), &out, &[]);
    assert_eq!((code, json["verdict"].as_str()), (1, Some("reject")));
    let advice = json["checks"].as_array().unwrap().iter().find(|check| check["code"] == "BLUR").unwrap();
    for text in ["BLUR", "不合格", advice["advice"]["zh"].as_str().unwrap()] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("data:image/jpeg;base64,"), "the loop is shown all the same");
    assert_eq!(names(&out.join("frames")), BTreeSet::from(["mine.png".to_owned()]));
    assert!(names(&out.join("masks")).is_empty() && names(&out.join("tiles")).is_empty());
}

#[test]
fn a_field_of_view_is_one_tile() {
    let place = Place::new("desk");
    let (fields, out) = (place.folder("fields"), place.folder("sheet"));
    let made = place.cli(&["phantom", "pathology", "--format", "png", "--out", fields.to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    let mut pictures = walkdir::WalkDir::new(&fields).into_iter().map(|entry| entry.unwrap().into_path());
    let field = pictures.find(|path| path.extension().is_some_and(|end| end == "png")).unwrap();
    let (code, json, page) = inspect(&place, &field, &out, &["--synthetic"]);
    assert_eq!(
        (code, json["domain"].as_str(), json["synthetic"].as_bool()),
        (0, Some("pathology"), Some(true))
    );
    let (width, height) = size(&field);
    let tiles = json["keyframes"].as_array().unwrap();
    assert_eq!(tiles.len(), 1);
    assert_eq!(
        (&tiles[0]["kind"], &tiles[0]["bbox"]),
        (&"tile".into(), &serde_json::json!([0, 0, width, height]))
    );
    assert_eq!(names(&out.join("tiles")), BTreeSet::from(["1.png", "1.normalised.png"].map(str::to_owned)));
    assert_eq!(
        image::open(out.join("tiles/1.png")).unwrap().into_rgb8(),
        image::open(&field).unwrap().into_rgb8()
    );
    assert_eq!(size(&out.join("tiles/1.normalised.png")), (width, height));
    assert!(page.contains("PHANTOM"), "it says that it is synthetic");
    assert_eq!(page.matches("<rect class=\"place\"").count(), 1);
}

#[test]
fn a_slides_sheet_shows_where_each_tile_lies() {
    let place = Place::new("desk");
    let (slides, out) = (place.folder("slides"), place.folder("sheet"));
    let made = place.cli(&["phantom", "pathology", "--slide", "--out", slides.to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    fs::remove_file(slides.join("truth.json")).unwrap();
    let (code, json, page) = inspect(&place, &slides, &out, &[]);
    assert_eq!(code, 0, "{json}");
    let tiles = json["keyframes"].as_array().unwrap();
    assert!(tiles.len() > 1, "{tiles:?}");
    let files = (1..=tiles.len()).flat_map(|n| [format!("{n}.png"), format!("{n}.normalised.png")]);
    assert_eq!(names(&out.join("tiles")), files.collect());
    assert_eq!(page.matches("<rect class=\"place\"").count(), tiles.len());
    for tile in tiles {
        let [left, top, width, height] = [0, 1, 2, 3].map(|k| tile["bbox"][k].as_u64().unwrap());
        let place = format!("x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"");
        assert!(page.contains(&place), "{place}");
    }
}
