//! scratch
use services::*; use stage::{Blobs, MemoKey}; use schemas::*;
fn main() {
    let c = S3Config{bucket:"b".into(),region:"us-east-1".into(),endpoint:Some("http://127.0.0.1:5005".into()),access_key_id:"a".into(),secret_access_key:"s".into()};
    let cache = CacheConfig{folder:"/tmp/s3cache".into(),bytes:1_000_000};
    let b = ObjectBlobs::s3(&c,&cache).unwrap();
    let r = b.put(Area::Raw, b"hello").unwrap(); b.put(Area::Raw,b"hello").unwrap();
    assert_eq!(b.get(&r).unwrap(), b"hello");
    let k = MemoKey(Digest::of(b"q")); assert_eq!(b.memo(k).unwrap(), None);
    assert_eq!(b.remember(k,b"1").unwrap(), b"1"); assert_eq!(b.remember(k,b"2").unwrap(), b"1");
    assert!(matches!(b.get(&BlobRef::of(Area::Raw,b"no")), Err(stage::BlobError::NotFound{..})));
    std::fs::write("/tmp/s3big", vec![5u8; 20_000_000]).unwrap();
    let big = b.put_file(Area::Raw, std::path::Path::new("/tmp/s3big")).unwrap();
    assert_eq!(std::fs::read(b.local_file(&big).unwrap().path()).unwrap(), vec![5u8; 20_000_000]);
    let down = ObjectBlobs::s3(&S3Config{endpoint:Some("http://127.0.0.1:5999".into()),..c.clone()},&cache).unwrap();
    let t=std::time::Instant::now(); let e = down.get(&r).unwrap_err(); println!("down: {e} {:?}", t.elapsed());
    let tls = ObjectBlobs::s3(&S3Config{endpoint:Some("https://127.0.0.1:5005".into()),..c.clone()},&cache).unwrap();
    let e = tls.get(&r).unwrap_err(); println!("tls: {e}: {:?}", std::error::Error::source(&e));
    println!("ok");
}
