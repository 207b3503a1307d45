//! Every page: safe, in one language, whole, and honest when something is missing.

use std::sync::atomic::Ordering;

use crate::{
    hostile::{self, KNOWN, ODD_AE, blurred},
    serving::Serving,
    world::World,
};

const PAGES: [&str; 8] = [
    "/",
    "/pipeline",
    "/studies",
    "/studies/2.25.1",
    "/dead-letters",
    "/replays",
    "/replays/candidate-1",
    "/acquisition",
];

#[test]
fn pages_show_hostile_texts_as_texts_and_run_no_script_but_ours() {
    let console = Serving::start(hostile::world());
    for path in PAGES {
        for language in ["en", "zh"] {
            let page = console.get(&format!("{path}?lang={language}"));
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            assert!(page.body.contains("&lt;script&gt;"), "{path} shows it");
            for (at, _) in page.body.match_indices("<script") {
                assert!(
                    page.body[at..].starts_with("<script src=\"/assets/"),
                    "{path}: {}",
                    &page.body[at..]
                );
            }
            assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="), "{path}");
            assert!(!page.body.contains("=\"http"), "{path} points elsewhere: {}", page.body);
            assert!(
                page.head.contains("content-security-policy: default-src 'none'; style-src 'self'"),
                "{}",
                page.head
            );
            assert!(page.head.contains("cache-control: no-store"), "{}", page.head);
        }
    }
}

#[test]
fn a_page_is_in_one_language_whole_and_its_links_keep_it() {
    let console = Serving::start(World::default());
    for path in ["/", "/pipeline", "/studies", "/dead-letters", "/replays", "/acquisition", "/nowhere"] {
        let english = console.get(&format!("{path}?lang=en"));
        let text = english.body.replace("中文", "");
        assert!(
            text.is_ascii() || text.chars().all(|c| !('\u{4e00}'..='\u{9fff}').contains(&c)),
            "{path}: {text}"
        );
        assert!(
            english.body.contains("<html lang=\"en\">") && text.contains("Not a medical device"),
            "{path}"
        );

        let chinese = console.get(&format!("{path}?lang=zh"));
        assert!(chinese.body.contains("<html lang=\"zh-CN\">"), "{path}");
        assert!(chinese.body.contains("本系统不是医疗器械"), "{path}");
        for word in ["Overview", "Studies", "Waiting", "For reference", "No study", "Filter", "Not known"] {
            assert!(!chinese.body.contains(word), "{path} says {word}: {}", chinese.body);
        }
        assert!(chinese.body.contains("href=\"/studies?lang=zh\""), "{path}: {}", chinese.body);
        assert!(chinese.body.contains("href=\"?lang=en\""), "{path}: {}", chinese.body);
    }
    assert!(console.get_in("/", "zh-CN,zh;q=0.9").body.contains("<html lang=\"zh-CN\">"));
    assert!(console.get_in("/", "de").body.contains("<html lang=\"en\">"));
    let search = console.get("/studies?lang=zh&state=rejected");
    assert!(search.body.contains("href=\"?state=rejected&amp;lang=en\""), "{}", search.body);
    assert!(search.body.contains("<input type=\"hidden\" name=\"lang\" value=\"zh\">"), "{}", search.body);
}

#[test]
fn a_machines_page_shows_code_picture_and_advice_in_both_languages_as_provisional() {
    let console = Serving::start(hostile::world());
    let list = console.get("/acquisition");
    let link = "/acquisition/US%201%2F2%3F%23%25%26%3Cb%3E";
    assert!(list.body.contains(&format!("href=\"{link}\"")), "{}", list.body);

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
    assert_eq!(console.told(), [format!("arrivals of {ODD_AE}: 60")]);
    let chinese = console.get(&format!("{link}?lang=zh")).body;
    assert!(
        chinese.find("请重新采集") < chinese.find("Acquire again"),
        "the reader's language first: {chinese}"
    );

    let answer = console.get(&format!("/pictures/{}/{}", picture.sha256, picture.bytes));
    assert_eq!((answer.status, answer.body.as_str()), (200, "a picture"));
    assert!(answer.head.contains("cache-control: private, max-age=3600, immutable"), "{}", answer.head);
    let empty = console.get("/acquisition/VIVID9");
    assert_eq!(empty.status, 200, "a screen may hang there before the first loop");
    assert!(empty.body.contains("Nothing has arrived"), "{}", empty.body);
}

#[test]
fn what_is_unknown_or_malformed_is_a_page_with_its_status_and_never_an_echo() {
    let console = Serving::start(hostile::world());
    let picture = format!("/pictures/{}/7", "0".repeat(64));
    for (path, status) in [
        ("/studies/2.25.404", 404),
        ("/api/studies/2.25.404", 404),
        (picture.as_str(), 404),
        ("/nowhere", 404),
        ("/replays/none", 404),
        ("/replays/none/report", 404),
        ("/replays/NOT-A-RUN", 400),
        ("/studies/..%2F..%2Fetc%2Fpasswd", 400),
        ("/studies?state=%3Cscript%3E", 400),
        ("/studies?since=yesterday", 400),
        ("/studies?study_uid=abc", 400),
        ("/studies?patient=x", 400),
        ("/dead-letters?patient=x", 400),
        ("/api/studies/1.2.%3Cscript%3E", 400),
        ("/pictures/xyz/7", 400),
        ("/api/studies?study_uid=abc", 400),
        ("/api/studies?patient=x", 400),
        ("/acquisition/AN-AE-TITLE-TOO-LONG", 400),
        ("/api/acquisition/A?patient=x", 400),
        ("/api/history?since=never", 400),
        ("/api/dead-letters?patient=x", 400),
        ("/api/tap?topic=a&patient=x", 400),
        ("/api/tap?topic=not.ours.v1", 422),
    ] {
        let answer = console.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(
            !answer.body.contains("<script") && !answer.body.contains("passwd"),
            "{path} is not repeated"
        );
        let is_page = !path.starts_with("/api/") && !path.starts_with("/pictures/");
        assert_eq!(answer.body.contains("Not a medical device"), is_page, "{path}: {}", answer.body);
    }
}

#[test]
fn the_search_finds_by_uid_state_and_time() {
    let console = Serving::start(hostile::world());
    for (query, found) in [
        ("", true),
        ("?study_uid=&state=&since=", true),
        ("?study_uid=%202.25.1%20&state=reported", true),
        ("?study_uid=2.25.9", false),
        ("?state=rejected", false),
        // The study of this site is as old as the epoch.
        ("?since=24h", false),
    ] {
        let page = console.get(&format!("/studies{query}"));
        assert_eq!(page.status, 200, "{query}");
        assert_eq!(
            page.body.contains(&format!("href=\"/studies/{KNOWN}\"")),
            found,
            "{query}: {}",
            page.body
        );
    }
}

#[test]
fn a_database_that_is_down_makes_a_page_that_says_so_and_tries_again() {
    let console = Serving::start(World::default());
    console.world.database_is_down.store(true, Ordering::Relaxed);
    for path in ["/", "/pipeline", "/studies", "/studies/2.25.1", "/dead-letters"] {
        let page = console.get_in(path, "zh");
        assert_eq!(page.status, 503, "{path}");
        assert!(page.body.contains("系统的一部分没有应答"), "{path}: {}", page.body);
        assert!(page.body.contains("database is not available at the moment"), "{path}: {}", page.body);
        assert!(page.body.contains("http-equiv=\"refresh\""), "{path} tries again");
    }
    let status = console.get("/api/status");
    assert_eq!((status.status, status.body.as_str()), (503, "database is not available at the moment"));
    assert_eq!(console.get("/metrics").body, "prescreen_build_info 1\n");
    console.world.database_is_down.store(false, Ordering::Relaxed);
    assert_eq!(console.get("/").status, 200);
}

#[test]
fn a_replays_report_is_its_file_under_a_policy_that_runs_nothing() {
    let console = Serving::start(hostile::world());
    let report = console.get("/replays/candidate-1/report");
    assert_eq!(report.status, 200);
    assert!(report.body.contains("<style>p { color: red }</style>"), "byte for byte: {}", report.body);
    let policies: Vec<&str> =
        report.head.lines().filter_map(|line| line.strip_prefix("content-security-policy: ")).collect();
    assert_eq!(policies.len(), 1, "{}", report.head);
    assert!(policies[0].starts_with("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
    assert!(!policies[0].contains("script") && !policies[0].contains("allow-"), "{}", policies[0]);
    let run = console.get("/replays/candidate-1");
    assert!(run.body.contains("href=\"/replays/candidate-1/report\""), "{}", run.body);
}

#[test]
fn a_timeline_shows_every_hop_with_its_wait_and_the_end_of_it() {
    let received = jiff::Timestamp::UNIX_EPOCH;
    let at = |seconds: i64| jiff::Timestamp::from_second(seconds).expect("a time");
    let mut study = crate::reports::study(KNOWN, "calibrated", received, at(20));
    let event = |seconds, source: &str, deliveries| console::site::TimelineEvent {
        revision: 1,
        at: at(seconds),
        topic: "a.topic.v1".to_owned(),
        source: format!("/prescreen/{source}"),
        summary: "a summary".to_owned(),
        deliveries,
    };
    study.events = vec![event(0, "intake", 1), event(5, "quality_gate", 3), event(17, "keyframes", 1)];
    study.dead_letters = vec![console::site::TimelineDeadLetter {
        topic: "study.accepted.v1".to_owned(),
        partition: 4,
        offset: 99,
        stage: "keyframes".to_owned(),
        cause: "retries_exhausted".to_owned(),
        detail: "the blob store did not answer".to_owned(),
        attempts: 5,
        at: at(8),
        redriven_at: Some(at(9)),
    }];
    let console = Serving::start(World { studies: vec![study], ..World::default() });
    let page = console.get(&format!("/studies/{KNOWN}")).body;
    let timeline = &page[page.find("Timeline").expect("a timeline")..];
    crate::report::in_order(
        timeline,
        &[
            "Intake",
            "–",
            "1×",
            "Quality gate",
            "5.0 s",
            "3×",
            "Keyframes",
            "gave up",
            "study.accepted.v1[4]@99",
            "retries_exhausted",
            "Attempts 5",
            "sent back 1970-01-01 00:00:09",
            "3.0 s",
            "Keyframes",
            "9.0 s",
            "1×",
        ],
    );
    crate::report::in_order(&page, &["Versions", "Model", "Inference", "Run"]);
}
