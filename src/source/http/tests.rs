//! The inbox as senders and the loop see it.

use super::*;

fn inbox(buffer_records: usize, buffer_bytes: usize) -> Inbox {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    Inbox::new(&HttpConfig { listen: None, buffer_records, buffer_bytes }, metrics)
}

fn polled(feed: &mut HttpFeed) -> Vec<i64> {
    let mut batch = RecordBatch::default();
    feed.poll(&mut batch, 100, Duration::ZERO).unwrap();
    (0..batch.len()).map(|index| batch.offset(index)).collect()
}

fn begun(inbox: &Inbox) -> HttpFeed {
    let mut feed = HttpFeed::new(inbox.clone());
    let Some(FeedEvent::Assigned(partitions)) = feed.next_event() else { panic!("no assignment") };
    feed.begin(&partitions, &Start::Committed).unwrap();
    feed
}

#[test]
fn a_full_inbox_refuses_until_there_is_room_in_records_and_bytes() {
    let inbox = inbox(2, 100);
    let post = |bytes: usize| inbox.put(Vec::new(), Bytes::from(vec![b'x'; bytes]));
    assert!(post(60));
    assert!(!post(60), "too many bytes");
    assert!(post(10));
    assert!(!post(10), "too many records");
    let mut feed = begun(&inbox);
    let offsets = polled(&mut feed);
    assert_eq!(offsets[1], offsets[0] + 1);
    assert!(post(60));
    let text = inbox.0.metrics.render(None).unwrap();
    for line in ["tripline_posts_total{outcome=\"accepted\"} 3\n", "tripline_posts_total{outcome=\"refused\"} 2\n"] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn nothing_is_handed_out_before_the_assignment_is_answered_or_while_it_is_paused() {
    let inbox = inbox(10, 100);
    assert!(inbox.put(Vec::new(), Bytes::from_static(b"x")));
    assert!(polled(&mut HttpFeed::new(inbox.clone())).is_empty());
    let mut feed = begun(&inbox);
    let partition = Partition::new(TOPIC, 0);
    feed.pause(std::slice::from_ref(&partition));
    assert!(polled(&mut feed).is_empty());
    feed.resume(&[Partition::new("other", 0)]);
    assert!(polled(&mut feed).is_empty());
    feed.resume(&[partition]);
    assert_eq!(polled(&mut feed).len(), 1);
}

#[test]
fn at_the_end_nothing_more_is_accepted_and_what_was_accepted_is_given() {
    let inbox = inbox(10, 100);
    let mut feed = begun(&inbox);
    assert!(inbox.put(Vec::new(), Bytes::from_static(b"x")));
    let mut batch = RecordBatch::default();
    feed.rest(&mut batch, 100);
    assert_eq!(batch.len(), 1);
    assert!(!inbox.put(Vec::new(), Bytes::from_static(b"y")));
}

/// Posts a body on a connection of its own; the answer as it came.
async fn posted(address: SocketAddr, kind: &'static str, body: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let post = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(stream, "POST /logs HTTP/1.1\r\nHost: h\r\nConnection: close\r\nce-id: a\r\nAuthorization: secret\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(post).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_accepted_or_refused_with_a_time_to_come_back() {
    let inbox = inbox(1, 1_000);
    let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), 100, inbox.clone()).await.unwrap();
    let address = receiver.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(receiver.serve(async {
        let _ = stopped.await;
    }));
    assert!(posted(address, "application/cloudevents-batch+json", "[]").await.starts_with("HTTP/1.1 415"));
    assert!(posted(address, "application/json", "{}").await.starts_with("HTTP/1.1 202"));
    let full = posted(address, "application/json", "{}").await;
    assert!(full.starts_with("HTTP/1.1 503") && full.to_lowercase().contains("retry-after: 1"), "{full}");
    let long = "x".repeat(101).leak();
    assert!(posted(address, "application/json", long).await.starts_with("HTTP/1.1 413"));
    let mut batch = RecordBatch::default();
    begun(&inbox).poll(&mut batch, 10, Duration::ZERO).unwrap();
    let names: Vec<&str> = batch.headers(0).iter().map(|(name, _)| name.as_ref()).collect();
    assert!(names.contains(&"ce-id") && !names.contains(&"authorization"), "{names:?}");
    assert_eq!(batch.payload(0), Some(b"{}".as_slice()));
    drop(stop);
    served.await.unwrap().unwrap();
}
