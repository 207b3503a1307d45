//! Whether a request's declared lengths fit its bytes, looked at before it is decoded.
//!
//! The decoder reserves memory by an array's declared length, so 20 hostile bytes could ask for gigabytes. Here each
//! request that has an array is walked through first, by its layout from Kafka's protocol guide. Only the versions that
//! [`dispatch`](crate::dispatch) offers count: none of these uses compact ("flexible") arrays.

use kafka_protocol::messages::ApiKey;

/// A field of a request.
#[derive(Debug)]
enum Field {
    I8,
    I16,
    I32,
    I64,
    /// Length i16; -1 for null.
    Text,
    /// Length i32; -1 for null.
    Bytes,
    /// Length i32; -1 for null.
    Array(&'static [Field]),
    /// Only from this version on.
    Since(i16, &'static Field),
}

use Field::{Array, Bytes, I8, I16, I32, I64, Since, Text};

const PRODUCE: &[Field] = &[Text, I16, I32, Array(&[Text, Array(&[I32, Bytes])])];
const FETCH: &[Field] = &[
    I32,
    I32,
    I32,
    I32,
    I8,
    Since(7, &I32),
    Since(7, &I32),
    Array(&[Text, Array(&[I32, Since(9, &I32), I64, Since(5, &I64), I32])]),
    Since(7, &Array(&[Text, Array(&[I32])])),
    Since(11, &Text),
];
const LIST_OFFSETS: &[Field] = &[I32, Since(2, &I8), Array(&[Text, Array(&[I32, Since(4, &I32), I64])])];
const METADATA: &[Field] = &[Array(&[Text]), Since(4, &I8), Since(8, &I8), Since(8, &I8)];
const OFFSET_COMMIT: &[Field] =
    &[Text, I32, Text, Since(7, &Text), Array(&[Text, Array(&[I32, I64, Since(6, &I32), Text])])];
const OFFSET_FETCH: &[Field] = &[Text, Array(&[Text, Array(&[I32])])];
const JOIN_GROUP: &[Field] = &[Text, I32, Since(1, &I32), Text, Since(5, &Text), Text, Array(&[Text, Bytes])];
const SYNC_GROUP: &[Field] = &[Text, I32, Text, Since(3, &Text), Array(&[Text, Bytes])];
const LEAVE_GROUP: &[Field] = &[Text, Since(3, &Array(&[Text, Text]))];
const DESCRIBE_GROUPS: &[Field] = &[Array(&[Text]), Since(3, &I8)];
const CREATE_TOPICS: &[Field] =
    &[Array(&[Text, I32, I16, Array(&[I32, Array(&[I32])]), Array(&[Text, Text])]), I32, I8];
const DELETE_TOPICS: &[Field] = &[Array(&[Text]), I32];
const DELETE_RECORDS: &[Field] = &[Array(&[Text, Array(&[I32, I64])]), I32];
const CREATE_PARTITIONS: &[Field] = &[Array(&[Text, I32, Array(&[Array(&[I32])])]), I32, I8];
const DESCRIBE_CONFIGS: &[Field] = &[Array(&[I8, Text, Array(&[Text])]), I8, Since(3, &I8)];
const DELETE_GROUPS: &[Field] = &[Array(&[Text])];

/// Whether every length declared in the request's body is covered by bytes that are there.
pub(crate) fn fit(api: ApiKey, version: i16, body: &[u8]) -> bool {
    let layout = match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::Metadata => METADATA,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::DescribeGroups => DESCRIBE_GROUPS,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => DELETE_TOPICS,
        ApiKey::DeleteRecords => DELETE_RECORDS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::DeleteGroups => DELETE_GROUPS,
        // No other request that is offered has an array.
        _ => return true,
    };
    let mut rest = body;
    skip_all(layout, version, &mut rest).is_some()
}

fn skip_all(layout: &[Field], version: i16, rest: &mut &[u8]) -> Option<()> {
    layout.iter().try_for_each(|field| skip(field, version, rest))
}

fn skip(field: &Field, version: i16, rest: &mut &[u8]) -> Option<()> {
    match field {
        I8 => take(rest, 1),
        I16 => take(rest, 2),
        I32 => take(rest, 4),
        I64 => take(rest, 8),
        Text => {
            let length = i16::from_be_bytes(*rest.first_chunk()?);
            take(rest, 2 + usize::try_from(length).unwrap_or(0))
        }
        Bytes => {
            let length = read_i32(rest)?;
            take(rest, usize::try_from(length).unwrap_or(0))
        }
        Array(element) => {
            let length = read_i32(rest)?;
            (0..length).try_for_each(|_| skip_all(element, version, rest))
        }
        Since(first, field) => {
            if version >= *first {
                skip(field, version, rest)
            } else {
                Some(())
            }
        }
    }
}

fn read_i32(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(i32::from_be_bytes(*bytes))
}

fn take(rest: &mut &[u8], count: usize) -> Option<()> {
    *rest = rest.get(count..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two topics asked for by a metadata request, version 4.
    const TWO_TOPICS: &[u8] = &[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 1];

    #[test]
    fn a_whole_request_fits_and_every_shorter_one_does_not() {
        assert!(fit(ApiKey::Metadata, 4, TWO_TOPICS));
        for end in 0..TWO_TOPICS.len() {
            assert!(!fit(ApiKey::Metadata, 4, &TWO_TOPICS[..end]), "{end}");
        }
    }

    #[test]
    fn a_declared_length_beyond_the_bytes_is_found() {
        let mut hostile = TWO_TOPICS.to_vec();
        hostile[..4].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(!fit(ApiKey::Metadata, 4, &hostile));
    }

    #[test]
    fn null_arrays_fit() {
        assert!(fit(ApiKey::Metadata, 1, &(-1_i32).to_be_bytes()));
    }
}
