//! How a study is named in logs: a short keyed hash, never its UID.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Makes the hashes of one process or site. With the same secret the same study has the same hash everywhere.
#[derive(Clone)]
pub struct LogKey(Hmac<Sha256>);

impl LogKey {
    /// A hash keyed with `secret`, which stays out of logs and configuration dumps.
    pub fn new(secret: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// The first 48 bits of HMAC-SHA-256 of `id`, in hexadecimal.
    pub fn hash(&self, id: &[u8]) -> String {
        let tag = self.0.clone().chain_update(id).finalize().into_bytes();
        let bits = tag.iter().take(6).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        format!("{bits:012x}")
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_and_study_give_the_same_hash_and_others_do_not() {
        let key = LogKey::new(b"secret");
        assert_eq!(key.hash(b"1.2.3"), LogKey::new(b"secret").hash(b"1.2.3"));
        assert_ne!(key.hash(b"1.2.3"), key.hash(b"1.2.4"));
        assert_ne!(key.hash(b"1.2.3"), LogKey::new(b"other").hash(b"1.2.3"));
        assert_eq!(key.hash(b"1.2.3").len(), 12);
        assert!(!format!("{key:?}").contains("115"));
    }
}
