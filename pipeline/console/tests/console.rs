//! The console over a real socket, with a site in memory behind it.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use console::{
    Console, Token,
    site::{
        Arrival, ConfirmedStudy, Received, Sender, Site, SiteError, StateCounts, Status, StudyFilter,
        StudyRow, StudyTimeline, TimelineDeadLetter, TimelineEvent, UploadOptions,
    },
};
use jiff::Timestamp;
use schemas::{Area, Bilingual, BlobRef, InstanceGated, InstanceUid, Priority, Revision, StudyUid};
use tokio::{runtime::Runtime, sync::watch};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HOSTILE: &str = "<script>alert(1)</script>\"'&";
const KNOWN: &str = "2.25.1";
/// An AE title that has to be escaped in a path.
const ODD_AE: &str = "US 1/2?#%&<b>";

/// A rejected loop of a study that is still open.
fn blurred() -> Arrival {
    let example = include_str!("../../../schemas/topics/instance.gated.v1/examples/blurred.json");
    let mut gate: InstanceGated = serde_json::from_str(example).expect("an example");
    gate.advice = Some(Bilingual::new(HOSTILE, HOSTILE));
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state: None, study_reason: None }
}

/// A colour loop after it, for which the gate has no use.
fn colour() -> Arrival {
    let example =
        include_str!("../../../schemas/topics/instance.gated.v1/examples/not_applicable_from_folder.json");
    let gate: InstanceGated = serde_json::from_str(example).expect("an example");
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state: None, study_reason: None }
}

/// An accepted one before it, without a picture, its study ended meanwhile.
fn accepted() -> Arrival {
    let example = include_str!("../../../schemas/topics/instance.gated.v1/examples/accepted.json");
    let mut gate: InstanceGated = serde_json::from_str(example).expect("an example");
    gate.picture = None;
    let study_state = Some("reported".to_owned());
    Arrival { gate, gated_at: Timestamp::UNIX_EPOCH, study_state, study_reason: None }
}

/// Everything this site says that could be text from outside is hostile.
#[derive(Default)]
struct MemorySite {
    /// What was uploaded, and how.
    uploads: Mutex<Vec<(Vec<u8>, UploadOptions)>>,
    closed: Mutex<Vec<StudyUid>>,
    /// Whose arrivals were asked for, and how many.
    asked: Mutex<Vec<(String, u32)>>,
    database_is_down: bool,
}

fn row() -> StudyRow {
    StudyRow {
        study_uid: KNOWN.to_owned(),
        revision: 1,
        state: "reported".to_owned(),
        reason: Some(HOSTILE.to_owned()),
        domain: Some(HOSTILE.to_owned()),
        synthetic: Some(true),
        priority: Some("urgent".to_owned()),
        instances: Some(3),
        received_at: Some(Timestamp::UNIX_EPOCH),
        terminal_at: Some(Timestamp::UNIX_EPOCH),
    }
}

impl Site for MemorySite {
    fn status(&self) -> Result<Status, SiteError> {
        if self.database_is_down {
            return Err(SiteError::Unavailable { part: "database" });
        }
        let studies = StateCounts { received: 1, reported: 1, ..StateCounts::default() };
        Ok(Status { at: Timestamp::UNIX_EPOCH, studies, spooled: 0, stages: Vec::new() })
    }

    fn studies(&self, filter: &StudyFilter) -> Result<Vec<StudyRow>, SiteError> {
        let wanted = filter.study_uid.as_ref().is_none_or(|uid| uid.as_str() == KNOWN);
        Ok(wanted.then(row).into_iter().collect())
    }

    fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, SiteError> {
        let hostile = || HOSTILE.to_owned();
        let event = TimelineEvent {
            revision: 1,
            at: Timestamp::UNIX_EPOCH,
            topic: hostile(),
            source: hostile(),
            summary: hostile(),
            deliveries: 1,
        };
        let letter = TimelineDeadLetter {
            topic: hostile(),
            partition: 0,
            offset: 0,
            stage: hostile(),
            cause: hostile(),
            detail: hostile(),
            attempts: 1,
            at: Timestamp::UNIX_EPOCH,
        };
        Ok((study.as_str() == KNOWN).then(|| StudyTimeline {
            revisions: vec![row()],
            events: vec![event],
            dead_letters: vec![letter],
            report: Some(serde_json::json!({ "of another version": HOSTILE })),
            rejection: None,
        }))
    }

    fn senders(&self) -> Result<Vec<Sender>, SiteError> {
        let sender = |ae_title: &str| Sender {
            ae_title: ae_title.to_owned(),
            instances: 2,
            last_received_at: Timestamp::UNIX_EPOCH,
        };
        Ok(vec![sender(ODD_AE), sender(HOSTILE)])
    }

    fn arrivals(&self, ae_title: &str, limit: u32) -> Result<Vec<Arrival>, SiteError> {
        self.asked.lock().expect("a lock").push((ae_title.to_owned(), limit));
        Ok(if ae_title == ODD_AE { vec![colour(), blurred(), accepted()] } else { Vec::new() })
    }

    fn confirmed_studies(&self, skip: u32, limit: u32) -> Result<Vec<ConfirmedStudy>, SiteError> {
        self.asked.lock().expect("a lock").push((format!("confirmed after {skip}"), limit));
        Ok(Vec::new())
    }

    fn picture(&self, picture: &BlobRef) -> Result<Option<Vec<u8>>, SiteError> {
        assert_eq!(picture.area, Area::Frames, "no page can name another area");
        Ok((Some(picture) == blurred().gate.picture.as_ref()).then(|| b"a picture".to_vec()))
    }

    fn metrics(&self) -> String {
        "prescreen_build_info 1\n".to_owned()
    }

    fn receive(&self, file: &Path, options: &UploadOptions) -> Result<Vec<Received>, SiteError> {
        let bytes = fs::read(file).map_err(|_| SiteError::Refused("file cannot be read".to_owned()))?;
        self.uploads.lock().expect("a lock").push((bytes, options.clone()));
        let study_uid = StudyUid::new(KNOWN).expect("a uid");
        let instance_uid = InstanceUid::new("2.25.2").expect("a uid");
        Ok(vec![Received::Stored { study_uid, instance_uid }])
    }

    fn close(&self, study: &StudyUid) -> Result<Option<Revision>, SiteError> {
        self.closed.lock().expect("a lock").push(study.clone());
        Ok(Some(Revision::FIRST))
    }
}

/// A console that serves until it is dropped.
struct Serving {
    site: Arc<MemorySite>,
    address: SocketAddr,
    uploads: tempfile::TempDir,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Serving {
    fn start(site: MemorySite) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let uploads = tempfile::tempdir().expect("a folder");
        let site = Arc::new(site);
        let token = Token::new(TOKEN).expect("a token");
        let bind = Console::bind(([127, 0, 0, 1], 0).into(), site.clone(), token, uploads.path().to_owned());
        let console = runtime.block_on(bind).expect("a free port");
        let address = console.address().expect("an address");
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(console.serve(stopped));
        Self { site, address, uploads, _stop: stop, _runtime: runtime }
    }

    /// Sends `head` and `body` as they are and reads to the end.
    fn raw(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(b"\r\nConnection: close\r\n\r\n").expect("sent");
        // A request that is refused by its head may not be read any further.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}", self.address), b"")
    }

    fn post(&self, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
        let bearer = token.map(|token| format!("\r\nAuthorization: Bearer {token}")).unwrap_or_default();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}{bearer}", self.address);
        self.raw(&head, body)
    }

    fn kept_uploads(&self) -> usize {
        fs::read_dir(self.uploads.path()).expect("a folder").count()
    }
}

#[test]
fn pages_show_hostile_texts_as_texts_and_load_nothing_from_elsewhere() {
    let console = Serving::start(MemorySite::default());
    for path in ["/", "/studies", "/studies?state=%3Cscript%3E", &format!("/studies/{KNOWN}")] {
        let page = console.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script"), "{path}: {}", page.body);
        assert!(page.body.contains("&lt;script&gt;"), "{path} shows it");
        assert!(page.body.contains("Not a medical device"), "{path}");
        assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
        assert!(page.head.contains("cache-control: no-store"), "{}", page.head);
    }
}

#[test]
fn a_machines_page_shows_code_picture_and_advice_in_both_languages_as_provisional() {
    let console = Serving::start(MemorySite::default());
    let list = console.get("/acquisition");
    let link = "/acquisition/US%201%2F2%3F%23%25%26%3Cb%3E";
    assert!(list.body.contains(&format!("href=\"{link}\"")), "{}", list.body);
    assert!(!list.body.contains("<script>") && list.body.contains("&lt;script&gt;"), "{}", list.body);

    let page = console.get(link);
    assert_eq!(page.status, 200, "{}", page.body);
    let picture = blurred().gate.picture.expect("a picture");
    for shown in [
        "BLUR",
        "Acquire again",
        "请重新采集",
        "PROVISIONAL",
        "初步判断",
        "PHANTOM",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "US 1/2?#%&amp;&lt;b&gt;",
        "Usable",
        "No frame can be shown",
        "Open; its verdict follows",
        "Not a medical device",
        &format!("/pictures/{}/{}", picture.sha256, picture.bytes),
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(
        page.body.find("BLUR") < page.body.find("COLOR_DOPPLER"),
        "what to acquire again stands first, whatever came after it"
    );
    assert!(!page.body.contains("<script>"), "{}", page.body);
    assert!(page.body.contains("<script src=\"/assets/live.js\" defer></script>"), "its only script is ours");
    assert!(page.head.contains("script-src 'self'") && page.head.contains("cache-control: no-store"));
    assert!(console.get("/assets/live.js").head.contains("text/javascript"));
    let asked = console.site.asked.lock().expect("a lock").clone();
    assert_eq!(asked, [(ODD_AE.to_owned(), 60)]);

    let answer = console.get(&format!("/pictures/{}/{}", picture.sha256, picture.bytes));
    assert_eq!((answer.status, answer.body.as_str()), (200, "a picture"));
    assert!(answer.head.contains("cache-control: private, max-age=3600, immutable"), "{}", answer.head);
    let empty = console.get("/acquisition/VIVID9");
    assert_eq!(empty.status, 200, "a screen may hang there before the first loop");
    assert!(empty.body.contains("Nothing has arrived"), "{}", empty.body);
}

#[test]
fn the_api_gives_the_same_words() {
    let console = Serving::start(MemorySite::default());
    let senders: Vec<Sender> = serde_json::from_str(&console.get("/api/acquisition").body).expect("senders");
    assert_eq!(senders[0].ae_title, ODD_AE);
    let body = console.get("/api/acquisition/US%201%2F2%3F%23%25%26%3Cb%3E?limit=7").body;
    let arrivals: Vec<Arrival> = serde_json::from_str(&body).expect("arrivals");
    assert_eq!(arrivals, [colour(), blurred(), accepted()]);
    let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&json[1]["standing"], &json[1]["instance"]["code"]), (&"provisional".into(), &"BLUR".into()));
    let asked = console.site.asked.lock().expect("a lock").clone();
    assert_eq!(asked, [(ODD_AE.to_owned(), 7)]);
}

#[test]
fn confirmed_studies_come_in_pages_of_at_most_a_thousand() {
    let console = Serving::start(MemorySite::default());
    for path in ["", "?skip=1000&limit=2", "?limit=4000"] {
        let answer = console.get(&format!("/api/calibration/studies{path}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{path}");
    }
    assert_eq!(console.get("/api/calibration/studies?last=1").status, 400);
    let asked = console.site.asked.lock().expect("a lock").clone();
    let page = |skip: u32, limit| (format!("confirmed after {skip}"), limit);
    assert_eq!(asked, [page(0, 1000), page(1000, 2), page(0, 1000)]);
}

#[test]
fn what_is_unknown_or_malformed_is_refused_with_its_status() {
    let console = Serving::start(MemorySite::default());
    let picture = format!("/pictures/{}/7", "0".repeat(64));
    for (path, status) in [
        ("/studies/2.25.404", 404),
        ("/api/studies/2.25.404", 404),
        (picture.as_str(), 404),
        ("/nowhere", 404),
        ("/studies/..%2F..%2Fetc%2Fpasswd", 400),
        ("/api/studies/1.2.%3Cscript%3E", 400),
        ("/pictures/xyz/7", 400),
        ("/api/studies?study_uid=abc", 400),
        ("/api/studies?patient=x", 400),
        ("/acquisition/AN-AE-TITLE-TOO-LONG", 400),
        ("/api/acquisition/A?patient=x", 400),
    ] {
        let answer = console.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.body.contains("script"), "{path} is not repeated");
    }
}

#[test]
fn only_the_token_may_change_something() {
    let console = Serving::start(MemorySite::default());
    let close = format!("/api/studies/{KNOWN}/close");
    let almost = format!("{}0", &TOKEN[..TOKEN.len() - 1]);
    for token in [None, Some(""), Some("wrong"), Some(almost.as_str()), Some(&TOKEN[1..])] {
        assert_eq!(console.post(&close, token, b"").status, 401, "{token:?}");
        assert_eq!(console.post("/api/instances", token, b"DICM").status, 401, "{token:?}");
    }
    assert!(console.site.closed.lock().expect("a lock").is_empty());
    assert!(console.site.uploads.lock().expect("a lock").is_empty());
    let answer = console.post(&close, Some(TOKEN), b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
}

#[test]
fn an_upload_reaches_intake_whole_and_leaves_no_file_behind() {
    let console = Serving::start(MemorySite::default());
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect();
    let answer = console.post("/api/instances?priority=urgent&synthetic=true", Some(TOKEN), &bytes);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("stored"), "{}", answer.body);
    let options = UploadOptions { priority: Some(Priority::Urgent), synthetic: true, domain: None };
    assert!(*console.site.uploads.lock().expect("a lock") == [(bytes, options)]);
    assert_eq!(console.kept_uploads(), 0);
    assert_eq!(console.post("/api/instances?patient=x", Some(TOKEN), b"").status, 400);

    // One that breaks off half-way.
    let mut stream = TcpStream::connect(console.address).expect("a connection");
    let head = format!(
        "POST /api/instances HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\nhalf",
        console.address
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    let mut rest = Vec::new();
    // The server may answer 400 or only hang up; either way it has ended with this upload.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(console.site.uploads.lock().expect("a lock").len(), 1);
    assert_eq!(console.kept_uploads(), 0);
}

#[test]
fn a_name_rebound_to_loopback_is_refused() {
    let console = Serving::start(MemorySite::default());
    let port = console.address.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        ("[::1]".to_owned(), 200),
        (format!("[::1]:{port}"), 200),
        (format!("attacker.example:{port}"), 403),
        (format!("127.0.0.1.attacker.example:{port}"), 403),
        ("localhost.attacker.example".to_owned(), 403),
    ] {
        let answer = console.raw(&format!("GET /api/status HTTP/1.1\r\nHost: {host}"), b"");
        assert_eq!(answer.status, status, "{host}");
    }
}

#[test]
fn metrics_answer_while_the_database_does_not() {
    let console = Serving::start(MemorySite { database_is_down: true, ..MemorySite::default() });
    let status = console.get("/api/status");
    assert_eq!((status.status, status.body.as_str()), (503, "database is not available at the moment"));
    assert_eq!(console.get("/metrics").body, "prescreen_build_info 1\n");
}

#[test]
fn a_short_token_is_none() {
    assert!(Token::new("short").is_none());
}
