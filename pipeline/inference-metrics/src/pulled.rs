//! Families whose numbers somebody else keeps, made when they are asked for.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// A label's name and value.
pub(crate) type Label = (&'static str, &'static str);

/// A family with its `samples`, each with its label if it has one.
pub(crate) fn family(
    (name, help, kind): (&str, &str, MetricType),
    samples: impl Iterator<Item = (Option<Label>, f64)>,
) -> MetricFamily {
    let metrics = samples.map(|(label, value)| {
        let mut metric = Metric::default();
        if let Some((name, value)) = label {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            metric.set_label(vec![pair]);
        }
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}
