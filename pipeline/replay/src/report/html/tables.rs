//! What was compared, the noise floor, every measure, and how to read them.

use maud::{Markup, html};

use super::{Say, badge};
use crate::{
    diff::observed::{Observed, Spread},
    diff::property::Margin,
    report::{Report, words},
    result::Arm,
    verdict::{Measure, Outcome},
};

fn arm(arm: Arm) -> schemas::Bilingual {
    match arm {
        Arm::Live => words::both("what the live system stored", "在线系统已存结果"),
        Arm::Baseline => words::both("the present configuration, computed again", "当前配置,重新计算"),
        Arm::Candidate => words::both("the candidate", "候选版本"),
    }
}

pub(super) fn compared(report: &Report, say: Say) -> Markup {
    let facts = &report.facts;
    html! {
        h2 { (say.t("What was compared", "比较对象")) }
        dl {
            dt { (say.t("Baseline", "基线")) } dd { (say.both(&arm(report.baseline_arm))) }
            dt { (say.t("Its repetition", "基线重复")) }
            dd { @match report.repetition_arm {
                Some(repeated) => (say.both(&arm(repeated))),
                None => (say.t("none", "无")),
            } }
            dt { (say.t("Studies of the plan", "计划检查数")) }
            dd {
                (facts.inputs)
                @if facts.lost_inputs > 0 {
                    "; " (facts.lost_inputs) " " (say.t("lost by retention or the blob store", "已被保留期或存储清除"))
                }
            }
            @if !facts.start_stage.is_empty() {
                dt { (say.t("Entered at", "起始阶段")) } dd { (say.both(&words::subject(&facts.start_stage))) }
            }
            @if let Some(hash) = &facts.plan_sha256 { dt { (say.t("Plan", "计划")) } dd.mono { (hash) } }
        }
        @if !facts.pins.is_empty() {
            div.scroll { table {
                thead { tr { th { (say.t("Pinned", "固定项")) } th { (say.t("Baseline", "基线")) } th { (say.t("Candidate", "候选")) } } }
                tbody {
                    @for pin in &facts.pins {
                        @let same = pin.baseline == pin.candidate;
                        tr class=(if same { "quiet" } else { "" }) {
                            td { (pin.name) }
                            td.mono.was[!same] { (pin.baseline) }
                            td.mono.changed[!same] { (pin.candidate) }
                        }
                    }
                }
            } }
        }
    }
}

pub(super) fn noise(report: &Report, say: Say) -> Markup {
    let judged =
        || report.measures.iter().filter(|measure| measure.margin != Margin::None && measure.pairs > 0);
    let moved: Vec<&Measure> = judged()
        .filter(|measure| measure.noise.as_ref().is_some_and(|noise| !is_still(&noise.observed)))
        .collect();
    let still = judged()
        .filter(|measure| measure.noise.as_ref().is_some_and(|noise| is_still(&noise.observed)))
        .count();
    let unknown = judged().filter(|measure| measure.noise.is_none()).count();
    html! {
        h2 { (say.t("Noise floor", "噪声基线")) small { " " (say.t("baseline against its own repetition", "基线与其重复的比较")) } }
        @if report.repetition_arm.is_none() {
            p.stacked { (say.t(
                "The baseline was not repeated. Without a noise floor nothing passes.",
                "基线未重复。没有噪声基线则不能通过。",
            )) }
        } @else {
            p.stacked { (say.t(
                &format!("{still} measures without any difference; {} with some; {unknown} of which the repetition does not speak (times, costs, failures and truths need none).", moved.len()),
                &format!("{still} 项指标毫无差异;{} 项有差异;{unknown} 项在重复中无数据(用时、成本、失败与真值不需要)。", moved.len()),
            )) }
        }
        @if !moved.is_empty() {
            div.scroll { table {
                thead { tr {
                    th { (say.t("Measure", "指标")) } th.number { (say.t("Pairs", "配对")) }
                    th { (say.t("Difference from itself", "与自身的差异")) } th { (say.t("Margin", "界值")) } th {}
                } }
                tbody {
                    @for measure in moved {
                        @if let Some(noise) = &measure.noise {
                            tr {
                                td { (say.both(&words::measure(&measure.what))) }
                                td.number { (noise.pairs) }
                                td.stacked { (say.both(&words::change(&noise.observed))) }
                                td { (say.both(&words::margin(measure.margin))) }
                                td { @if noise.beyond_margin { (badge(Outcome::Noisy, say)) } @else { (badge(Outcome::Within, say)) } }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn is_still(observed: &Observed) -> bool {
    match observed {
        Observed::Presence { discordant, .. } => discordant.count == 0,
        Observed::Identity { changed } => changed.count == 0,
        Observed::Points { moved, .. } => *moved == 0,
        Observed::Ratio { ratio, .. } => ratio.is_some_and(|ratio| ratio.value == 1.0),
        Observed::Score { baseline, candidate, .. } => baseline == candidate,
    }
}

/// Stages in the order of the data's way.
const ORDER: [&str; 6] = ["quality_gate", "keyframes", "inference", "reporting", "total", "truth"];

pub(super) fn measures(report: &Report, say: Say) -> Markup {
    let mut subjects: Vec<&str> =
        report.measures.iter().map(|measure| measure.what.subject.as_str()).collect();
    subjects.dedup();
    subjects.sort_by_key(|subject| ORDER.iter().position(|known| known == subject).unwrap_or(ORDER.len()));
    html! {
        h2 { (say.t("Every measure", "全部指标")) small { " " (say.t("what moved stands first in its stage", "各阶段中有变化者在前")) } }
        div.scroll { table {
            thead { tr {
                th { (say.t("Measure", "指标")) } th.outcome { (say.t("Outcome", "结论")) } th.number { (say.t("Pairs", "配对")) }
                th.number { (say.t("Baseline", "基线")) } th.number { (say.t("Candidate", "候选")) }
                th.wide { (say.t("Change and its tests", "变化与检验")) } th.margin { (say.t("Margin", "界值")) }
            } }
            @for subject in subjects {
                tbody {
                    tr.stage { th colspan="7" { (say.both(&words::subject(subject))) } }
                    @for measure in of_subject(report, subject) { (row(measure, say)) }
                }
            }
        } }
    }
}

fn of_subject<'a>(report: &'a Report, subject: &str) -> Vec<&'a Measure> {
    let mut found: Vec<&Measure> =
        report.measures.iter().filter(|measure| measure.what.subject == subject).collect();
    found.sort_by_key(|measure| (measure.outcome, is_still(&measure.observed)));
    found
}

fn row(measure: &Measure, say: Say) -> Markup {
    let quiet = is_still(&measure.observed) && measure.outcome != Outcome::TooFew || measure.pairs == 0;
    let [baseline, candidate] = sides(&measure.observed);
    html! {
        tr class=(if quiet { "quiet" } else { "" }) {
            td { (say.both(&words::property(&measure.what.property))) }
            td {
                (badge(measure.outcome, say))
                @if let Some(pairs) = measure.pairs_needed { br; small { (say.t("needs about", "约需")) " " (pairs) } }
            }
            td.number { (measure.pairs) }
            td.number { (baseline) }
            td.number { (candidate) }
            td {
                @if measure.pairs > 0 {
                    div.stacked { (say.both(&words::change(&measure.observed))) }
                    small { (tests(&measure.observed)) }
                }
            }
            td.stacked { (say.both(&words::margin(measure.margin))) }
        }
    }
}

fn sides(observed: &Observed) -> [String; 2] {
    let spread = |of: &Option<Spread>| {
        of.as_ref().map_or_else(String::new, |of| {
            format!("{} ({})", words::quantity(of.median), words::quantity(of.p95))
        })
    };
    match observed {
        Observed::Presence { baseline, candidate, .. } => [baseline.to_string(), candidate.to_string()],
        Observed::Ratio { baseline, candidate, .. } => [spread(baseline), spread(candidate)],
        Observed::Score { baseline, candidate, .. } => [format!("{baseline:.3}"), format!("{candidate:.3}")],
        Observed::Identity { .. } | Observed::Points { .. } => [String::new(), String::new()],
    }
}

fn tests(observed: &Observed) -> Markup {
    let p = |value: f64| if value < 0.001 { "< 0.001".to_owned() } else { format!("= {value:.3}") };
    html! {
        @match observed {
            Observed::Presence { discordant, exact_p, mid_p, holm_p, .. } if discordant.count > 0 => {
                "p " (p(*exact_p)) ", mid " (p(*mid_p)) ", Holm " (p(*holm_p))
            },
            Observed::Points { equivalence: Some(found), .. } => {
                "TOST p " (p(found.p)) ", " (words::signed(found.low)) " … " (words::signed(found.high))
            },
            _ => {},
        }
    }
}

pub(super) fn transitions(report: &Report, say: Say) -> Markup {
    let table = |of: &str, en: &str, zh: &str| {
        let rows: Vec<_> = report.transitions.iter().filter(|row| row.of == of).collect();
        html! {
            @if !rows.is_empty() {
                h3 { (say.t(en, zh)) }
                div.scroll { table {
                    thead { tr { th { (say.t("Baseline", "基线")) } th { (say.t("Candidate", "候选")) } th.number { (say.t("Studies", "检查数")) } } }
                    tbody { @for row in rows {
                        @let same = row.from == row.to;
                        tr class=(if same { "quiet" } else { "" }) {
                            td.was[!same] { (row.from) } td.changed[!same] { (row.to) } td.number { (row.studies) }
                        }
                    } }
                } }
            }
        }
    };
    html! {
        h2 { (say.t("From which word to which", "结论变化")) }
        (table("verdict", "Verdict", "质量结论"))
        (table("certainty", "Certainty", "确定度"))
        @if let Some(shift) = &report.calibration {
            h3 { (say.t("Calibration, against the truth", "校准(对照真值)")) }
            div.scroll { table {
                thead { tr { th { (shift.studies) " " (say.t("studies of known truth", "例有真值")) } th.number { (say.t("Baseline", "基线")) } th.number { (say.t("Candidate", "候选")) } th.number { (say.t("Promised", "承诺")) } } }
                tbody {
                    tr { td { (say.t("intervals that hold the truth", "区间包含真值")) }
                        @for share in shift.coverage { td.number { (share.map_or("–".to_owned(), words::percent)) } }
                        td.number { (shift.promised.map_or("–".to_owned(), words::percent)) } }
                    tr { td { (say.t("mean absolute error, points", "平均绝对误差")) }
                        @for error in shift.absolute_error { td.number { (error.map_or("–".to_owned(), words::quantity)) } }
                        td.number { "–" } }
                }
            } }
        } @else {
            p.note { (say.t("No truth: calibration cannot be compared.", "无真值:无法比较校准。")) }
        }
    }
}

pub(super) fn method(report: &Report, say: Say) -> Markup {
    let margins = &report.margins;
    html! {
        h2 { (say.t("How to read this", "阅读说明")) }
        ul.note {
            li.stacked { (say.t(
                "A measure is within its margin only where its whole interval is (equivalence); that a test finds nothing is never enough. Of a share this is the one-sided Clopper-Pearson bound of the studies that differ, in either direction.",
                "仅当整个区间落在界值之内时,指标才算等效;检验未见差异并不足够。比例采用不一致检查的单侧 Clopper-Pearson 上限(不分方向)。",
            )) }
            li.stacked { (say.t(
                "p: McNemar's exact two-sided test of the studies that differ; mid: its mid-p; Holm: adjusted over all measures of the same kind at that stage.",
                "p:不一致检查的 McNemar 精确双侧检验;mid:mid-p;Holm:对同一阶段同类指标的多重校正。",
            )) }
            li.stacked { (say.t(
                "Numbers: candidate less baseline; bias and limits of agreement by Bland and Altman, TOST: two one-sided tests. Times and costs: median (95 % quantile) of each side; ratio of medians for times, of means for costs, by paired bootstrap.",
                "数值:候选减基线;偏倚与一致性界限按 Bland-Altman,TOST 为双单侧检验。用时与成本:各侧中位数(95 % 分位);用时取中位数之比,成本取均值之比,配对自助法。",
            )) }
            li.stacked { (say.t(
                "Without the truth nobody can say which answer is the better one: a change in either direction beyond the margin is a regression until a person says otherwise.",
                "没有真值就无法判断哪个回答更好:任一方向超出界值的变化均视为退步,直至有人确认。",
            )) }
        }
        p.note.mono {
            "alpha " (margins.alpha) ", min_pairs " (margins.min_pairs) ", resamples " (margins.resamples) ", seed " (report.seed)
            ", memo hits " (report.memo_hits) " (live " (report.live_memo_hits) ")"
        }
    }
}
