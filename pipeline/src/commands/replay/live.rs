//! What the live system made of a plan's inputs: the rows it keeps, and the messages that still lie on its topics.
//!
//! The store keeps the messages of the last steps. Those of the steps before are found on the topics by their ids: an
//! event's id is derived from its cause, so the plan's inputs tell which to look for.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use replay::{
    plan::{Plan, canonical_sha256},
    result::{Arm, Ended, StageResult},
};
use runtime::{
    Record,
    bounded::{Bound, BoundedError, BoundedReader},
};
use schemas::{Envelope, EventId, Priority, Revision, RunId, StudyUid, event_id};

use crate::{api_client::ApiClient, exit::Failure, system::entries};

/// Rows of [`Arm::Live`] for the inputs of `plan`. A step whose message retention has deleted has none.
pub(super) fn rows(
    api: &ApiClient,
    reader: &BoundedReader,
    plan: &Plan,
) -> Result<Vec<StageResult>, Failure> {
    let studies: BTreeSet<&StudyUid> = plan.inputs.iter().map(|input| &input.study_uid).collect();
    let asked: BTreeSet<(&StudyUid, Revision)> =
        plan.inputs.iter().map(|input| (&input.study_uid, input.revision)).collect();
    let studies: Vec<StudyUid> = studies.into_iter().cloned().collect();
    let mut rows = api.live_results(&studies)?;
    rows.retain(|row| plan.stages.contains(&row.stage) && asked.contains(&(&row.study_uid, row.revision)));

    let since = since(reader, plan)?;
    let mut events: Vec<EventId> = plan.inputs.iter().map(|input| input.event_id).collect();
    for entry in entries().into_iter().filter(|entry| plan.stages.iter().any(|stage| stage == entry.name)) {
        let emitted: Vec<EventId> =
            events.iter().map(|event| event_id(&RunId::live(), entry.name, &[&event.to_string()])).collect();
        let known: BTreeSet<(StudyUid, Revision)> = rows
            .iter()
            .filter(|row| row.stage == entry.name)
            .map(|row| (row.study_uid.clone(), row.revision))
            .collect();
        // What the store keeps need not be looked for.
        let mut wanted: HashMap<EventId, (usize, EventId)> = HashMap::new();
        for (index, (input, (event, cause))) in
            plan.inputs.iter().zip(emitted.iter().zip(&events)).enumerate()
        {
            if !known.contains(&(input.study_uid.clone(), input.revision)) {
                wanted.insert(*event, (index, *cause));
            }
        }
        for (topic, lane) in
            [(entry.output.urgent(), Priority::Urgent), (entry.output.name.to_owned(), Priority::Routine)]
        {
            if wanted.is_empty() {
                break;
            }
            let (range, _) = reader.resolve(&topic, lane, &since, &Bound::Latest)?;
            reader.read::<BoundedError>(&range, |record| {
                let found = event_of(&record).and_then(|event| wanted.remove(&event));
                if let Some((index, cause)) = found {
                    rows.extend(row(plan, index, entry.name, cause, &record));
                }
                Ok(())
            })?;
        }
        events = emitted;
    }
    Ok(rows)
}

/// When the first of the inputs was written: nothing that was made of them is older.
fn since(reader: &BoundedReader, plan: &Plan) -> Result<Bound, BoundedError> {
    let mut partitions = BTreeSet::new();
    let mut earliest: Option<Timestamp> = None;
    for input in &plan.inputs {
        // Of each partition the first one: the inputs are in the order of their offsets.
        if partitions.insert((&input.place.topic, input.place.partition)) {
            let record = reader.record(&input.place.topic, input.place.partition, input.place.offset)?;
            let Some(record) = record else { return Ok(Bound::Earliest) };
            earliest = Some(earliest.map_or(record.timestamp, |earliest| earliest.min(record.timestamp)));
        }
    }
    Ok(earliest.map_or(Bound::Earliest, Bound::Time))
}

fn event_of(record: &Record) -> Option<EventId> {
    Envelope::from_headers(record.headers.iter()).ok().map(|envelope| envelope.id)
}

/// The row of a message found; none where it is no JSON, which no stage of ours writes.
fn row(plan: &Plan, index: usize, stage: &str, input_event: EventId, record: &Record) -> Option<StageResult> {
    let input = plan.inputs.get(index)?;
    let output = serde_json::from_slice(&record.payload).ok()?;
    Some(StageResult {
        arm: Arm::Live,
        study_uid: input.study_uid.clone(),
        revision: input.revision,
        stage: stage.to_owned(),
        input_event,
        ended: Ended::Emitted,
        output_sha256: canonical_sha256(&output),
        output,
        seconds: None,
        model: None,
        memo_hits: 0,
    })
}
