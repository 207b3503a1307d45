//! Which assignment protocol a group follows: one that all its members support.

use std::collections::BTreeMap;

use crate::group::member::Profile;

/// Whether a newcomer supports something that all the others support.
pub(super) fn has_common(newcomer: &Profile, others: &[&Profile]) -> bool {
    newcomer.protocols.iter().any(|protocol| is_common(&protocol.name, others))
}

/// Of the protocols everyone supports, the one most members like best; of equals, the first by name.
pub(super) fn select(profiles: &[&Profile]) -> Option<String> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for profile in profiles {
        if let Some(liked) = profile.protocols.iter().find(|protocol| is_common(&protocol.name, profiles)) {
            *votes.entry(&liked.name).or_default() += 1;
        }
    }
    let most = votes.values().max().copied()?;
    votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
}

fn is_common(name: &str, profiles: &[&Profile]) -> bool {
    profiles.iter().all(|profile| profile.protocols.iter().any(|own| own.name == name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::group::member::Protocol;

    fn profile(names: &[&str]) -> Profile {
        Profile {
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout: Duration::ZERO,
            rebalance_timeout: Duration::ZERO,
            protocols: names
                .iter()
                .map(|name| Protocol { name: (*name).to_owned(), metadata: Vec::new() })
                .collect(),
        }
    }

    #[test]
    fn the_one_most_members_like_best_of_those_all_support_is_chosen() {
        let [a, b, c] = [
            profile(&["sticky", "range"]),
            profile(&["range", "sticky"]),
            profile(&["new", "range", "sticky"]),
        ];
        assert_eq!(select(&[&a, &b, &c]).as_deref(), Some("range"));
        assert_eq!(select(&[&a, &profile(&["new"])]), None);
    }

    #[test]
    fn a_newcomer_needs_one_protocol_that_all_others_support() {
        let [a, b] = [profile(&["sticky", "range"]), profile(&["range"])];
        assert!(has_common(&profile(&["range", "new"]), &[&a, &b]));
        assert!(!has_common(&profile(&["sticky"]), &[&a, &b]));
        assert!(has_common(&profile(&["any"]), &[]));
        assert!(!has_common(&profile(&[]), &[]));
    }
}
