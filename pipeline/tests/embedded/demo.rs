//! `demo --once`: what a newcomer sees.

use crate::harness::process::{Place, stderr, stdout};

#[test]
fn each_study_ends_in_a_report_beside_its_truth() {
    let place = Place::new("demo").set("model.path=\"glm4v-phantom-demo\"");
    let output = place.cli(&["demo", "--once", "--studies", "3", "--port", "0"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", stderr(&output));
    assert_eq!(text.lines().filter(|line| line.contains("  reported  ")).count(), 3, "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('…')).collect();
    assert_eq!(rows.len(), 3, "{text}");
    let mut errors = Vec::new();
    for row in rows {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let ejection_fraction: f64 = columns[1].parse().unwrap();
        assert!((15.0..=75.0).contains(&ejection_fraction), "the truth: {row}");
        assert_eq!(columns[2], "%", "{row}");
        assert!(row.contains("accept"), "{row}");
        assert!(row.contains("SYNTHETIC"), "a model of phantoms says so: {row}");
        match columns[3].parse::<f64>() {
            Ok(found) => errors.push((found - ejection_fraction).abs()),
            Err(_) => assert!(row.contains("ABSTAIN"), "no number, and no reason: {row}"),
        }
    }
    assert!(errors.len() >= 2 && errors.iter().all(|error| *error < 12.0), "{text}");
    assert!(text.contains("Peak memory of this process: "), "{text}");
    assert!(text.contains("Console: http://127.0.0.1:"), "{text}");
    assert!(text.contains("/acquisition/PHANTOM"), "{text}");
    assert!(text.contains("For reference only"), "{text}");
}
