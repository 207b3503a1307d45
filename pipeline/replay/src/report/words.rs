//! What a report calls things, in both languages. Codes and tags are names of their own and stay as they are.

use schemas::Bilingual;

use crate::{
    diff::{
        observed::{Observed, Share},
        property::{Margin, MeasureId, Property},
    },
    pairs::{Absence, Side},
    report::Report,
    statistics::agreement::Estimate,
    verdict::{Measure, Outcome, Reason, Verdict},
};

pub(super) fn both(en: impl Into<String>, zh: impl Into<String>) -> Bilingual {
    Bilingual::new(en, zh)
}

pub(super) fn verdict(verdict: Verdict) -> Bilingual {
    match verdict {
        Verdict::Pass => both("Pass", "通过"),
        Verdict::Regression => both("Regression", "退步"),
        Verdict::Inconclusive => both("Inconclusive", "无法定论"),
    }
}

/// What the verdict means in one sentence.
pub(super) fn meaning(verdict: Verdict) -> Bilingual {
    match verdict {
        Verdict::Pass => both(
            "Every judged measure is shown to lie within its margin, and the baseline agrees with itself.",
            "所有判定指标均证实在等效界值之内,且基线与自身一致。",
        ),
        Verdict::Regression => both(
            "At least one measure is shown to have changed beyond its margin.",
            "至少一项指标证实变化超出等效界值。",
        ),
        Verdict::Inconclusive => both(
            "Neither equivalence nor a change beyond a margin is shown. Finding no difference is not the same as there being none.",
            "既未证实等效,也未证实超出界值的变化。未发现差异不等于没有差异。",
        ),
    }
}

/// What to do now.
pub(super) fn advice(report: &Report) -> Bilingual {
    let needed = report.pairs_needed.map_or_else(
        || {
            both(
                "Replay more studies, or quieten the baseline (seed, sampling, load), and compare again.",
                "请增加回放检查数量,或降低基线噪声(随机种子、采样、负载)后再比较。",
            )
        },
        |pairs| {
            both(
                format!("Replay about {pairs} paired studies with a repeated baseline, and compare again."),
                format!("请回放约 {pairs} 对检查并重复基线,然后再比较。"),
            )
        },
    );
    match report.verdict {
        Verdict::Pass => both(
            format!(
                "The candidate may be promoted: prescreen replay promote {}. A physician still confirms every report.",
                report.run
            ),
            format!("候选版本可以上线:prescreen replay promote {}。每份报告仍须医师确认。", report.run),
        ),
        Verdict::Regression => both(
            "Do not promote. Read the discordant studies below, the gravest first; where the change is meant and right, promote it by force with the reason, which is recorded.",
            "请勿上线。请先阅读下列不一致检查(最严重者在前);若变化符合预期且正确,可强制上线并写明理由,理由将被记录。",
        ),
        Verdict::Inconclusive => needed,
    }
}

pub(super) fn outcome(outcome: Outcome) -> Bilingual {
    match outcome {
        Outcome::Regressed => both("beyond margin", "超出界值"),
        Outcome::Noisy => both("noise beyond margin", "噪声超出界值"),
        Outcome::Unclear => both("unclear", "不明确"),
        Outcome::TooFew => both("too few pairs", "配对过少"),
        Outcome::Improved => both("improved", "改善"),
        Outcome::Within => both("within margin", "界值之内"),
        Outcome::Shown => both("not judged", "不判定"),
        Outcome::Empty => both("no pairs", "无配对"),
    }
}

pub(super) fn subject(subject: &str) -> Bilingual {
    match subject {
        "quality_gate" => both("Quality gate", "质量检查"),
        "keyframes" => both("Keyframes", "关键帧"),
        "inference" => both("Model's answer", "模型回答"),
        "reporting" => both("Report", "报告"),
        "total" => both("Whole study", "整个检查"),
        "truth" => both("Against the truth", "对照真值"),
        other => both(other, other),
    }
}

pub(super) fn property(property: &Property) -> Bilingual {
    match property {
        Property::Failed => both("cannot be processed", "无法处理"),
        Property::Rejected => both("rejected", "拒绝"),
        Property::Caution => both("passed with cautions", "带警告通过"),
        Property::Code(code) => both(format!("reason {code}"), format!("原因 {code}")),
        Property::FitInstances => both("instances fit to be read", "合格实例"),
        Property::Frames => both("frames chosen", "所选帧"),
        Property::GeometricEf => both("ejection fraction from contours", "轮廓法射血分数"),
        Property::Abstained => both("abstains", "不作判断"),
        Property::Finding(code) => both(format!("finding {code}"), format!("所见 {code}")),
        Property::View(view) => both(format!("view {view}"), format!("切面 {view}")),
        Property::Quality(grade) => both(format!("quality {grade}"), format!("图像质量 {grade}")),
        Property::SemanticEntropy => both("semantic entropy", "语义熵"),
        Property::Certainty(certainty) => {
            both(format!("certainty {certainty}"), format!("确定度 {certainty}"))
        }
        Property::Tag(tag) => both(format!("tag {tag}"), format!("标签 {tag}")),
        Property::LvefGiven => both("gives an LVEF", "给出 LVEF"),
        Property::IntervalGiven => both("gives an interval", "给出区间"),
        Property::Lvef => both("LVEF", "LVEF"),
        Property::IntervalWidth => both("width of the interval", "区间宽度"),
        Property::Text => both("text", "报告文字"),
        Property::Seconds => both("seconds", "用时(秒)"),
        Property::Requests => both("model requests", "模型请求数"),
        Property::PromptTokens => both("prompt tokens", "输入词元"),
        Property::GeneratedTokens => both("generated tokens", "生成词元"),
        Property::Covered => both("interval holds the truth", "区间包含真值"),
        Property::AbsoluteError => both("absolute error of LVEF", "LVEF 绝对误差"),
        Property::CalibrationError => both("expected calibration error", "预期校准误差"),
    }
}

/// A measure's name where its stage is not in sight.
pub(super) fn measure(what: &MeasureId) -> Bilingual {
    let (subject, property) = (subject(&what.subject), property(&what.property));
    both(format!("{}: {}", subject.en, property.en), format!("{}:{}", subject.zh, property.zh))
}

fn named(report: &Report, id: &str) -> Bilingual {
    report.measure(id).map_or_else(|| both(id, id), |found| measure(&found.what))
}

fn list(report: &Report, ids: &[String]) -> Bilingual {
    const SHOWN: usize = 6;
    let names: Vec<Bilingual> = ids.iter().take(SHOWN).map(|id| named(report, id)).collect();
    let more = ids.len().saturating_sub(SHOWN);
    let join = |of: fn(&Bilingual) -> &str, by: &str| names.iter().map(of).collect::<Vec<_>>().join(by);
    let (en, zh) = (join(|name| &name.en, "; "), join(|name| &name.zh, ";"));
    if more == 0 {
        return both(en, zh);
    }
    both(format!("{en}; and {more} more"), format!("{zh};另有 {more} 项"))
}

pub(super) fn reason(report: &Report, reason: &Reason) -> Bilingual {
    let about = |needed: &Option<u64>| match needed {
        Some(pairs) => both(format!("; needs about {pairs} pairs"), format!(";约需 {pairs} 对")),
        None => both("", ""),
    };
    match reason {
        Reason::Regressed { measure } => {
            let name = named(report, measure);
            let seen = report.measure(measure).map_or_else(|| both("", ""), numbers);
            both(format!("{}: {}.", name.en, seen.en), format!("{}:{}。", name.zh, seen.zh))
        }
        Reason::NoNoiseFloor => both(
            "No noise floor: the baseline was not computed a second time, so nobody knows how far it differs from itself.",
            "没有噪声基线:基线未重复计算,无法得知其与自身的差异。",
        ),
        Reason::NoiseUnknown { measures } => {
            let names = list(report, measures);
            both(
                format!("The baseline's second answer does not speak of enough studies for: {}.", names.en),
                format!("基线的第二次回答在以下指标上配对不足:{}。", names.zh),
            )
        }
        Reason::Noisy { measure } => {
            let name = named(report, measure);
            both(
                format!(
                    "{}: the baseline differs from itself by more than the margin, so a change of that size says nothing.",
                    name.en
                ),
                format!("{}:基线与自身的差异超出界值,同等大小的变化不能说明问题。", name.zh),
            )
        }
        Reason::Gaps { rows } => both(
            format!("{rows} rows are missing that no rejection explains: the run is not complete."),
            format!("缺少 {rows} 行且无拒绝原因:回放未完成。"),
        ),
        Reason::TooFew { measures, pairs, needed } => {
            let (names, about) = (list(report, measures), about(needed));
            both(
                format!("Too few pairs ({pairs}){}, for: {}.", about.en, names.en),
                format!("配对过少({pairs} 对){},涉及:{}。", about.zh, names.zh),
            )
        }
        Reason::Unclear { measures, needed } => {
            let (names, about) = (list(report, measures), about(needed));
            both(
                format!("Not shown to be within the margin{}: {}.", about.en, names.en),
                format!("未证实在界值之内{}:{}。", about.zh, names.zh),
            )
        }
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// As many digits as say something; the sign of a difference always.
pub(super) fn signed(value: f64) -> String {
    // Not "-0.00".
    let value = if value.abs() < 0.005 { 0.0 } else { value };
    format!("{value:+.2}").replace('-', "\u{2212}")
}

pub(super) fn quantity(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn range(at: &Estimate) -> String {
    format!("{} … {}", signed(at.low), signed(at.high))
}

fn share(share: &Share) -> Bilingual {
    if share.count == 0 {
        let text = format!("0 / {} (≤ {})", share.pairs, percent(share.high));
        return both(text.clone(), text);
    }
    let (seen, most) = (percent(share.share), percent(share.high));
    both(
        format!("{} of {} differ ({seen}, at most {most})", share.count, share.pairs),
        format!("{} / {} 不同({seen},至多 {most})", share.count, share.pairs),
    )
}

/// What a measure came to, in one line.
pub(super) fn numbers(measure: &Measure) -> Bilingual {
    change(&measure.observed)
}

/// What was seen, in one line.
pub(super) fn change(observed: &Observed) -> Bilingual {
    match observed {
        Observed::Presence { discordant, .. } if discordant.count == 0 => share(discordant),
        Observed::Presence { discordant, lost, gained, .. } => {
            let found = share(discordant);
            both(
                format!("{}: {lost} lost, {gained} gained", found.en),
                format!("{}:减少 {lost},增加 {gained}", found.zh),
            )
        }
        Observed::Identity { changed } => share(changed),
        Observed::Points { agreement: Some(_), moved: 0, .. } => both("none moved", "均无变化"),
        Observed::Points { agreement: Some(found), beyond_step, moved, .. } => {
            let (bias, around) = (signed(found.bias.value), range(&found.bias));
            let limits = format!("{} … {}", signed(found.lower_limit.value), signed(found.upper_limit.value));
            let beyond = beyond_step.as_ref().map_or_else(
                || both("", ""),
                |beyond| {
                    both(
                        format!("; {} of {} beyond a step", beyond.count, beyond.pairs),
                        format!(";{} / {} 超过步长", beyond.count, beyond.pairs),
                    )
                },
            );
            both(
                format!("bias {bias} ({around}), limits of agreement {limits}; {moved} moved{}", beyond.en),
                format!("偏倚 {bias}({around}),一致性界限 {limits};{moved} 例有变{}", beyond.zh),
            )
        }
        Observed::Points { agreement: None, .. } => both("too few numbers", "数值过少"),
        Observed::Ratio { ratio, increase, .. } => {
            let times = ratio.as_ref().map_or_else(
                || both("no ratio", "无比值"),
                |ratio| {
                    let text = format!("× {:.3} ({:.3} … {:.3})", ratio.value, ratio.low, ratio.high);
                    both(text.clone(), text)
                },
            );
            let more = increase.as_ref().map_or_else(String::new, |increase| {
                format!(
                    "; Δ {} ({} … {})",
                    quantity(increase.value),
                    quantity(increase.low),
                    quantity(increase.high)
                )
            });
            both(times.en + &more, times.zh + &more)
        }
        Observed::Score { baseline, candidate, difference } => {
            let around = difference.as_ref().map_or_else(String::new, |found| {
                format!("; Δ {:+.3} ({:+.3} … {:+.3})", found.value, found.low, found.high)
            });
            let text = format!("{baseline:.3} → {candidate:.3}{around}");
            both(text.clone(), text)
        }
    }
}

/// What a measure is held against, in a few words.
pub(super) fn margin(margin: Margin) -> Bilingual {
    match margin {
        Margin::Count(most) => both(format!("at most {most} more"), format!("至多增加 {most}")),
        Margin::Share(most) => both(format!("< {}", percent(most)), format!("< {}", percent(most))),
        Margin::Points { bias, step, share } => both(
            format!("bias ±{bias}, < {} beyond ±{step}", percent(share)),
            format!("偏倚 ±{bias},超过 ±{step} 者 < {}", percent(share)),
        ),
        Margin::Ratio { most, floor } if floor > 0.0 => {
            both(format!("< × {most}, or ≤ {floor} more"), format!("< × {most},或增加 ≤ {floor}"))
        }
        Margin::Ratio { most, .. } => both(format!("< × {most}"), format!("< × {most}")),
        Margin::Increase(most) => both(format!("< {most} more"), format!("增加 < {most}")),
        Margin::None => both("–", "–"),
    }
}

pub(super) fn side(side: Side) -> Bilingual {
    match side {
        Side::Baseline => both("baseline", "基线"),
        Side::Candidate => both("candidate", "候选"),
        Side::Repetition => both("repetition", "重复基线"),
    }
}

pub(super) fn absence(why: &Absence) -> Bilingual {
    match why {
        Absence::EndedEarlier { stage } => {
            let stage = subject(stage);
            both(format!("ended at {}", stage.en), format!("已在{}结束", stage.zh))
        }
        Absence::NotKept => both("not kept by the live system", "在线系统未保存"),
        Absence::NoStudy => both("no row of the study", "没有该检查"),
        Absence::Unfinished => both("run not complete", "回放未完成"),
    }
}
