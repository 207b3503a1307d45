//! Dead letters that go back: what a redrive leaves in the tables, whatever happened meanwhile.

use std::time::Duration;

use console::site::DeadLetterFilter;
use jiff::{SignedDuration, Timestamp};
use schemas::RunId;
use serde_json::json;

use super::{ABSTAINS, Store};
use crate::store::{
    Redrove, Settled, Waiting, Wanted, audit, dead_letters, settle_letters, state_counts, waiting_letters,
};

fn waiting(store: &Store, number: u32) -> Vec<Waiting> {
    let all =
        waiting_letters(&store.database, Wanted { limit: 1_000, ..Wanted::default() }).expect("an answer");
    let uid = super::study(number).to_string();
    all.into_iter().filter(|letter| letter.row.study_uid.as_ref() == Some(&uid)).collect()
}

fn settle(store: &Store, letter: &Waiting, lies: Option<(i32, i64)>) -> i64 {
    let settled = Settled {
        topic: letter.row.topic.clone(),
        origin: letter.origin,
        stage: letter.row.stage.clone(),
        lies,
    };
    let redrove = Redrove {
        settled: vec![settled],
        provisional: vec!["instance.gated.v1".to_owned()],
        by: "engineer".to_owned(),
        subject: "every topic".to_owned(),
        detail: json!({ "sent": 1 }),
        at: Timestamp::now(),
    };
    settle_letters(&store.database, redrove).expect("settled")
}

fn state(store: &Store, number: u32) -> String {
    store.states(number).remove(0).1
}

pub(super) fn a_study_goes_on_when_no_letter_of_it_waits_any_more(store: &mut Store) {
    let rows = audit::verify(&store.database).expect("an answer").expect("whole");
    let acquired = store.acquired(20, 1, 2_000);
    let letter = store.letter(acquired.headers.clone(), 200);
    store.keep(&[acquired, letter.clone()]);
    let found = waiting(store, 20);
    assert_eq!((found.len(), found[0].state.as_deref()), (1, Some("dead_lettered")));
    assert!(found[0].event.is_some() && !found[0].overtaken && !found[0].went_back);

    let deadline = SignedDuration::try_from(Duration::from_hours(1)).expect("a time");
    let unaccounted = |store: &Store| {
        state_counts(&store.database, &RunId::live(), Timestamp::now(), deadline).expect("counts").unaccounted
    };
    let before = unaccounted(store);
    assert_eq!(settle(store, &found[0], Some((1, 77))), rows + 1, "the audit log's row");
    assert_eq!((state(store, 20).as_str(), waiting(store, 20).len()), ("in_progress", 0));
    assert_eq!(unaccounted(store), before, "it was closed long ago, and is as old as its redrive");
    assert!(store.timeline(20).dead_letters[0].redriven_at.is_some());

    // The store reads the letter once more: it settles nothing again.
    store.keep(&[letter]);
    assert_eq!(state(store, 20), "in_progress");
    let listed = |redriven| {
        let filter = DeadLetterFilter {
            redriven,
            topic: Some("study.acquired.v1".to_owned()),
            ..DeadLetterFilter::default()
        };
        let rows = dead_letters(&store.database, &filter).expect("a list");
        rows.iter().filter(|row| row.study_uid.as_deref() == Some("2.25.20")).count()
    };
    assert_eq!((listed(false), listed(true)), (0, 1));
    let report = store.report(ABSTAINS, 20, 1, 2_001);
    store.keep(&[report]);
    assert_eq!(state(store, 20), "reported");
    assert_eq!(audit::verify(&store.database).expect("an answer"), Ok(rows + 1));
}

pub(super) fn a_study_with_another_letter_or_a_later_revision_does_not_go_on(store: &mut Store) {
    // Dead twice, the second time between the sending of the first letter and its mark.
    let acquired = store.acquired(21, 1, 2_100);
    let (first, second) =
        (store.letter(acquired.headers.clone(), 210), store.letter(acquired.headers.clone(), 211));
    store.keep(&[acquired, first, second]);
    let found = waiting(store, 21);
    assert_eq!(found.len(), 2);
    settle(store, &found[0], Some((0, 300)));
    assert_eq!(state(store, 21), "dead_lettered");
    let left = waiting(store, 21);
    assert_eq!((left.len(), left[0].origin), (1, found[1].origin));
    assert!(left[0].went_back, "the same event went back after it had died");
    settle(store, &left[0], None);
    assert_eq!(state(store, 21), "in_progress");

    let acquired = store.acquired(22, 1, 2_200);
    let letter = store.letter(acquired.headers.clone(), 220);
    let later = store.acquired(22, 2, 2_201);
    store.keep(&[acquired, letter, later]);
    let found = waiting(store, 22);
    assert!(found[0].overtaken);
    settle(store, &found[0], None);
    assert_eq!(store.states(22), [(2, "in_progress".to_owned()), (1, "superseded".to_owned())]);

    // An end by another way meanwhile stands.
    let acquired = store.acquired(23, 1, 2_300);
    let letter = store.letter(acquired.headers.clone(), 230);
    let report = store.report(ABSTAINS, 23, 1, 2_301);
    store.keep(&[acquired, letter, report]);
    let found = waiting(store, 23);
    assert_eq!(found[0].state.as_deref(), Some("reported"));
    settle(store, &found[0], Some((0, 301)));
    assert_eq!(state(store, 23), "reported");
}
