//! What the echo machine's room sees: the gate's provisional word on each loop as it arrives, large enough to be read from
//! three metres, small enough for a phone.

use axum::extract::{Path, State};
use jiff::Timestamp;
use maud::{Markup, html};
use schemas::{Bilingual, CheckVerdict, ReasonCode, Verdict};

use super::{Page, Renewal, Section, escaped, seconds_between, shortened};
use crate::{
    api::ae_title,
    error::Refusal,
    reader::{Language, Reader},
    server::Shared,
    site::{Arrival, Sender, Site},
    words::{CHINESE, Words},
};

/// Arrivals on the page of one machine: a long study's loops.
const SHOWN: u32 = 60;

pub(crate) async fn senders<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let senders = shared.ask(S::senders).await?;
    let now = Timestamp::now();
    let content = html! {
        h1 { (words.acquisition) }
        p.note { (words.choose_machine) }
        @if senders.is_empty() { p.note { (words.nothing_arrived) } }
        section.machines { @for Sender { ae_title, instances, last_received_at } in &senders {
            a.tile href=(reader.link(&format!("/acquisition/{}", escaped(ae_title)))) {
                strong { (ae_title) } span { (ago(*last_received_at, now, words)) } small { (words.received) " " (instances) }
            }
        } }
    };
    Ok(page(&reader, words.acquisition, &content))
}

fn page(reader: &Reader, title: &str, content: &Markup) -> Markup {
    Page { reader, title, section: Section::Acquisition, renewal: Renewal::Content, scripts: &[] }
        .show(content)
}

pub(crate) async fn arrivals<S: Site>(
    State(shared): State<Shared<S>>,
    reader: Reader,
    Path(ae): Path<String>,
) -> Result<Markup, Refusal> {
    let words = reader.words();
    let ae = ae_title(ae)?;
    let asked = ae.clone();
    let arrivals = shared.ask(move |site| site.arrivals(&asked, SHOWN)).await?;
    let now = Timestamp::now();
    let content = html! {
        div.room {
            h1 { (ae) }
            span.badge.provisional { "PROVISIONAL 初步判断" }
            a href=(reader.link("/acquisition")) { (words.all_machines) }
        }
        @match in_large(&arrivals) {
            None => { p.note { (words.nothing_from_machine) } }
            Some((place, large)) => {
                (latest(large, now, reader.language))
                (study_so_far(large, &arrivals, &reader))
                @if arrivals.len() > 1 {
                    h2 { (words.further) }
                    section.arrivals {
                        @for (index, arrival) in arrivals.iter().enumerate() {
                            @if index != place { (card(arrival, now, reader.language)) }
                        }
                    }
                }
            }
        }
        p.note { (words.provisional_note) }
    };
    Ok(page(&reader, &ae, &content))
}

/// The arrival to show in large: the newest loop that the gate has an opinion on, so that a still or a colour loop after
/// it does not hide what to acquire again; but never one of an earlier study.
fn in_large(arrivals: &[Arrival]) -> Option<(usize, &Arrival)> {
    let newest = arrivals.first()?;
    let same_study = |arrival: &Arrival| arrival.gate.study.study_uid == newest.gate.study.study_uid;
    let judged = |arrival: &Arrival| arrival.gate.instance.applicable && same_study(arrival);
    Some(arrivals.iter().enumerate().find(|(_, arrival)| judged(arrival)).unwrap_or((0, newest)))
}

/// What a verdict means to the person at the machine. Never told by colour alone.
struct Word {
    class: &'static str,
    sign: &'static str,
    en: &'static str,
    zh: &'static str,
}

impl Word {
    fn in_both(&self, first: Language) -> Markup {
        in_both(self.en, self.zh, first)
    }
}

const USABLE: Word = Word { class: "good", sign: "✓", en: "Usable", zh: "可用" };
const CAUTION: Word =
    Word { class: "fair", sign: "!", en: "Usable with caution", zh: "可用，但需注意" };
const AGAIN: Word = Word { class: "bad", sign: "✗", en: "Acquire again", zh: "请重新采集" };
const NOT_USED: Word = Word { class: "none", sign: "–", en: "Not used", zh: "不用于测量" };
const WORDS: [&Word; 4] = [&USABLE, &CAUTION, &AGAIN, &NOT_USED];

fn word(arrival: &Arrival) -> &'static Word {
    let instance = &arrival.gate.instance;
    match instance.verdict {
        _ if !instance.applicable => &NOT_USED,
        Verdict::Accept => &USABLE,
        Verdict::Caution => &CAUTION,
        Verdict::Reject => &AGAIN,
    }
}

fn latest(arrival: &Arrival, now: Timestamp, language: Language) -> Markup {
    let (words, word) = (language.words(), word(arrival));
    html! {
        section class={ "latest " (word.class) } {
            (picture(arrival, words))
            div {
                p.word { span.sign { (word.sign) } " " (word.in_both(language)) }
                @if let Some(code) = &arrival.gate.instance.code { p.code { (code) } }
                @if let Some(advice) = &arrival.gate.advice { (sentence(advice, language)) }
                @for (code, advice) in further(arrival) {
                    p.further { span.badge { (code) } " " (in_both(&advice.en, &advice.zh, language)) }
                }
                p.facts { (facts(arrival, words)) " · " (ago(arrival.gate.received_at, now, words)) }
            }
        }
    }
}

fn card(arrival: &Arrival, now: Timestamp, language: Language) -> Markup {
    let (words, word) = (language.words(), word(arrival));
    html! {
        article class={ "arrival " (word.class) } {
            (picture(arrival, words))
            p.word { span.sign { (word.sign) } " " (word.in_both(language)) }
            @if let Some(code) = &arrival.gate.instance.code { p.code { (code) } }
            @if let Some(advice) = &arrival.gate.advice { (sentence(advice, language)) }
            p.facts { (facts(arrival, words)) " · " (ago(arrival.gate.received_at, now, words)) }
        }
    }
}

/// What is said of a loop stands in both languages on every page: it hangs in a room, where nobody switches.
fn in_both(en: &str, zh: &str, first: Language) -> Markup {
    let (en, zh) = (html! { span lang="en" { (en) } }, html! { span lang=(CHINESE.language) { (zh) } });
    match first {
        Language::English => html! { (en) " " (zh) },
        Language::Chinese => html! { (zh) " " (en) },
    }
}

fn sentence(advice: &Bilingual, first: Language) -> Markup {
    let (en, zh) = (
        html! { p.advice lang="en" { (advice.en) } },
        html! { p.advice lang=(CHINESE.language) { (advice.zh) } },
    );
    match first {
        Language::English => html! { (en) (zh) },
        Language::Chinese => html! { (zh) (en) },
    }
}

/// What else is wrong, each code once.
fn further(arrival: &Arrival) -> Vec<(&ReasonCode, &Bilingual)> {
    let instance = &arrival.gate.instance;
    let mut others: Vec<(&ReasonCode, &Bilingual)> = Vec::new();
    if !instance.applicable {
        return others;
    }
    for check in instance.checks.iter().filter(|check| check.verdict != CheckVerdict::Pass) {
        if let (Some(code), Some(advice)) = (&check.code, &check.advice)
            && instance.code.as_ref() != Some(code)
            && !others.iter().any(|(known, _)| *known == code)
        {
            others.push((code, advice));
        }
    }
    others
}

fn picture(arrival: &Arrival, words: &Words) -> Markup {
    html! {
        figure {
            @match &arrival.gate.picture {
                Some(picture) => img src={ "/pictures/" (picture.sha256) "/" (picture.bytes) } alt=(words.loop_frame) decoding="sync";,
                None => div.dark { (words.no_frame) }
            }
        }
    }
}

fn facts(arrival: &Arrival, words: &Words) -> Markup {
    let instance = &arrival.gate.instance;
    html! {
        @if arrival.gate.study.synthetic { span.badge.phantom { "PHANTOM" } " " }
        @if let Some(view) = instance.view { (format!("{view:?}")) " · " }
        (instance.frames) " " (if instance.frames == 1 { words.frame } else { words.frames })
        @if let Some(fps) = instance.timing.and_then(|timing| timing.fps) { " · " (format!("{fps:.0}")) " fps" }
    }
}

/// The newest study's loops by what was said of them, and its own verdict once there is one.
fn study_so_far(newest: &Arrival, arrivals: &[Arrival], reader: &Reader) -> Markup {
    let words = reader.words();
    let study = &newest.gate.study.study_uid;
    let same = || arrivals.iter().filter(|arrival| arrival.gate.study.study_uid == *study);
    let count = |wanted: &Word| same().filter(|arrival| word(arrival).class == wanted.class).count();
    html! {
        section.so-far {
            span { (words.this_study) }
            @for word in WORDS {
                span class=(word.class) { b { (word.sign) " " (count(word)) } " " (word.in_both(reader.language)) }
            }
            @match newest.study_state.as_deref() {
                None => span { (words.study_open) },
                Some(state) => a href=(reader.link(&format!("/studies/{study}"))) {
                    (words.study) " " span.mono { (shortened(study.as_str())) } ": " (words.study_state(state))
                    @if let Some(reason) = &newest.study_reason { " " (reason) }
                }
            }
        }
    }
}

/// How long ago, for people.
fn ago(at: Timestamp, now: Timestamp, words: &Words) -> String {
    let (number, unit) = match seconds_between(at, now) {
        s if s < 60.0 => (s, words.seconds_ago),
        s if s < 7200.0 => (s / 60.0, words.minutes_ago),
        s if s < 172_800.0 => (s / 3600.0, words.hours_ago),
        s => (s / 86_400.0, words.days_ago),
    };
    format!("{number:.0} {unit}")
}
