//! Storing a file part by part: only a few MiB of it are in memory, and it appears under its key whole or not at all.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use object_store::{Error, ObjectStore, PutMultipartOptions, path::Path as Key};
use schemas::{Area, BlobRef};
use sha2::{Digest as _, Sha256};
use stage::Source;

use super::PART_BYTES;

/// The reference to a file's content.
pub(super) fn digest_of(area: Area, file: &mut File) -> io::Result<BlobRef> {
    let mut digest = Sha256::new();
    let bytes = io::copy(file, &mut digest)?;
    Ok(BlobRef { area, sha256: schemas::Digest::from_bytes(digest.finalize().into()), bytes })
}

/// Stores the file in parts. One that is no longer what was hashed is not stored.
pub(super) async fn upload(store: &dyn ObjectStore, blob: &BlobRef, path: &Path) -> Result<(), Error> {
    let generic = |source: Source| Error::Generic { store: "blobs", source };
    let mut upload = store.put_multipart_opts(&Key::from(blob.key()), PutMultipartOptions::default()).await?;
    let mut digest = Sha256::new();
    let mut parts = async || -> Result<(), Error> {
        // Blocking reads: these threads serve nothing but this store.
        let mut file = File::open(path).map_err(|error| generic(Box::new(error)))?;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            file.by_ref()
                .take(PART_BYTES as u64)
                .read_to_end(&mut part)
                .map_err(|error| generic(Box::new(error)))?;
            if part.is_empty() {
                break;
            }
            digest.update(&part);
            upload.put_part(part.into()).await?;
        }
        Ok(())
    };
    let sent = parts().await.and_then(|()| {
        if schemas::Digest::from_bytes(digest.finalize().into()) == blob.sha256 {
            Ok(())
        } else {
            Err(generic("the file changed while it was stored".into()))
        }
    });
    if let Err(error) = sent {
        upload.abort().await?;
        return Err(error);
    }
    upload.complete().await.map(|_| ())
}
