//! `top`: the running system in a terminal, a look a second. `q` ends it.

mod screen;

use std::{
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use console::site::Status;
use ratatui::{
    buffer::{Buffer, Cell},
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::Rect,
    widgets::Widget,
};

use self::screen::{Picture, Screen};
use crate::{
    api_client::{ApiClient, ApiError},
    cli::{Options, Top},
    exit::{Exit, Failure},
};

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);
/// How long one wait for a key lasts.
const KEYS: Duration = Duration::from_millis(50);
/// A picture for a script or a page: as wide as a README shows, with room for more stages than there are.
const ONCE: Rect = Rect { x: 0, y: 0, width: 100, height: 24 };

pub(crate) fn run(arguments: &Top, options: &Options, data_dir: &Path) -> Result<Exit, Failure> {
    let client = ApiClient::connect(options, data_dir)?;
    if arguments.once {
        let status = client.status()?;
        let mut buffer = Buffer::empty(ONCE);
        Screen { picture: &Picture::Now(status) }.render(ONCE, &mut buffer);
        write!(std::io::stdout().lock(), "{}", text(&buffer))?;
        return Ok(Exit::Done);
    }
    // The first look decides whether there is anybody to ask at all.
    let first = client.status()?;
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&mut terminal, client, first);
    ratatui::try_restore()?;
    ended.map(|()| Exit::Done)
}

/// Asks on a thread of its own: a system that answers slowly must not keep a key waiting.
fn watch(terminal: &mut ratatui::DefaultTerminal, client: ApiClient, first: Status) -> Result<(), Failure> {
    let (told, looks) = crossbeam_channel::bounded::<Result<Status, ApiError>>(1);
    thread::Builder::new().name("looks".to_owned()).spawn(move || {
        loop {
            let begun = Instant::now();
            // Nobody listens any more: the picture is closed.
            if told.send(client.status()).is_err() {
                return;
            }
            thread::sleep(EVERY.saturating_sub(begun.elapsed()));
        }
    })?;
    let mut picture = Picture::Now(first);
    loop {
        if let Ok(look) = looks.try_recv() {
            picture = picture.after(look.map_err(|error| error.to_string()));
        }
        terminal.draw(|frame| frame.render_widget(Screen { picture: &picture }, frame.area()))?;
        let until = Instant::now() + EVERY;
        while looks.is_empty() && Instant::now() < until {
            if !event::poll(KEYS)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let interrupt =
                        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if interrupt || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                // Drawn anew for the new size.
                Event::Resize(..) => break,
                _ => {}
            }
        }
    }
}

/// A picture as lines without trailing blanks.
fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y: u16| {
        let cells = (area.left()..area.right()).filter_map(|x| buffer.cell((x, y)));
        cells.map(Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = (area.top()..area.bottom()).map(line).collect();
    let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines.into_iter().take(used).map(|line| line + "\n").collect()
}
