//! What a reader of pathology phantoms may rely on, seen through pixels, maps and files.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in its helpers too")]

use std::collections::BTreeMap;
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, Tag, from_reader, open_file};
use phantom::pathology::{
    Batch, Corruption, CorruptionKind, Field, FieldFormat, FieldSpec, Organisation, Output, PathologyError,
    Section, Slide, SlideFormat, SlideSpec, Stain, Truth, write_slides, write_studies,
};
use uuid::Uuid;

fn drawn(seed: u64, corruption: &str) -> Field {
    Field::draw(&FieldSpec { corruption: Some(corruption.parse().unwrap()), ..FieldSpec::sample(seed) })
        .unwrap()
}

fn sound(seed: u64) -> Field {
    Field::draw(&FieldSpec::sample(seed)).unwrap()
}

/// Mean optical density of a pixel's channels.
fn density(pixel: &[u8]) -> f64 {
    pixel.iter().map(|level| -((f64::from(*level) + 1.0) / 240.0).ln()).sum::<f64>() / 3.0
}

fn mean_density(field: &Field) -> f64 {
    let (sum, count) = (field.rgb.chunks_exact(3).zip(&field.tissue))
        .filter(|(_, tissue)| **tissue)
        .fold((0.0, 0.0), |(sum, count), (pixel, _)| (sum + density(pixel), count + 1.0));
    sum / count
}

/// Population variance of the 4-neighbour Laplacian of green over the inside of the tissue.
fn sharpness(field: &Field) -> f64 {
    let width = field.spec.columns as usize;
    let at = |index: usize| f64::from(field.rgb[3 * index + 1]);
    let values: Vec<f64> = (width + 1..field.tissue.len() - width - 1)
        .filter(|i| [*i, i - 1, i + 1, i - width, i + width].iter().all(|i| field.tissue[*i]))
        .map(|i| at(i - 1) + at(i + 1) + at(i - width) + at(i + width) - 4.0 * at(i))
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
}

#[test]
fn the_same_specification_gives_the_same_pixels_and_another_seed_others() {
    assert!(sound(7).rgb == sound(7).rgb);
    assert!(sound(7).rgb != sound(8).rgb);
}

/// The digests were taken on x86-64 Linux. When the drawing changes on purpose, change them and `GENERATOR` together.
#[test]
fn pictures_are_the_same_on_every_machine() {
    let field = Field::draw(&FieldSpec { columns: 192, rows: 160, ..FieldSpec::sample(7) }).unwrap();
    let formats = [FieldFormat::Png, FieldFormat::Jpeg, FieldFormat::Tiff];
    let digests =
        formats.map(|format| Uuid::new_v5(&Uuid::NAMESPACE_OID, &field.encode(format).unwrap()).to_string());
    assert_eq!(
        digests,
        [
            "da1543ad-3a7f-5240-9e78-83aec985ef39",
            "c80fbd1d-8486-539f-8ba7-4b1dee18a709",
            "34743168-98ab-57ea-a8a0-723475c985f9",
        ]
    );
}

#[test]
fn light_follows_beer_and_lambert_with_the_matrix_of_the_truth() {
    for stain in [Stain::Ruifrok, Stain::Macenko, Stain::Laboratory] {
        let mut spec = FieldSpec::sample(3);
        spec.section.stain = stain;
        let field = Field::draw(&spec).unwrap();
        let (h, e) = (field.stain_matrix.hematoxylin, field.stain_matrix.eosin);
        for dye in [h, e] {
            assert!((dye.iter().map(|c| c * c).sum::<f64>() - 1.0).abs() < 1e-12, "{stain:?}: unit vectors");
        }
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for (index, pixel) in field.rgb.chunks_exact(3).enumerate() {
            if !field.tissue[index] {
                continue;
            }
            let (ch, ce) = (f64::from(field.hematoxylin[index]), f64::from(field.eosin[index]));
            for channel in 0..3 {
                let model = 240.0 * (-(h[channel] * ch + e[channel] * ce)).exp();
                let error = f64::from(pixel[channel]) - model;
                sum += error;
                squares += error * error;
                count += 1.0;
            }
        }
        // Camera noise of one grey level, and rounding.
        let (mean, variance): (f64, f64) = (sum / count, squares / count);
        assert!(mean.abs() < 0.02 && (variance - 1.083).abs() < 0.05, "{stain:?}: {mean} {variance}");
    }
}

#[test]
fn any_share_of_tissue_is_drawn_as_asked_and_from_several_pieces() {
    for share in [0.0, 0.05, 0.10, 0.30, 0.60, 0.90] {
        let spec = FieldSpec {
            section: Section { tissue_share: share, pieces: 3, ..FieldSpec::sample(5).section },
            ..FieldSpec::sample(5)
        };
        let field = Field::draw(&spec).unwrap();
        assert!((field.tissue_fraction() - share).abs() < 0.02, "{share}: {}", field.tissue_fraction());
        if share == 0.30 {
            assert!(pieces(&field.tissue, 512) >= 2, "three pieces of 10 % each hardly all touch");
        }
    }
}

/// Four-connected pieces of at least 500 pixels.
fn pieces(mask: &[bool], width: usize) -> usize {
    let (mut left, mut count) = (mask.to_vec(), 0);
    for start in 0..left.len() {
        let (mut stack, mut size) = (vec![start], 0);
        while let Some(index) = stack.pop() {
            if !std::mem::take(&mut left[index]) {
                continue;
            }
            size += 1;
            let column = index % width;
            stack.extend((column > 0).then(|| index - 1));
            stack.extend((column + 1 < width).then_some(index + 1));
            stack.extend(index.checked_sub(width));
            stack.extend((index + width < left.len()).then_some(index + width));
        }
        count += usize::from(size >= 500);
    }
    count
}

#[test]
fn nuclei_are_as_many_and_as_large_and_as_blue_as_the_truth_says() {
    let field = sound(2);
    assert!(field.nuclei_count > 50, "{}", field.nuclei_count);
    let area = field.nuclei.iter().filter(|inside| **inside).count() as f64;
    // π · 8 px · 8 px is a nucleus of 4 µm radius; overlaps and spindles have less.
    let each = area / field.nuclei_count as f64;
    assert!((110.0..210.0).contains(&each), "{each} px each");
    let mean = |inside: bool| {
        let (sum, count) = (field.hematoxylin.iter().zip(&field.nuclei).zip(&field.tissue))
            .filter(|((_, nucleus), tissue)| **nucleus == inside && **tissue)
            .fold((0.0, 0.0), |(sum, count), ((c, _), _)| (sum + f64::from(*c), count + 1.0));
        sum / count
    };
    assert!((1.0..1.5).contains(&mean(true)) && mean(false) < 0.2, "{} {}", mean(true), mean(false));
}

#[test]
fn blur_takes_detail_away_by_degrees() {
    let values: Vec<f64> = [sharpness(&sound(5))]
        .into_iter()
        .chain(["blur:1", "blur:2", "blur:4"].map(|text| sharpness(&drawn(5, text))))
        .collect();
    assert!(values.is_sorted_by(|a, b| *a > 2.0 * b), "{values:?}");
}

#[test]
fn pale_dark_and_folded_tissue_absorb_as_their_factors_say() {
    let clean = mean_density(&sound(5));
    for (text, factor) in [("pale:0.5", 0.5), ("dark:1.5", 1.5)] {
        let ratio = mean_density(&drawn(5, text)) / clean;
        assert!((ratio / factor - 1.0).abs() < 0.1, "{text}: {ratio}");
    }
    let (clean, folded) = (sound(5), drawn(5, "fold:2.3"));
    let doubled = clean.eosin.iter().zip(&folded.eosin).filter(|(c, f)| **f > 2.2 * **c && **c > 0.0).count();
    assert!((3000..40_000).contains(&doubled), "{doubled} px in the fold");
}

#[test]
fn ink_lies_over_the_tissue_in_its_own_colour() {
    let clean = sound(5);
    for (text, [most, least]) in [("pen_green", [1, 0]), ("pen_blue", [2, 0]), ("pen_red", [0, 1])] {
        let spoilt = drawn(5, text);
        let inked: Vec<&[u8]> = (spoilt.rgb.chunks_exact(3).zip(clean.rgb.chunks_exact(3)))
            .filter(|(a, b)| a != b)
            .map(|(pixel, _)| pixel)
            .collect();
        let share = inked.len() as f64 / clean.tissue.len() as f64;
        assert!((0.03..0.12).contains(&share), "{text}: {share}");
        let coloured = inked.iter().filter(|pixel| pixel[most] > pixel[least]).count();
        assert!(coloured as f64 > 0.9 * inked.len() as f64, "{text}");
    }
    let black = drawn(5, "pen_black");
    let dark = black.rgb.chunks_exact(3).filter(|pixel| pixel.iter().all(|level| *level < 60)).count();
    assert!(dark > 5000, "{dark}");
}

#[test]
fn a_blank_field_has_no_tissue_and_one_dye_leaves_the_other_out() {
    for text in ["blank", "noisy_blank:3"] {
        let field = drawn(5, text);
        assert_eq!((field.tissue_fraction(), field.nuclei_count), (0.0, 0), "{text}");
        assert!(field.rgb.iter().all(|level| *level > 220), "{text}");
    }
    assert!(drawn(5, "hematoxylin_only").eosin.iter().all(|c| *c == 0.0));
    assert!(drawn(5, "eosin_only").hematoxylin.iter().all(|c| *c == 0.0));
}

#[test]
fn the_mark_is_there_and_too_faint_to_be_tissue() {
    let field = drawn(5, "blank");
    let dots = |rows: std::ops::Range<usize>| {
        let place = |row: usize| 3 * row * 512..3 * (row * 512 + 60);
        rows.flat_map(|row| field.rgb[place(row)].chunks_exact(3)).filter(|pixel| pixel[0] == 229).count()
    };
    assert!((90..200).contains(&dots(498..512)), "{} dots of PHANTOM", dots(498..512));
    assert!(dots(0..400) < 5);
    assert!(density(&[229; 3]) < 0.05);
}

fn open(bytes: &[u8]) -> DefaultDicomObject {
    from_reader(bytes).unwrap()
}

fn text(object: &DefaultDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap_or_else(|_| panic!("{tag} is missing")).to_str().unwrap().trim().to_owned()
}

#[test]
fn a_field_in_dicom_is_a_slide_of_one_tile_with_the_exact_pixels() {
    let field = sound(9);
    let object = open(&field.encode(FieldFormat::Dicom).unwrap());
    assert_eq!(text(&object, tags::SOP_CLASS_UID), "1.2.840.10008.5.1.4.1.1.77.1.6");
    assert_eq!(text(&object, tags::MODALITY), "SM");
    assert_eq!(text(&object, Tag(0x0099, 0x0010)), "PRESCREEN PHANTOM");
    assert_eq!(text(&object, Tag(0x0099, 0x1001)), "YES");
    assert_eq!(text(&object, tags::PHOTOMETRIC_INTERPRETATION), "RGB");
    assert!(object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap() == field.rgb.as_slice());

    let lossy = drawn(9, "jpeg:30");
    let object = open(&lossy.encode(FieldFormat::Dicom).unwrap());
    assert_eq!(text(&object, tags::PHOTOMETRIC_INTERPRETATION), "YBR_FULL_422");
    assert_eq!(object.element(tags::PIXEL_DATA).unwrap().value().fragments().unwrap().len(), 1);
}

#[test]
fn picture_files_hold_the_pixels_and_lossless_ones_refuse_the_corruption_jpeg() {
    let field = sound(9);
    for format in [FieldFormat::Png, FieldFormat::Tiff] {
        let picture = image::load_from_memory(&field.encode(format).unwrap()).unwrap().to_rgb8();
        assert!(picture.as_raw() == &field.rgb, "{format:?}");
        let refused = drawn(9, "jpeg").encode(format);
        assert!(matches!(refused, Err(PathologyError::Lossless { .. })), "{format:?}");
    }
    let fine = field.encode(FieldFormat::Jpeg).unwrap();
    let coarse = drawn(9, "jpeg:10").encode(FieldFormat::Jpeg).unwrap();
    assert!(image::load_from_memory(&fine).is_ok() && 2 * coarse.len() < fine.len());
}

#[test]
fn a_value_out_of_range_is_refused_with_its_bounds() {
    let mut spec = FieldSpec::sample(1);
    spec.section.tissue_share = f64::NAN;
    let Err(PathologyError::Spec(error)) = Field::draw(&spec) else { panic!("a share that is no number") };
    assert_eq!((error.field, error.least, error.most), ("section.tissue_share", 0.0, 1.0));
}

fn small_slide() -> SlideSpec {
    SlideSpec { columns: 2300, rows: 1500, ..SlideSpec::sample(4) }
}

#[test]
fn any_region_of_a_slide_drawn_alone_equals_the_same_region_of_the_whole() {
    for corruption in [None, Some("blur:1.5"), Some("pen_blue"), Some("fold")] {
        let corruption = corruption.map(|text: &str| text.parse().unwrap());
        let slide = Slide::new(&SlideSpec { corruption, ..small_slide() }).unwrap();
        let whole = slide.region([700, 300], [600, 400]);
        let part = slide.region([931, 417], [150, 130]);
        for row in 0..130 {
            let start = 3 * ((row + 117) * 600 + 231);
            assert!(
                part[3 * row * 150..3 * (row + 1) * 150] == whole[start..start + 3 * 150],
                "{corruption:?}: row {row}"
            );
        }
    }
}

fn written(folder: &Path, format: SlideFormat) -> Truth {
    write_slides(folder, [small_slide()], format).unwrap().studies.remove(0)
}

fn tile(object: &DefaultDicomObject, frame: usize) -> image::RgbImage {
    let pixels = object.element(tags::PIXEL_DATA).unwrap();
    image::load_from_memory(&pixels.value().fragments().unwrap()[frame]).unwrap().to_rgb8()
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn a_full_slide_lists_every_tile_and_its_levels_are_reductions() {
    let folder = tempfile::tempdir().unwrap();
    let truth = written(folder.path(), SlideFormat::Dicom(Organisation::TiledFull));
    assert_eq!(truth.levels, [[2300, 1500], [575, 375], [144, 94]]);
    assert!(truth.nuclei_count > 500 && (0.2..0.55).contains(&truth.tissue_fraction));
    let objects: Vec<_> =
        truth.files.iter().map(|file| open_file(folder.path().join(file)).unwrap()).collect();
    for (object, ([columns, rows], frames)) in objects.iter().zip(truth.levels.iter().zip([54, 6, 1])) {
        assert_eq!(text(object, tags::TOTAL_PIXEL_MATRIX_COLUMNS), columns.to_string());
        assert_eq!(text(object, tags::TOTAL_PIXEL_MATRIX_ROWS), rows.to_string());
        assert_eq!(text(object, tags::NUMBER_OF_FRAMES), frames.to_string());
        assert_eq!(text(object, tags::DIMENSION_ORGANIZATION_TYPE), "TILED_FULL");
        assert_eq!(text(object, Tag(0x0099, 0x1001)), "YES");
        assert!(object.element_opt(tags::PRESENTATION_LUT_SHAPE).unwrap().is_none());
        assert!(object.element_opt(tags::RESCALE_SLOPE).unwrap().is_none());
    }
    let slide = Slide::new(&small_slide()).unwrap();
    // Tile (4, 2) of nine across.
    let drawn = slide.region([1024, 512], [256, 256]);
    assert!(mean_difference(tile(&objects[0], 22).as_raw(), &drawn) < 4.0);
    // Tile (1, 0) of the next level is made from 1024 × 1024 pixels of the finest.
    let source = image::RgbImage::from_raw(1024, 1024, slide.region([1024, 0], [1024, 1024])).unwrap();
    let reduced = image::imageops::resize(&source, 256, 256, image::imageops::FilterType::Triangle);
    assert!(mean_difference(tile(&objects[1], 1).as_raw(), reduced.as_raw()) < 4.0);
}

#[test]
fn a_sparse_slide_leaves_glass_out_and_says_where_each_tile_lies() {
    let folder = tempfile::tempdir().unwrap();
    let full = written(folder.path(), SlideFormat::Dicom(Organisation::TiledFull));
    let sparse = written(folder.path(), SlideFormat::Dicom(Organisation::TiledSparse));
    assert_ne!(full.study_uid, sparse.study_uid);
    let [full, sparse] =
        [&full, &sparse].map(|truth| open_file(folder.path().join(&truth.files[0])).unwrap());
    let frames: usize = text(&sparse, tags::NUMBER_OF_FRAMES).parse().unwrap();
    assert!((10..54).contains(&frames), "{frames} of 54");
    let groups = sparse.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
    let mut kept = BTreeMap::new();
    for (frame, group) in groups.iter().enumerate() {
        let position = &group.element(tags::PLANE_POSITION_SLIDE_SEQUENCE).unwrap().items().unwrap()[0];
        let [column, row] = [
            tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX,
            tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX,
        ]
        .map(|tag| (position.element(tag).unwrap().to_int::<usize>().unwrap() - 1) / 256);
        kept.insert(row * 9 + column, frame);
    }
    assert_eq!(kept.len(), frames);
    for place in 0..54 {
        let whole = tile(&full, place);
        match kept.get(&place) {
            Some(frame) => assert!(tile(&sparse, *frame) == whole, "tile {place}"),
            None => assert!(whole.iter().all(|level| *level > 225), "tile {place} is no glass"),
        }
    }
}

#[test]
fn the_label_alone_shows_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let truth = written(folder.path(), SlideFormat::Dicom(Organisation::TiledFull));
    let label = open_file(folder.path().join(truth.label_file.unwrap())).unwrap();
    assert_eq!(text(&label, tags::IMAGE_TYPE), "ORIGINAL\\PRIMARY\\LABEL\\NONE");
    assert_eq!(text(&label, tags::BURNED_IN_ANNOTATION), "YES");
    assert!(text(&label, tags::LABEL_TEXT).contains("PHANTOM^PATHOLOGY"));
    let ink = label.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    assert!(ink.iter().filter(|level| **level < 50).count() > 3000);
    for file in &truth.files {
        let level = open_file(folder.path().join(file)).unwrap();
        assert_eq!(text(&level, tags::BURNED_IN_ANNOTATION), "NO");
        assert!(text(&level, tags::IMAGE_TYPE).contains("VOLUME"));
    }
}

#[test]
fn a_tiff_slide_holds_every_level_as_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let truth = written(folder.path(), SlideFormat::Tiff);
    let file = std::fs::File::open(folder.path().join(&truth.files[0])).unwrap();
    let mut decoder = tiff::decoder::Decoder::new(std::io::BufReader::new(file)).unwrap();
    for (number, [columns, rows]) in truth.levels.iter().enumerate() {
        assert_eq!(decoder.dimensions().unwrap(), (*columns, *rows));
        assert_eq!(decoder.chunk_dimensions(), (256, 256));
        assert_eq!(decoder.more_images(), number + 1 < truth.levels.len());
        if decoder.more_images() {
            decoder.next_image().unwrap();
        }
    }
}

#[test]
fn studies_lie_beside_their_truth_and_do_not_depend_on_the_count() {
    let folder = tempfile::tempdir().unwrap();
    let corruption = Some(Corruption::plain(CorruptionKind::PenGreen));
    let batch = |count| Batch { count, seed: 2, corruption };
    for format in [FieldFormat::Dicom, FieldFormat::Png] {
        let truths = write_studies(folder.path(), batch(2), Output::Fields(format)).unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("truth.json")).unwrap()).unwrap();
        assert_eq!(json, serde_json::to_value(&truths).unwrap());
        for entry in json.as_array().unwrap() {
            assert_eq!((&entry["domain"], &entry["synthetic"]), (&"pathology".into(), &true.into()));
            assert_eq!((&entry["corruption"], &entry["severity"]), (&"pen_green".into(), &0.9.into()));
            assert_eq!(entry["stain_matrix"]["hematoxylin"].as_array().unwrap().len(), 3);
            assert!(entry["tissue_fraction"].as_f64().unwrap() > 0.3);
            assert_eq!(entry["study_uid"].is_null(), format == FieldFormat::Png);
            assert!(folder.path().join(entry["files"][0].as_str().unwrap()).is_file());
        }
    }
    assert_eq!(batch(1).fields().next(), batch(2).fields().next());
}
