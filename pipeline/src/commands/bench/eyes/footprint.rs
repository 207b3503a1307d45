//! What a decode worker holds resident at most, from the kernel, while it gives every frame or tile of one instance.

use std::{fs, sync::Arc};

use schemas::{Area, BlobRef, FrameNumber};
use services::{DecodePool, ObjectBlobs};
use stage::{Blobs as _, Frames as _, TilePosition};

use crate::{config::Config, exit::Failure, system::decode_pool};

/// Bytes for every frame of a cine.
pub(crate) fn of_cine(file: &[u8], blobs: &Arc<ObjectBlobs>, config: &Config) -> Result<u64, Failure> {
    let (pool, blob) = (decode_pool(config, blobs)?, blobs.put(Area::Raw, file)?);
    for index in 0..pool.header(&blob)?.frames {
        pool.frame(&blob, FrameNumber::from_index(index))?;
    }
    peak(&pool)
}

/// Bytes for every tile of a slide's finest level, and how many tiles those are.
pub(crate) fn of_slide(
    file: &[u8],
    blobs: &Arc<ObjectBlobs>,
    config: &Config,
) -> Result<(u64, u32), Failure> {
    let (pool, blob) = (decode_pool(config, blobs)?, blobs.put(Area::Raw, file)?);
    let tiles = every_tile(&pool, &blob)?;
    Ok((peak(&pool)?, tiles))
}

fn every_tile(pool: &DecodePool, blob: &BlobRef) -> Result<u32, Failure> {
    let header = pool.slide(blob)?;
    let finest = header.levels.first().ok_or("the slide has no level")?;
    let across = finest.columns.div_ceil(finest.tile_columns);
    let down = finest.rows.div_ceil(finest.tile_rows);
    for row in 0..down {
        for column in 0..across {
            pool.tile(blob, TilePosition { level: 0, column, row })?;
        }
    }
    Ok(across * down)
}

/// VmHWM of the one decode worker that runs: a pool asks the worker that has an instance open. `_pool` owns it, so that it
/// still does.
fn peak(_pool: &DecodePool) -> Result<u64, Failure> {
    let field = |status: &str, name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let own = u64::from(std::process::id());
    for entry in fs::read_dir("/proc")?.flatten() {
        // A process that ends meanwhile is none of ours: ours is alive.
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let status = read("status");
        let worker = field(&status, "PPid:") == Some(own) && read("cmdline").contains("decode-worker");
        if let Some(kib) = field(&status, "VmHWM:").filter(|_| worker) {
            return Ok(kib * 1024);
        }
    }
    Err("no decode worker is to be seen below /proc".into())
}
