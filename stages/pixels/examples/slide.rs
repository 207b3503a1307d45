//! Reads a slide: its header as one line of JSON, then tiles. Each tile is a line `<level> <column> <row> <width> <height>`
//! with its 8-bit RGB, row by row, after it; where there is none, the line ends with `glass` instead of a size.
//!
//! ```sh
//! cargo run -p pixels --example slide -- FILE [header | LEVEL COLUMN ROW]    # without: all tiles of all levels
//! ```

use std::{
    error::Error,
    fs::File,
    io::{BufReader, Write, stdout},
    process::ExitCode,
};

use pixels::Slide;
use stage::TilePosition;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                line = format!("{line}: {inner}");
                cause = inner.source();
            }
            let code = error.downcast_ref::<pixels::DecodeError>().map_or("", pixels::DecodeError::code);
            // Nobody is left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "{code} {line}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [path, which @ ..] = arguments else { return Err("name a DICOM, TIFF, PNG or JPEG file".into()) };
    let mut slide = Slide::open(BufReader::new(File::open(path)?))?;
    let mut out = stdout().lock();
    writeln!(out, "{}", serde_json::to_string(slide.header())?)?;
    let positions: Vec<TilePosition> = match which {
        [] => {
            let levels = (0..).zip(&slide.header().levels);
            levels
                .flat_map(|(level, size)| {
                    let across = size.columns.div_ceil(size.tile_columns);
                    let tiles = across * size.rows.div_ceil(size.tile_rows);
                    (0..tiles).map(move |tile| TilePosition {
                        level,
                        column: tile % across,
                        row: tile / across,
                    })
                })
                .collect()
        }
        [word] if word == "header" => Vec::new(),
        [level, column, row] => {
            vec![TilePosition { level: level.parse()?, column: column.parse()?, row: row.parse()? }]
        }
        _ => return Err("after the file: nothing, `header`, or LEVEL COLUMN ROW".into()),
    };
    for position in positions {
        let TilePosition { level, column, row } = position;
        match slide.tile(position)? {
            None => writeln!(out, "{level} {column} {row} glass")?,
            Some(tile) => {
                writeln!(out, "{level} {column} {row} {} {}", tile.width, tile.height)?;
                out.write_all(&tile.rgb)?;
            }
        }
    }
    Ok(())
}
