//! What the echo machine's room sees: the gate's provisional word on each loop as it arrives, large enough to be read from
//! three metres, small enough for a phone.

use axum::extract::{Path, State};
use jiff::{Timestamp, Unit};
use maud::{Markup, html};
use schemas::{Bilingual, CheckVerdict, ReasonCode, Verdict};

use super::{Refresh, page, shortened};
use crate::{
    api::ae_title,
    error::Refusal,
    server::Shared,
    site::{Arrival, Sender, Site},
};

/// Arrivals on the page of one machine: a long study's loops.
const SHOWN: u32 = 60;

pub(crate) async fn senders<S: Site>(State(shared): State<Shared<S>>) -> Result<Markup, Refusal> {
    let senders = shared.ask(S::senders).await?;
    let now = Timestamp::now();
    let content = html! {
        h1 { "Acquisition " small { "采集" } }
        p.note { "Each loop is looked at as it arrives, while the patient is still there. Choose a machine. 图像到达即时质控，请选择设备。" }
        @if senders.is_empty() { p.note { "Nothing has arrived yet. 暂无图像。" } }
        section.machines { @for Sender { ae_title, instances, last_received_at } in &senders {
            a.tile href={ "/acquisition/" (in_path(ae_title)) } {
                strong { (ae_title) } span { (ago(*last_received_at, now)) } small { (instances) " received 已接收" }
            }
        } }
    };
    Ok(page("Acquisition", Refresh::Live, &content))
}

pub(crate) async fn arrivals<S: Site>(
    State(shared): State<Shared<S>>,
    Path(ae): Path<String>,
) -> Result<Markup, Refusal> {
    let ae = ae_title(ae)?;
    let asked = ae.clone();
    let arrivals = shared.ask(move |site| site.arrivals(&asked, SHOWN)).await?;
    let now = Timestamp::now();
    let content = html! {
        div.room {
            h1 { (ae) }
            span.badge.provisional { "PROVISIONAL 初步判断" }
            a href="/acquisition" { "All machines 全部设备" }
        }
        @match in_large(&arrivals) {
            None => { p.note { "Nothing has arrived from this machine yet. 该设备暂无图像。" } }
            Some((place, large)) => {
                (latest(large, now))
                (study_so_far(large, &arrivals))
                @if arrivals.len() > 1 {
                    h2 { "Further " small { "其他图像" } }
                    section.arrivals {
                        @for (index, arrival) in arrivals.iter().enumerate() {
                            @if index != place { (card(arrival, now)) }
                        }
                    }
                }
            }
        }
        p.note {
            "The study's own verdict follows its completion and alone counts; a loop may be missing here when many arrive at once. "
            "以检查完成后的结论为准；大量图像同时到达时，个别图像可能不在此显示。"
        }
    };
    Ok(page(&ae, Refresh::Live, &content))
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

fn latest(arrival: &Arrival, now: Timestamp) -> Markup {
    let word = word(arrival);
    html! {
        section class={ "latest " (word.class) } {
            (picture(arrival))
            div {
                p.word { span.sign { (word.sign) } " " (word.en) " " span lang="zh" { (word.zh) } }
                @if let Some(code) = &arrival.gate.instance.code { p.code { (code) } }
                @if let Some(advice) = &arrival.gate.advice { (sentence(advice)) }
                @for (code, advice) in further(arrival) {
                    p.further { span.badge { (code) } " " (advice.en) " " span lang="zh" { (advice.zh) } }
                }
                p.facts { (facts(arrival)) " · " (ago(arrival.gate.received_at, now)) }
            }
        }
    }
}

fn card(arrival: &Arrival, now: Timestamp) -> Markup {
    let word = word(arrival);
    html! {
        article class={ "arrival " (word.class) } {
            (picture(arrival))
            p.word { span.sign { (word.sign) } " " (word.en) " " span lang="zh" { (word.zh) } }
            @if let Some(code) = &arrival.gate.instance.code { p.code { (code) } }
            @if let Some(advice) = &arrival.gate.advice { (sentence(advice)) }
            p.facts { (facts(arrival)) " · " (ago(arrival.gate.received_at, now)) }
        }
    }
}

fn sentence(advice: &Bilingual) -> Markup {
    html! { p.advice lang="en" { (advice.en) } p.advice lang="zh" { (advice.zh) } }
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

fn picture(arrival: &Arrival) -> Markup {
    html! {
        figure {
            @match &arrival.gate.picture {
                Some(picture) => img src={ "/pictures/" (picture.sha256) "/" (picture.bytes) } alt="a frame of the loop" decoding="sync";,
                None => div.dark { "No frame can be shown. 无可显示的图像。" }
            }
        }
    }
}

fn facts(arrival: &Arrival) -> Markup {
    let instance = &arrival.gate.instance;
    html! {
        @if arrival.gate.study.synthetic { span.badge.phantom { "PHANTOM" } " " }
        @if let Some(view) = instance.view { (format!("{view:?}")) " · " }
        (instance.frames) @if instance.frames == 1 { " frame" } @else { " frames" }
        @if let Some(fps) = instance.timing.and_then(|timing| timing.fps) { " · " (format!("{fps:.0}")) " fps" }
    }
}

/// The newest study's loops by what was said of them, and its own verdict once there is one.
fn study_so_far(newest: &Arrival, arrivals: &[Arrival]) -> Markup {
    let study = &newest.gate.study.study_uid;
    let same = || arrivals.iter().filter(|arrival| arrival.gate.study.study_uid == *study);
    let count = |wanted: &Word| same().filter(|arrival| word(arrival).class == wanted.class).count();
    html! {
        section.so-far {
            span { "This study 本次检查" }
            @for word in WORDS {
                span class=(word.class) { b { (word.sign) " " (count(word)) } " " (word.en) " " span lang="zh" { (word.zh) } }
            }
            @match newest.study_state.as_deref() {
                None => span { "Open; its verdict follows. 检查未结束，结论随后给出。" },
                Some(state) => a href={ "/studies/" (study) } {
                    "Study " span.mono { (shortened(study.as_str())) } ": " (state.replace('_', " "))
                    @if let Some(reason) = &newest.study_reason { " " (reason) }
                }
            }
        }
    }
}

/// How long ago, for people.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now - at).total(Unit::Second).unwrap_or_default().max(0.0);
    let (number, en, zh) = match seconds {
        s if s < 60.0 => (s, "s", "秒前"),
        s if s < 7200.0 => (s / 60.0, "min", "分钟前"),
        s if s < 172_800.0 => (s / 3600.0, "h", "小时前"),
        s => (s / 86_400.0, "days", "天前"),
    };
    format!("{number:.0} {en} ago {number:.0} {zh}")
}

/// An AE title as a segment of a path: it may hold spaces, slashes and more.
fn in_path(ae_title: &str) -> String {
    let escaped = ae_title.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    escaped.collect()
}
