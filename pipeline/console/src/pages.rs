//! The pages, rendered on the server, each in one language, whole.
//!
//! Numbers that move come by server-sent events, lists by a meta tag; the live page of an echo machine has its own script,
//! because it hangs on a wall. Whatever a script does here can be done without: pages renew themselves by a meta tag then,
//! and the command line pauses, resumes and redrives.

pub(crate) mod acquisition;
mod act;
pub(crate) mod dead_letters;
mod graph;
mod numbers;
pub(crate) mod overview;
pub(crate) mod pipeline;
pub(crate) mod replays;
mod report;
pub(crate) mod studies;
pub(crate) mod study;

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

pub(crate) use numbers::Numbers;

use crate::{
    error::Refusal,
    reader::{Language, Reader},
};

/// How a page renews itself.
#[derive(Clone, Copy)]
enum Renewal {
    Every5s,
    /// The whole content, by a script of its own; without one by the meta tag.
    Content,
    /// Its numbers, by server-sent events; without a script the page by the meta tag.
    Numbers,
    Never,
}

/// Where a page stands in the menu.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Overview,
    Pipeline,
    Studies,
    DeadLetters,
    Replays,
    Acquisition,
    None,
}

/// A script by its file's name.
#[derive(Clone, Copy)]
enum Script {
    /// One of ours.
    Module(&'static str),
    /// One that others wrote, which puts its name into the window.
    Classic(&'static str),
}

/// A page without its content.
struct Page<'a> {
    reader: &'a Reader,
    title: &'a str,
    section: Section,
    renewal: Renewal,
    /// Scripts besides those of its renewal.
    scripts: &'a [Script],
}

impl Page<'_> {
    fn show(&self, content: &Markup) -> Markup {
        let words = self.reader.words();
        let menu = [
            (Section::Overview, "/", words.overview),
            (Section::Pipeline, "/pipeline", words.pipeline),
            (Section::Studies, "/studies", words.studies),
            (Section::DeadLetters, "/dead-letters", words.dead_letters),
            (Section::Replays, "/replays", words.replays),
            (Section::Acquisition, "/acquisition", words.acquisition),
        ];
        html! {
            (DOCTYPE)
            html lang=(words.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · prescreen" }
                    link rel="icon" href="/assets/icon.svg";
                    link rel="stylesheet" href="/assets/console.css";
                    link rel="stylesheet" href="/assets/watch.css";
                    (self.renewing())
                    @for script in self.scripts {
                        @match script {
                            Script::Module(name) => script src={ "/assets/" (name) } type="module" {},
                            Script::Classic(name) => script src={ "/assets/" (name) } defer {},
                        }
                    }
                }
                body data-lost=(words.not_up_to_date) {
                    header {
                        a.brand href=(self.reader.link("/")) { "prescreen" }
                        nav aria-label=(words.menu) {
                            @for (section, address, name) in menu {
                                a href=(self.reader.link(address)) aria-current=[(section == self.section).then_some("page")] { (name) }
                            }
                        }
                        (self.languages())
                    }
                    main { (content) }
                    footer { (words.disclaimer) }
                }
            }
        }
    }

    fn renewing(&self) -> Markup {
        html! {
            @match self.renewal {
                Renewal::Every5s => { meta http-equiv="refresh" content="5"; }
                Renewal::Content => {
                    script src="/assets/live.js" type="module" {}
                    noscript { meta http-equiv="refresh" content="2"; }
                }
                Renewal::Numbers => {
                    script src="/assets/pipeline.js" type="module" {}
                    noscript { meta http-equiv="refresh" content="5"; }
                }
                Renewal::Never => {}
            }
        }
    }

    /// The switch: this page in either language, each named in itself.
    fn languages(&self) -> Markup {
        html! {
            div.languages-switch {
                @for (language, name) in [(Language::English, "English"), (Language::Chinese, "中文")] {
                    a href=(self.reader.here_in(language)) lang=(language.words().language) hreflang=(language.words().language)
                        aria-current=[(language == self.reader.language).then_some("true")] { (name) }
                }
            }
        }
    }
}

/// Turns an answer that is no success into a page that says so, with the same status. The API's stay as they are.
pub(crate) async fn show_refusals(reader: Reader, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let status = response.status();
    if is_api || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let words = reader.words();
    let (title, text) = match status {
        StatusCode::SERVICE_UNAVAILABLE => (words.unavailable, words.unavailable_text),
        StatusCode::NOT_FOUND => (words.unknown, words.unknown_text),
        StatusCode::UNPROCESSABLE_ENTITY => (words.refused, words.refused_text),
        status if status.is_client_error() => (words.malformed, words.malformed_text),
        _ => (words.failed, words.failed_text),
    };
    let reason = response.extensions_mut().remove::<Refusal>().map(|refusal| refusal.1);
    let renewal = if status == StatusCode::SERVICE_UNAVAILABLE { Renewal::Every5s } else { Renewal::Never };
    let page = Page { reader: &reader, title, section: Section::None, renewal, scripts: &[] };
    let content = html! {
        section.refusal role="alert" {
            h1 { (title) }
            p { (text) }
            @if let Some(reason) = reason { p.mono lang="en" { (reason) } }
        }
    };
    (status, page.show(&content)).into_response()
}

/// An address that is no page.
pub(crate) async fn nowhere() -> Refusal {
    Refusal::not_found("this address")
}

/// The address without what a form leaves empty.
fn given(field: Option<&String>) -> Option<&str> {
    field.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// A table's cell that carries its heading along: on a small screen a row becomes a card.
fn cell(label: &str, class: Option<&str>, content: impl maud::Render) -> Markup {
    html! { td class=[class] data-label=(label) { (content) } }
}

/// Seconds as people say them; the units are the same in both languages.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Seconds from one time to another, never less than none.
fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).total(jiff::Unit::Second).unwrap_or_default().max(0.0)
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn shortened(uid: &str) -> String {
    let tail = uid.len().saturating_sub(14);
    if tail < 8 {
        uid.to_owned()
    } else {
        format!("{}…{}", uid.get(..6).unwrap_or_default(), uid.get(tail..).unwrap_or_default())
    }
}

/// A text as a segment of a path or a value of a query: it may hold spaces, slashes and more.
fn escaped(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    escaped.collect()
}
