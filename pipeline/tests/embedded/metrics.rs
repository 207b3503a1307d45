//! What Prometheus is told: every family of a running system with its type and labels, as `metrics.txt` lists them.

use std::collections::{BTreeMap, BTreeSet};

use schemas::Priority;

use crate::harness::{
    process::{Place, Service},
    studies::{make, make_spoilt, small, submit},
    topic::{Raw, produce},
};

/// A line: name, type, labels with commas between them or `-`; `?` at its end where a healthy run may have none.
const LISTED: &str = include_str!("metrics.txt");

/// Values that one label may have, times those of the others: buckets apart, nothing comes near it.
const MOST_SERIES: usize = 200;

#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    series: BTreeSet<String>,
}

/// The families of an exposition, buckets and sums taken for what they belong to.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            name.clone_into(&mut current);
            families.insert(current.clone(), Family { kind: kind.to_owned(), ..Family::default() });
        }
        let Some((labels, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) else {
            continue;
        };
        let family = families.get_mut(&current).unwrap();
        // No value of ours holds a comma or a quote.
        let labels: Vec<(&str, &str)> = labels
            .split(',')
            .map(|label| label.split_once('=').unwrap())
            .filter(|(name, _)| *name != "le")
            .collect();
        family.labels.extend(labels.iter().map(|(name, _)| (*name).to_owned()));
        family.series.insert(format!("{labels:?}"));
    }
    families
}

fn page_of(service: &Service) -> String {
    let (status, page) = service.get("/metrics");
    assert_eq!(status, 200);
    page
}

#[test]
fn every_family_is_listed_with_its_type_and_labels_and_none_names_a_study() {
    let place = Place::new("service that is watched");
    let folder = place.folder("studies");
    let mut service = place.start();
    let entry = service.entry();
    let (good, blurred) = (make(&small(61), &folder), make_spoilt(62, "blur:5", &folder));
    submit(&good, || place.entry());
    submit(&blurred, || place.entry());
    assert_eq!(service.terminal(&good.uid).state, "reported");
    assert_eq!(service.terminal(&blurred.uid).state, "rejected");
    // Whoever may write to a topic makes no series without end: a header's text is no label.
    let raw = Raw {
        key: b"x".to_vec(),
        payload: b"{".to_vec(),
        headers: vec![("DOE^JANE".to_owned(), b"1".to_vec())],
        ..Raw::default()
    };
    produce(&entry.broker, "study.acquired.v1", &raw);
    service.until("the dead letter is counted", || {
        (service_metric(&entry.url, "prescreen_dlq_waiting") >= 1.0).then_some(())
    });

    let page = page_of(&service);
    let found = families(&page);
    let mut listed = BTreeSet::new();
    for line in LISTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, kind, labels, ..] = words[..] else { panic!("{line} is not name, type, labels") };
        listed.insert(name.to_owned());
        let Some(family) = found.get(name) else {
            assert_eq!(words.get(3), Some(&"?"), "{name} is listed and not there");
            continue;
        };
        assert_eq!(family.kind, kind, "{name}");
        let labels: BTreeSet<String> =
            labels.split(',').filter(|label| *label != "-").map(str::to_owned).collect();
        assert_eq!(family.labels, labels, "{name}");
        assert!(family.series.len() <= MOST_SERIES, "{name} has {} series", family.series.len());
    }
    let unlisted: Vec<&String> = found.keys().filter(|name| !listed.contains(*name)).collect();
    assert!(unlisted.is_empty(), "add to tests/embedded/metrics.txt: {unlisted:?}");
    for secret in [good.uid.as_str(), blurred.uid.as_str(), "DOE", "2.25."] {
        assert!(!page.contains(secret), "{secret} is on the page of metrics");
    }
    assert_eq!(service.metric("prescreen_quality_rejections_total", "reason=\"BLUR\""), 1.0);
    assert_eq!(service.metric("prescreen_studies_accepted_total", ""), 1.0);
    let routine =
        format!("priority=\"{}\"", serde_json::to_value(Priority::Routine).unwrap().as_str().unwrap());
    assert_eq!(service.metric("prescreen_study_end_to_end_seconds_count", &routine), 2.0);
    service.stop();
}

fn service_metric(url: &str, name: &str) -> f64 {
    let page = ureq::get(format!("{url}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(f64::NAN)
}
