//! Joins the requests and responses of KServe's inference logger, which writes each as a CloudEvent of its own with the same id.
//!
//! Contract: KServe `pkg/logger` (types `org.kubeflow.serving.inference.request` and `….response`, extensions `inferenceservicename`,
//! `namespace`, `component`, `endpoint`, `metadata`), CloudEvents 1.0 JSON format (`data` or `data_base64`). A response is logged for a
//! successful call alone, so a request may stay without one. The caller's address is known if the logger was told to keep the header
//! `X-Forwarded-For` (`metadataHeaders`).
//!
//! A joined call is a record of the canonical layout, at the place of its request. What waits is bounded in number and in event time:
//! beyond [`Limits`], a request is given on without an answer, and a response without its request is given on to be rejected. So every
//! request becomes a row, and nothing is lost in silence.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::shape::payload;
use super::tree;
use crate::event::{EventTime, Zone};

/// Half of a call that waits for the other.
#[derive(Clone, Debug)]
struct Half {
    /// Number of its arrival, which tells it from an earlier one of the same id.
    arrival: u64,
    offset: i64,
    event: Map<String, Value>,
}

/// How much waits, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Seconds of event time.
    pub seconds: u32,
    /// Halves in all.
    pub halves: usize,
}

/// A record that is ready: its offset and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Offset of the request, or of what came instead.
    pub offset: i64,
    /// The record in the canonical layout, or as it came if it is no CloudEvent.
    pub payload: Vec<u8>,
}

/// Halves of calls that wait for each other.
#[derive(Debug)]
pub struct Pairs {
    limits: Limits,
    zone: Option<Zone>,
    requests: BTreeMap<String, Half>,
    responses: BTreeMap<String, Half>,
    /// Every half in the order of arrival: its id, its arrival, its time, and whether it is a request.
    order: VecDeque<(String, u64, EventTime, bool)>,
    arrivals: u64,
    latest: EventTime,
    ready: VecDeque<Joined>,
}

/// Field of a joined record that says that no response came.
pub(super) const NO_RESPONSE: &str = "tripline_no_response";
/// Field of a record that is a response without its request.
pub(super) const NO_REQUEST: &str = "tripline_no_request";
/// Headers that may hold the caller's address, in order of preference.
const ADDRESS_HEADERS: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "x-envoy-external-address"];

// === impl Pairs ===

impl Pairs {
    /// Nothing waits yet. Times without a zone are in `zone`.
    pub fn new(limits: Limits, zone: Option<Zone>) -> Self {
        Self {
            limits,
            zone,
            requests: BTreeMap::new(),
            responses: BTreeMap::new(),
            order: VecDeque::new(),
            arrivals: 0,
            latest: EventTime::default(),
            ready: VecDeque::new(),
        }
    }

    /// Takes a record.
    pub fn push(&mut self, offset: i64, payload: &[u8]) {
        let Some((id, is_request, event)) = std::str::from_utf8(payload).ok().and_then(cloud_event) else {
            // No CloudEvent of an inference: the decoder says what is wrong with it.
            return self.ready.push_back(Joined { offset, payload: payload.to_vec() });
        };
        let time = event.get("time").and_then(Value::as_str).and_then(|time| EventTime::parse_in(time, self.zone.as_ref()).ok());
        let time = time.unwrap_or(self.latest);
        self.latest = self.latest.max(time);
        self.arrivals += 1;
        let half = Half { arrival: self.arrivals, offset, event };
        let partner = if is_request { self.responses.remove(&id) } else { self.requests.remove(&id) };
        match (partner, is_request) {
            (Some(response), true) => self.give(&half, Some(response.event)),
            (Some(request), false) => self.give(&request, Some(half.event)),
            (None, _) => {
                self.order.push_back((id.clone(), half.arrival, time, is_request));
                let earlier = if is_request { self.requests.insert(id, half) } else { self.responses.insert(id, half) };
                if let Some(earlier) = earlier {
                    self.give_up(earlier, is_request);
                }
            }
        }
        self.expire();
    }

    /// The log has ended; what waits is given on.
    pub fn end(&mut self) {
        while let Some((id, arrival, _, is_request)) = self.order.pop_front() {
            self.drop_half(&id, arrival, is_request);
        }
    }

    /// The next record that is ready.
    pub fn pop(&mut self) -> Option<Joined> {
        self.ready.pop_front()
    }

    /// Gives on what has waited too long, or is too much.
    fn expire(&mut self) {
        if self.order.len() > 2 * self.limits.halves {
            // Most of them have met their partner.
            let (requests, responses) = (&self.requests, &self.responses);
            self.order.retain(|(id, arrival, _, is_request)| {
                let halves = if *is_request { requests } else { responses };
                halves.get(id).is_some_and(|half| half.arrival == *arrival)
            });
        }
        let oldest = self.latest.plus_seconds(-i64::from(self.limits.seconds));
        while let Some((id, arrival, time, is_request)) = self.order.front() {
            let waiting = if *is_request { self.requests.get(id) } else { self.responses.get(id) };
            let gone = waiting.is_none_or(|half| half.arrival != *arrival);
            if !gone && *time >= oldest && self.requests.len() + self.responses.len() <= self.limits.halves {
                return;
            }
            let (id, arrival, is_request) = (id.clone(), *arrival, *is_request);
            self.order.pop_front();
            self.drop_half(&id, arrival, is_request);
        }
    }

    fn drop_half(&mut self, id: &str, arrival: u64, is_request: bool) {
        let halves = if is_request { &mut self.requests } else { &mut self.responses };
        if halves.get(id).is_some_and(|half| half.arrival == arrival)
            && let Some(half) = halves.remove(id)
        {
            self.give_up(half, is_request);
        }
    }

    fn give_up(&mut self, half: Half, is_request: bool) {
        if is_request {
            return self.give(&half, None);
        }
        let mut record = envelope(&half.event);
        record.insert(NO_REQUEST.to_owned(), Value::Bool(true));
        self.ready.push_back(joined(half.offset, record));
    }

    fn give(&mut self, request: &Half, response: Option<Map<String, Value>>) {
        let mut record = envelope(&request.event);
        if let Some(features) = body(&request.event) {
            record.insert("features".to_owned(), features);
        }
        match response {
            Some(response) => {
                if let Some(prediction) = body(&response) {
                    record.insert("prediction".to_owned(), prediction);
                }
            }
            None => {
                record.insert(NO_RESPONSE.to_owned(), Value::Bool(true));
            }
        }
        self.ready.push_back(joined(request.offset, record));
    }
}

fn joined(offset: i64, record: Map<String, Value>) -> Joined {
    Joined { offset, payload: Value::Object(record).to_string().into_bytes() }
}

/// The id of an inference's CloudEvent, whether it is a request, and its attributes.
fn cloud_event(text: &str) -> Option<(String, bool, Map<String, Value>)> {
    let Ok(Value::Object(event)) = tree::read(text) else { return None };
    let kind = event.get("type")?.as_str()?;
    let is_request = kind.ends_with(".inference.request");
    if !is_request && !kind.ends_with(".inference.response") {
        return None;
    }
    let id = event.get("id")?.as_str()?.to_owned();
    // A transformer and a predictor of one service log the same id.
    let component = event.get("component").and_then(Value::as_str).unwrap_or_default();
    Some((format!("{component}\n{id}"), is_request, event))
}

/// Whether a record is half of a call.
pub(super) fn is_half(root: &Value) -> bool {
    let kind = root.get("type").and_then(Value::as_str).unwrap_or_default();
    root.get("specversion").is_some() && (kind.ends_with(".inference.request") || kind.ends_with(".inference.response"))
}

/// What stands around the body, under the names of the canonical layout.
fn envelope(event: &Map<String, Value>) -> Map<String, Value> {
    let mut record = Map::new();
    for (from, to) in [("time", "timestamp"), ("inferenceservicename", "model"), ("id", "request_id")] {
        if let Some(value) = event.get(from) {
            record.insert(to.to_owned(), value.clone());
        }
    }
    if let Some(address) = event.get("metadata").and_then(address) {
        record.insert("source_ip".to_owned(), address);
    }
    record
}

/// The body of a call.
fn body(event: &Map<String, Value>) -> Option<Value> {
    match event.get("data_base64") {
        Some(Value::String(data)) => payload::base64(data).ok(),
        _ => event.get("data").cloned(),
    }
}

/// The caller's address from the logged headers: an object, or one as text, of header → value or values.
fn address(metadata: &Value) -> Option<Value> {
    let parsed;
    let headers = match metadata {
        Value::String(text) => {
            parsed = tree::read(text).ok()?;
            &parsed
        }
        other => other,
    };
    let headers = headers.as_object()?;
    ADDRESS_HEADERS
        .iter()
        .find_map(|wanted| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, id: &str, second: u32, data: Value) -> String {
        json!({"specversion":"1.0","id":id,"type":format!("org.kubeflow.serving.inference.{kind}"),"time":format!("2026-03-02T00:{:02}:{:02}Z", second / 60, second % 60),
            "inferenceservicename":"m","metadata":"{\"X-Forwarded-For\":[\"203.0.113.7, 10.0.0.1\"]}","data":data})
        .to_string()
    }

    fn pairs(seconds: u32, halves: usize) -> Pairs {
        Pairs::new(Limits { seconds, halves }, None)
    }

    fn drain(pairs: &mut Pairs) -> Vec<(i64, Value)> {
        std::iter::from_fn(|| pairs.pop()).map(|one| (one.offset, serde_json::from_slice(&one.payload).unwrap())).collect()
    }

    #[test]
    fn a_request_and_its_response_are_one_record_in_either_order() {
        for order in [[0, 1], [1, 0]] {
            let halves =
                [event("request", "a", 1, json!({"instances":[[1]]})), event("response", "a", 2, json!({"predictions":[0.5]}))];
            let mut pairs = pairs(30, 100);
            for nth in order {
                pairs.push(i64::try_from(nth).unwrap(), halves[nth].as_bytes());
            }
            let all = drain(&mut pairs);
            assert_eq!(all.len(), 1);
            let (offset, record) = &all[0];
            assert_eq!((*offset, &record["timestamp"], &record["model"]), (0, &json!("2026-03-02T00:00:01Z"), &json!("m")));
            assert_eq!((&record["features"], &record["prediction"]), (&json!({"instances":[[1]]}), &json!({"predictions":[0.5]})));
            assert_eq!(record["source_ip"], json!(["203.0.113.7, 10.0.0.1"]));
        }
    }

    #[test]
    fn what_stays_alone_is_given_on_after_the_time_out_and_at_the_end() {
        let mut pairs = pairs(30, 100);
        pairs.push(0, event("request", "a", 0, json!([[1]])).as_bytes());
        pairs.push(1, event("response", "b", 0, json!([0.1])).as_bytes());
        pairs.push(2, event("request", "c", 30, json!([[1]])).as_bytes());
        assert_eq!(drain(&mut pairs), [], "nobody has waited longer than thirty seconds");
        pairs.push(3, event("request", "d", 31, json!([[1]])).as_bytes());
        let all = drain(&mut pairs);
        assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((&all[0].1[NO_RESPONSE], &all[1].1[NO_REQUEST]), (&json!(true), &json!(true)));
        pairs.end();
        assert_eq!(drain(&mut pairs).len(), 2);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pairs = pairs(3_000, 10);
        for nth in 0..100 {
            pairs.push(nth, event("request", &nth.to_string(), 0, json!([[1]])).as_bytes());
            assert!(pairs.requests.len() <= 10 && pairs.order.len() <= 21);
        }
        assert_eq!(drain(&mut pairs).len(), 90);
    }

    #[test]
    fn an_id_that_comes_again_does_not_wait_with_the_earlier_one() {
        let mut pairs = pairs(30, 100);
        pairs.push(0, event("request", "a", 0, json!([[1]])).as_bytes());
        pairs.push(1, event("request", "a", 1, json!([[2]])).as_bytes());
        pairs.push(2, event("response", "a", 2, json!([0.5])).as_bytes());
        let all = drain(&mut pairs);
        assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(all[1].1["prediction"], json!([0.5]));
    }

    #[test]
    fn what_is_no_cloud_event_is_given_on_as_it_came() {
        let mut pairs = pairs(30, 100);
        for (nth, text) in ["garbage", "{}", r#"{"type":"x.inference.request"}"#].into_iter().enumerate() {
            pairs.push(i64::try_from(nth).unwrap(), text.as_bytes());
            assert_eq!(pairs.pop().unwrap().payload, text.as_bytes());
        }
    }
}
