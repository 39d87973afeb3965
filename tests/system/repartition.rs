//! Several processes on one log: what `direct` refuses, and what `repartition` says. The verdicts of one, two and four processes are compared
//! with those of `replay`, ids and all.

use super::support::data::Cut;
use super::support::kafka::Broker;
use super::support::service::Service;

const ATTACK: Cut = Cut("10_hopskipjump_fast");

#[test]
fn direct_refuses_a_second_member_and_goes_on_when_it_has_left() {
    for protocol in ["classic", "consumer"] {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let topic = broker.topic("split", 4);
        let lines = ATTACK.lines();
        let config = format!(
            "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\noptions = {{ \"group.protocol\" = \"{protocol}\" }}\n\
             [[models]]\nreference = \"{}\"\n[runtime]\ncommit_interval = \"500ms\"\nstatus_interval = \"500ms\"\n",
            broker.address,
            ATTACK.fit(folder.path()).display()
        );
        let spread = |lines: &[String]| broker.produce(&topic, 4, lines.iter().map(String::as_bytes).enumerate());
        let mut produced = spread(&lines[..2_000]);
        let mut first = Service::start(folder.path(), "first", &config).ready();
        first.wait_for("the first part", |first| (first.seen() > 1_999.5).then_some(()));
        let mut second = Service::start(folder.path(), "second", &config);
        first.wait_for("to wait for the other", |first| {
            let (status, text) = first.get("/readyz")?;
            (status == 503 && text.contains("runtime.topology = \"repartition\"")).then_some(())
        });
        assert_eq!(second.ended(), Some(64), "{}", second.words());
        let words = second.words();
        assert!(words.contains("runtime.topology = \"repartition\"") && words.contains("key the topic by model"), "{words}");
        produced += spread(&lines[2_000..4_000]);
        first.wait_for("readiness", |first| first.get("/readyz").filter(|(status, _)| *status == 200));
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        first.wait_for("the rest", |first| (first.seen() >= produced as f64).then_some(()));
        assert!(first.words().contains("nothing is judged until this process has all of them again"), "{}", first.words());
        assert_eq!(first.stop().sum(), produced, "each once, and by one process");
    }
}
