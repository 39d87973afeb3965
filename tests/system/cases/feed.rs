//! The service feeds its verdicts into cases: across restarts, with the database away, and never at the cost of detection.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tripline::cases::{CaseFilter, CaseSort};

use super::super::kafka::{config, wait_until_seen};
use super::super::support::data::text;
use super::super::support::kafka::Broker;
use super::super::support::postgres::Postgres;
use super::super::support::program;
use super::super::support::service::Service;
use super::{ATTACK, Place, as_json};

/// Verdicts of a file.
fn verdicts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(verdicts: &[Value]) -> BTreeSet<String> {
    verdicts.iter().map(|verdict| verdict["id"].as_str().unwrap().to_owned()).collect()
}

async fn stored(place: &Place) -> (BTreeSet<String>, Value) {
    let cases = place.cases("").await;
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM verdicts").fetch_all(cases.database().pool()).await.unwrap();
    let page = cases.list(&CaseFilter::default(), CaseSort::Severity, None, 500).await.unwrap();
    let verified = cases.audit().verify(None).await.unwrap();
    assert_eq!(verified.broken, None);
    cases.database().close().await;
    (ids.into_iter().collect(), as_json(&page.cases))
}

fn outcome(service: &Service, outcome: &str) -> f64 {
    service.metric("tripline_case_verdicts_total", &format!("outcome=\"{outcome}\"")).unwrap_or(-1.0)
}

#[tokio::test]
async fn an_attack_on_the_service_becomes_cases_and_neither_kill_nor_restart_changes_them() {
    let (broker, place) = (Broker::shared(), Place::sqlite());
    let folder = place.folder.path();
    let topic = broker.topic("cases", 1);
    let reference = ATTACK.fit(folder);
    let lines = ATTACK.lines();
    // Short sessions, so that the second process does not wait for the first to be given up; state, so that it goes on where that was.
    let more = "[sink.verdicts]\nfile = \"verdicts.jsonl\"\n[store]\nurl = \"sqlite://cases.db\"\n[state]\nurl = \"file://STATE\"\n\
                interval = \"500ms\"\n[source.kafka.options]\n\"session.timeout.ms\" = 6000\n";
    let more = more.replace("STATE", folder.join("state").to_str().unwrap());
    let config = config(&broker.address, &topic, &reference, &more);
    let produced = broker.produce(&topic, 1, lines.iter().map(|line| (0, line.as_bytes())));
    let mut first = Service::start(folder, "first", &config).ready();
    // In the middle of the attack.
    first.wait_for("verdicts", |first| (outcome(first, "stored") > 20.0).then_some(()));
    first.signal("-KILL");
    first.ended();
    let mut second = Service::start(folder, "second", &config).ready();
    wait_until_seen(&mut [&mut second], 0);
    super::super::support::daemon::wait_for("the commit", || {
        broker.committed(&topic, &topic).iter().all(|(at, end)| at == end && *end == produced as i64).then_some(())
    });
    second.wait_for("an empty spool", |second| second.metric("tripline_case_spool_bytes", "").filter(|bytes| *bytes < 0.5));
    assert_eq!((outcome(&second, "lost"), outcome(&second, "refused")), (0.0, 0.0));
    second.wait_for("numbers of cases", |second| second.metric("tripline_cases", "open").filter(|open| *open > 0.5));
    second.stop();
    let (stored_ids, cases) = stored(&place).await;
    assert_eq!(stored_ids, ids(&verdicts(&folder.join("verdicts.jsonl"))), "every verdict is there, once");
    let expected = Place::sqlite();
    let once = expected.cases("").await;
    let replayed = folder.join("replayed.jsonl");
    let args = ["replay", "-", "--reference", text(&reference), "--verdicts", text(&replayed), "--topic", &topic];
    program::run_with(&args, &ATTACK.events()).must_succeed();
    let found: BTreeSet<_> = cases.as_array().unwrap().iter().map(|case| case["id"].as_str().unwrap().to_owned()).collect();
    let said: BTreeSet<_> = verdicts(&replayed).iter().filter_map(|line| line["case"].as_str().map(str::to_owned)).collect();
    assert!(!found.is_empty() && found.is_subset(&said), "cases have the ids of their incidents: {found:?} {said:?}");
    drop(once);
    // A third start, in which nothing happens.
    Service::start(folder, "third", &config).ready().stop();
    let (ids_after, cases_after) = stored(&place).await;
    assert_eq!((ids_after, cases_after), (stored_ids, cases));
    // The queries are kept with what they asked.
    let again = place.cases("").await;
    let page = again.list(&CaseFilter::default(), CaseSort::Queries, None, 1).await.unwrap();
    let queries = again.queries_of(&page.cases[0].id, 100).await.unwrap();
    assert!(queries.iter().any(|query| query.content["features"]["age"].is_number()), "{queries:?}");
    program::run(&["audit", "verify", text(&folder.join("cases.db"))]).must_succeed();
    let starts = program::run(&["audit", "export", text(&folder.join("cases.db")), "--action", "config.load"]);
    assert_eq!(starts.must_succeed().out.lines().count(), 3, "{}", starts.out);
}

#[tokio::test]
async fn while_the_database_is_away_detection_goes_on_and_cases_catch_up() {
    let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
    let mut server = Postgres::prepare();
    let store = server.store(folder.path());
    let topic = broker.topic("cases-away", 1);
    let reference = ATTACK.fit(folder.path());
    let lines = ATTACK.lines();
    let more = format!(
        "[sink.verdicts]\nfile = \"verdicts.jsonl\"\n[store]\nurl = \"{}\"\npassword = \"${{file:database-password}}\"\ntimeout = \"2s\"\n\
         [cases]\nspool = \"spool\"\n",
        server.url()
    );
    let config = config(&broker.address, &topic, &reference, &more);
    let half = lines.len() * 3 / 4;
    broker.produce(&topic, 1, lines[..half].iter().map(|line| (0, line.as_bytes())));
    // It begins without its database, finds the attack, and commits.
    let mut service = Service::start(folder.path(), "one", &config).ready();
    wait_until_seen(&mut [&mut service], half as u64);
    service.wait_for("verdicts in the spool", |one| one.metric("tripline_case_spool_bytes", "").filter(|bytes| *bytes > 1_000.0));
    assert_eq!((service.metric("tripline_case_store_up", ""), outcome(&service, "stored")), (Some(0.0), 0.0));
    super::super::support::daemon::wait_for("the commit", || {
        broker.committed(&topic, &topic).iter().all(|(at, end)| at == end).then_some(())
    });
    assert!(!verdicts(&folder.path().join("verdicts.jsonl")).is_empty(), "the attack is found");
    server.run();
    service.wait_for("an empty spool", |one| one.metric("tripline_case_spool_bytes", "").filter(|bytes| *bytes < 0.5));
    assert_eq!(service.metric("tripline_case_store_up", ""), Some(1.0));
    // It goes away while the service works, and the service ends meanwhile.
    server.stop();
    broker.produce(&topic, 1, lines[half..].iter().map(|line| (0, line.as_bytes())));
    wait_until_seen(&mut [&mut service], lines.len() as u64);
    let counts = service.stop();
    assert_eq!(counts.sum(), lines.len() as u64);
    server.run();
    let mut service = Service::start(folder.path(), "two", &config).ready();
    service.wait_for("an empty spool", |two| two.metric("tripline_case_spool_bytes", "").filter(|bytes| *bytes < 0.5));
    assert_eq!((outcome(&service, "lost"), outcome(&service, "refused")), (0.0, 0.0));
    service.stop();
    let place = Place { folder, store, _server: Some(server) };
    let (stored_ids, cases) = stored(&place).await;
    assert_eq!(stored_ids, ids(&verdicts(&place.folder.path().join("verdicts.jsonl"))));
    assert!(!cases.as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_forged_entry_is_named_by_the_command() {
    let place = Place::sqlite();
    let cases = place.cases("").await;
    cases.take(&super::attack()).await.unwrap();
    let file = place.folder.path().join("cases.db");
    let whole = program::run(&["audit", "verify", text(&file)]);
    assert!(whole.must_succeed().out.contains("whole") && whole.out.contains("without a key"), "{}", whole.out);
    let head = whole.out.lines().find_map(|line| line.trim().strip_prefix("head ")).unwrap().to_owned();
    sqlx::raw_sql(
        "DROP TRIGGER audit_details_no_update; UPDATE audit_details SET detail = replace(detail, 'grid', 'random') WHERE seq = 5",
    )
    .execute(cases.database().pool())
    .await
    .unwrap();
    program::run(&["audit", "verify", text(&file)]).must_fail(65, &["audit entry 5", "changed"]);
    program::run(&["audit", "verify", text(&file), "--head", &head]).must_fail(65, &["audit entry 5"]);
    program::run(&["audit", "verify", text(&place.folder.path().join("none.db"))]).must_fail(66, &["no database"]);
    program::run(&["audit", "verify", "mysql://x"]).must_fail(64, &["store.url"]);
}
