//! Decode workers as processes: what comes back, and what a worker that goes wrong costs.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use pixels::{Clip, Slide};
use prometheus::Registry;
use raster::{Plane, Window};
use schemas::{Area, BlobRef, FrameNumber, NotAnalysable};
use services::{DecodePool, DecodePoolConfig, FrameMetrics, ObjectBlobs};
use stage::{Blobs as _, FrameError, Frames as _, TilePosition};
use tempfile::TempDir;

const CINE: &[u8] = include_bytes!("../../../stages/pixels/tests/fixtures/examples_ybr_color.dcm");
/// One frame with an electrocardiogram region.
const WITH_ECG: &[u8] = include_bytes!("../../../stages/pixels/tests/fixtures/OBXXXX1A_rle.dcm");
const SLIDE: &[u8] = include_bytes!("../../../stages/pixels/tests/fixtures/slides/sparse_rle.dcm");
const PYRAMID: &[u8] = include_bytes!("../../../stages/pixels/tests/fixtures/slides/aperio_lzw.tif");

/// Built together with this test by `cargo test`.
fn worker() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let worker = deps.parent().and_then(Path::parent).unwrap().join("examples/decode_worker");
    assert!(worker.exists(), "{} is not built; run cargo test without --test", worker.display());
    worker
}

struct Setting {
    dir: TempDir,
    blobs: Arc<ObjectBlobs>,
    config: DecodePoolConfig,
}

impl Setting {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let blobs = Arc::new(ObjectBlobs::folder(&dir.path().join("blobs")).unwrap());
        let config = DecodePoolConfig {
            program: worker(),
            args: vec![],
            workers: 1,
            request_timeout: Duration::from_mins(1),
            memory_bytes: 256 << 20,
        };
        Self { dir, blobs, config }
    }

    /// The first `times` workers do what `mode` says.
    fn misbehaving(mode: &str, times: u32) -> Self {
        let mut setting = Self::new();
        let marks = setting.dir.path().join("marks");
        fs::create_dir(&marks).unwrap();
        setting.config.args = vec![mode.into(), marks.into(), times.to_string().into()];
        setting
    }

    fn pool(&self) -> DecodePool {
        DecodePool::new(Arc::clone(&self.blobs), self.config.clone())
    }

    fn put(&self, bytes: &[u8]) -> BlobRef {
        self.blobs.put(Area::Raw, bytes).unwrap()
    }
}

fn code(error: &FrameError) -> &str {
    match error {
        FrameError::Damaged { code, .. } => code.as_str(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_come_back_as_they_decode_here_and_masked() {
    let setting = Setting::new();
    let (pool, blob) = (setting.pool(), setting.put(CINE));
    let mut clip = pixels::Clip::open(Cursor::new(CINE)).unwrap();
    let mask = clip.mask().unwrap();
    let header = pool.header(&blob).unwrap();
    assert_eq!(header, clip.clip_header(&mask));
    assert!(header.frames > 1);
    for number in [1, header.frames] {
        let frame = pool.frame(&blob, FrameNumber(number)).unwrap();
        assert_eq!(frame.number, FrameNumber(number));
        assert_eq!(frame.image, clip.masked_frame(number - 1, &mask).unwrap().into_image());
    }
    let [x0, y0, width, height] = header.visible;
    let frame = pool.frame(&blob, FrameNumber(1)).unwrap().image;
    for (index, pixel) in frame.rgb.chunks_exact(3).enumerate() {
        let (x, y) = (index as u32 % frame.width, index as u32 / frame.width);
        let outside = x < x0 || y < y0 || x >= x0 + width || y >= y0 + height;
        assert!(!outside || pixel == [0, 0, 0], "a pixel outside the tissue shows at {x}, {y}");
    }
}

#[test]
fn a_thumbnail_is_the_reduced_frame_and_is_kept() {
    let setting = Setting::new();
    let (pool, clip) = (setting.pool(), setting.put(CINE));
    let header = pool.header(&clip).unwrap();
    for number in [1, 2] {
        let number = FrameNumber(number);
        let thumbnail = pool.thumbnail(&clip, number, 32).unwrap().expect("the pool makes them");
        let image = pool.frame(&clip, number).unwrap().image;
        let window = Window::inside(header.visible, image.width, image.height);
        let reduced = Plane::luma_reduced_to_height(&image, window, 32);
        assert_eq!(thumbnail.luma[..], *reduced.samples());
        assert_eq!(
            [thumbnail.width as usize, thumbnail.height as usize],
            [reduced.width(), reduced.height()]
        );
        assert_eq!(pool.thumbnail(&clip, number, 32).unwrap(), Some(thumbnail));
    }
}

#[test]
fn the_electrocardiogram_comes_back_as_it_is_cut_out_here() {
    let setting = Setting::new();
    let pool = setting.pool();
    let (with, without) = (setting.put(WITH_ECG), setting.put(CINE));
    let strip = pool.ecg(&with, FrameNumber(1)).unwrap().unwrap();
    assert_eq!(Some(strip), Clip::open(Cursor::new(WITH_ECG)).unwrap().ecg(0).unwrap());
    assert_eq!(pool.ecg(&without, FrameNumber(1)).unwrap(), None);
    for number in [0, 2] {
        assert_eq!(code(&pool.ecg(&with, FrameNumber(number)).unwrap_err()), "FRAME_INDEX");
    }
}

#[test]
fn tiles_come_back_as_they_decode_here() {
    let setting = Setting::new();
    let pool = setting.pool();
    for bytes in [SLIDE, PYRAMID] {
        let blob = setting.put(bytes);
        let mut slide = Slide::open(Cursor::new(bytes)).unwrap();
        let header = pool.slide(&blob).unwrap();
        assert_eq!(&header, slide.header());
        for (level, size) in (0..).zip(&header.levels) {
            let (across, down) =
                (size.columns.div_ceil(size.tile_columns), size.rows.div_ceil(size.tile_rows));
            for (row, column) in (0..down).flat_map(|row| (0..across).map(move |column| (row, column))) {
                let position = TilePosition { level, column, row };
                assert_eq!(
                    pool.tile(&blob, position).unwrap(),
                    slide.tile(position).unwrap(),
                    "{position:?}"
                );
            }
        }
        let beyond = TilePosition { level: 0, column: 0, row: u32::MAX };
        assert_eq!(code(&pool.tile(&blob, beyond).unwrap_err()), "TILE_POSITION");
    }
}

#[test]
fn what_may_be_ultrasound_gives_frames_and_no_tiles() {
    let setting = Setting::new();
    let pool = setting.pool();
    let cine = setting.put(CINE);
    let position = TilePosition { level: 0, column: 0, row: 0 };
    let refused = |error: FrameError| {
        let reason = NotAnalysable::Modality;
        assert!(matches!(error, FrameError::NotAnalysable { reason: found } if found == reason), "{error:?}");
    };
    // Whatever was asked before it of the same instance, on the same worker.
    refused(pool.slide(&cine).unwrap_err());
    pool.frame(&cine, FrameNumber(1)).unwrap();
    refused(pool.tile(&cine, position).unwrap_err());
    pool.frame(&cine, FrameNumber(1)).unwrap();
}

#[test]
fn an_instance_is_a_clip_and_a_slide_in_turn() {
    let setting = Setting::new();
    let pool = setting.pool();
    let blob = setting.put(SLIDE);
    let position = TilePosition { level: 0, column: 0, row: 0 };
    let tile = pool.tile(&blob, position).unwrap().unwrap();
    let header = pool.header(&blob).unwrap();
    assert_eq!((header.columns, header.rows), (tile.width, tile.height));
    assert_eq!(pool.tile(&blob, position).unwrap().unwrap(), tile);
    assert_eq!(pool.header(&blob).unwrap(), header);
}

#[test]
fn the_content_is_checked_once_and_not_for_each_tile() {
    let setting = Setting::new();
    let pool = setting.pool();
    let blob = setting.put(SLIDE);
    let position = TilePosition { level: 0, column: 0, row: 0 };
    let tile = pool.tile(&blob, position).unwrap();
    // Under another name the worker's own open file stays what it was.
    let path = setting.dir.path().join("blobs").join(blob.key());
    fs::rename(&path, path.with_extension("away")).unwrap();
    fs::write(&path, vec![0; SLIDE.len()]).unwrap();
    assert_eq!(pool.tile(&blob, position).unwrap(), tile);
    assert_eq!(code(&pool.slide(&setting.put(b"no picture")).unwrap_err()), "UNKNOWN_FORMAT");
    assert!(
        matches!(pool.tile(&blob, position), Err(FrameError::Mismatch { .. })),
        "opened anew, it is checked"
    );
}

#[test]
fn faults_of_an_instance_are_named() {
    let setting = Setting::new();
    let pool = setting.pool();
    let rotten = setting.put(b"as received");
    let absent = BlobRef::of(Area::Raw, b"never put");
    assert!(matches!(pool.header(&absent), Err(FrameError::NotFound { key }) if key == absent.key()));

    fs::write(setting.dir.path().join("blobs").join(rotten.key()), b"AS RECEIVED").unwrap();
    assert!(matches!(pool.header(&rotten), Err(FrameError::Mismatch { key }) if key == rotten.key()));

    assert_eq!(code(&pool.header(&setting.put(b"no picture")).unwrap_err()), "UNKNOWN_FORMAT");
    let cine = setting.put(CINE);
    let frames = pool.header(&cine).unwrap().frames;
    for number in [0, frames + 1, u32::MAX] {
        assert_eq!(code(&pool.frame(&cine, FrameNumber(number)).unwrap_err()), "FRAME_INDEX");
    }
    pool.frame(&cine, FrameNumber(1)).unwrap();
}

#[test]
fn a_crash_is_tried_once_more_on_a_fresh_worker() {
    let setting = Setting::misbehaving("abort", 1);
    setting.pool().header(&setting.put(CINE)).unwrap();
}

#[test]
fn two_crashes_cost_the_instance_and_nothing_else() {
    let setting = Setting::misbehaving("abort", 2);
    let (pool, blob) = (setting.pool(), setting.put(CINE));
    let error = pool.header(&blob).unwrap_err();
    assert_eq!(code(&error), "DECODER_CRASHED");
    assert!(error.to_string().contains("signal 6"), "{error}");
    pool.header(&blob).unwrap();
}

#[test]
fn a_worker_that_takes_more_memory_than_allowed_ends() {
    let setting = Setting::misbehaving("allocate", 2);
    let (pool, blob) = (setting.pool(), setting.put(CINE));
    assert_eq!(code(&pool.header(&blob).unwrap_err()), "DECODER_CRASHED");
    pool.header(&blob).unwrap();
}

#[test]
fn a_worker_that_hangs_is_killed_when_its_time_is_up() {
    let mut setting = Setting::misbehaving("hang", 1);
    setting.config.request_timeout = Duration::from_secs(3);
    let (pool, blob) = (setting.pool(), setting.put(CINE));
    let start = Instant::now();
    assert_eq!(code(&pool.header(&blob).unwrap_err()), "DECODER_TIMEOUT");
    assert!(start.elapsed() < Duration::from_secs(30), "killed, not waited for");
    setting.config.request_timeout = Duration::from_mins(1);
    setting.pool().header(&blob).unwrap();
}

#[test]
fn a_program_that_is_no_worker_says_nothing_about_the_instance() {
    let mut setting = Setting::new();
    let blob = setting.put(CINE);
    for program in ["/bin/true", "/bin/echo", "/no/such/program"] {
        setting.config.program = program.into();
        let error = setting.pool().header(&blob).unwrap_err();
        assert!(matches!(error, FrameError::Unavailable(_)), "{program}: {error:?}");
    }
}

#[test]
fn workers_inherit_no_environment() {
    let mut setting = Setting::new();
    setting.config.args = vec!["no-environment".into()];
    setting.pool().header(&setting.put(CINE)).unwrap();
}

#[test]
fn more_threads_than_workers_all_get_their_frames() {
    let mut setting = Setting::new();
    setting.config.workers = 2;
    let pool = setting.pool();
    let blob = setting.put(CINE);
    let garbage = setting.put(b"no picture");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (pool, blob, garbage) = (&pool, &blob, &garbage);
            scope.spawn(move || {
                if thread % 3 == 0 {
                    assert_eq!(code(&pool.header(garbage).unwrap_err()), "UNKNOWN_FORMAT");
                } else {
                    pool.frame(blob, FrameNumber(1)).unwrap();
                }
            });
        }
    });
}

#[test]
fn pictures_are_timed_by_how_their_pixels_are_written_and_headers_are_not() {
    let setting = Setting::new();
    let registry = Registry::new();
    let pool = setting.pool().with_metrics(FrameMetrics::register(&registry).unwrap());
    let (cine, slide, pyramid) = (setting.put(CINE), setting.put(SLIDE), setting.put(PYRAMID));
    pool.header(&cine).unwrap();
    assert_eq!(registry.gather(), [], "nothing was decoded");
    pool.frame(&cine, FrameNumber(1)).unwrap();
    pool.thumbnail(&cine, FrameNumber(1), 16).unwrap();
    for slide in [&slide, &pyramid] {
        pool.tile(slide, TilePosition { level: 0, column: 0, row: 0 }).unwrap();
    }
    let counts: Vec<(String, u64)> = registry.gather()[0]
        .get_metric()
        .iter()
        .map(|metric| (metric.get_label()[0].value().to_owned(), metric.get_histogram().get_sample_count()))
        .collect();
    let found = counts.iter().map(|(coding, count)| (coding.as_str(), *count));
    assert!(found.eq([("jpeg_lossy", 2), ("picture_file", 1), ("rle", 1)]), "{counts:?}");
}
