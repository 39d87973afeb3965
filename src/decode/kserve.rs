//! Joins the requests and responses of KServe's inference logger, which writes each as a CloudEvent of its own with the same id.
//!
//! Contract: KServe `pkg/logger` (types `org.kubeflow.serving.inference.request` and `….response`, extensions `inferenceservicename`,
//! `namespace`, `component`, `endpoint`, `metadata`). CloudEvents 1.0 knows two modes: *structured*, a JSON object with `data` or
//! `data_base64`, and *binary*, where the attributes are headers (`ce_id` in Kafka, `ce-id` in HTTP) and the value is the body. A response
//! is logged for a successful call alone, so a request may stay without one. The caller's address is known if the logger was told to keep
//! the header `X-Forwarded-For` (`metadataHeaders`).
//!
//! A joined call is a record of the canonical layout, at the place of its request. What waits is bounded in number, bytes and event time:
//! beyond [`Limits`], a request is given on without an answer, and a response without its request is given on to be rejected. So every
//! request becomes a row, and nothing is lost in silence.
//!
//! `replay` feeds the joiner in the order of the file, the service in the order of event time over all partitions. Neither keeps the
//! halves in a snapshot: [`Pairs::held`] says where they lie, and nothing behind that place is committed.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::shape::payload;
use super::tree;
use crate::event::{EventTime, Provenance, Zone};
use crate::source::Record;

/// Half of a call, as its logger wrote it.
#[derive(Clone, Debug)]
pub struct Half {
    /// Id of the call, with the component that logged it.
    id: String,
    is_request: bool,
    time: Option<EventTime>,
    provenance: Provenance,
    /// What stands around the body, under the names of the canonical layout.
    envelope: Map<String, Value>,
    body: Option<Value>,
    /// Bytes of the record.
    bytes: usize,
}

/// Half of a call that waits for the other.
#[derive(Clone, Debug)]
struct Waiting {
    /// Number of its arrival, which tells it from an earlier one of the same id.
    arrival: u64,
    half: Half,
}

/// How much waits, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Seconds of event time.
    pub seconds: u32,
    /// Halves in all.
    pub halves: usize,
}

/// A record that is ready: its place and its text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Joined {
    /// Place of the request, or of what came instead.
    pub provenance: Provenance,
    /// The record in the canonical layout, or as it came if it is no CloudEvent.
    pub payload: Vec<u8>,
}

/// Halves of calls that wait for each other.
#[derive(Debug)]
pub struct Pairs {
    limits: Limits,
    zone: Option<Zone>,
    requests: BTreeMap<String, Waiting>,
    responses: BTreeMap<String, Waiting>,
    /// Every half in the order of arrival: its id, its arrival, its time, and whether it is a request.
    order: VecDeque<(String, u64, EventTime, bool)>,
    arrivals: u64,
    latest: EventTime,
    /// Halves in a row whose times are far ahead of all others.
    ahead: u32,
    bytes: usize,
    ready: VecDeque<Joined>,
}

/// Field of a joined record that says that no response came.
pub(super) const NO_RESPONSE: &str = "tripline_no_response";
/// Field of a record that is a response without its request.
pub(super) const NO_REQUEST: &str = "tripline_no_request";
/// Headers that may hold the caller's address, in order of preference.
const ADDRESS_HEADERS: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "x-envoy-external-address"];
/// Bytes of halves that wait at most. Chosen: the ten thousand halves of the default with six kilobytes each, twice a usual call.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// A time this many seconds ahead of all others is taken for a wrong clock.
const JUMP_SECONDS: i64 = 3_600;
/// Halves in a row that must agree before event time jumps. Chosen: as many wrong times in a row as one message of a broken sender brings.
const AGREEING: u32 = 8;

// === impl Half ===

impl Half {
    /// The half that a record is; `None` if it is none. Times without a zone are in `zone`.
    pub fn read(record: &Record<'_>, zone: Option<&Zone>) -> Option<Self> {
        let event = match in_binary_mode(record) {
            Some(event) => event,
            None => structured(record.payload)?,
        };
        let kind = event.get("type")?.as_str()?;
        let is_request = kind.ends_with(".inference.request");
        if !is_request && !kind.ends_with(".inference.response") {
            return None;
        }
        // A transformer and a predictor of one service log the same id.
        let component = event.get("component").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            id: format!("{component}\n{}", event.get("id")?.as_str()?),
            is_request,
            time: event.get("time").and_then(Value::as_str).and_then(|time| EventTime::parse_in(time, zone).ok()),
            provenance: record.provenance.clone(),
            envelope: envelope(&event),
            body: body(event),
            bytes: record.payload.len(),
        })
    }

    /// When it was logged.
    pub fn time(&self) -> Option<EventTime> {
        self.time
    }
}

/// The attributes that stand in headers, and the body; `None` if they do not.
fn in_binary_mode(record: &Record<'_>) -> Option<Map<String, Value>> {
    let attribute = |name: &str| -> Option<String> {
        let prefix = name.get(..3)?;
        (prefix.eq_ignore_ascii_case("ce_") || prefix.eq_ignore_ascii_case("ce-")).then(|| name[3..].to_ascii_lowercase())
    };
    let mut event = Map::new();
    for (name, value) in record.headers {
        if let (Some(name), Ok(value)) = (attribute(name), std::str::from_utf8(value)) {
            event.insert(name, Value::String(value.to_owned()));
        }
    }
    event.get("type")?;
    if let Ok(text) = std::str::from_utf8(record.payload) {
        event.insert("data".to_owned(), Value::String(text.to_owned()));
    }
    Some(event)
}

/// A CloudEvent that is one JSON object.
fn structured(payload: &[u8]) -> Option<Map<String, Value>> {
    match tree::read(std::str::from_utf8(payload).ok()?) {
        Ok(Value::Object(event)) => Some(event),
        _ => None,
    }
}

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
            ahead: 0,
            bytes: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes a record. One that is no half is given on as it came: the decoder says what is wrong with it.
    pub fn push_record(&mut self, record: &Record<'_>) {
        match Half::read(record, self.zone.as_ref()) {
            Some(half) => self.push(half),
            None => self.ready.push_back(Joined { provenance: record.provenance.clone(), payload: record.payload.to_vec() }),
        }
    }

    /// Takes a half.
    pub fn push(&mut self, half: Half) {
        let time = half.time.map_or(self.latest, |time| self.believed(time));
        self.latest = self.latest.max(time);
        self.arrivals += 1;
        match (self.take(&half.id, !half.is_request), half.is_request) {
            (Some(response), true) => self.give(half, Some(response.half)),
            (Some(request), false) => self.give(request.half, Some(half)),
            (None, is_request) => {
                let id = half.id.clone();
                let earlier = self.take(&id, is_request);
                self.order.push_back((id.clone(), self.arrivals, time, is_request));
                self.bytes += half.bytes;
                let halves = if is_request { &mut self.requests } else { &mut self.responses };
                halves.insert(id, Waiting { arrival: self.arrivals, half });
                if let Some(earlier) = earlier {
                    self.give_up(earlier.half);
                }
            }
        }
        self.expire();
    }

    /// A time that is far ahead of all others counts once enough in a row agree: one wrong clock must not end every wait.
    fn believed(&mut self, time: EventTime) -> EventTime {
        let is_ahead = self.latest != EventTime::default() && time > self.latest.plus_seconds(JUMP_SECONDS);
        self.ahead = if is_ahead { self.ahead + 1 } else { 0 };
        if is_ahead && self.ahead < AGREEING { self.latest } else { time }
    }

    /// Event time has come this far, though no half says so.
    pub fn advance(&mut self, time: EventTime) {
        if self.latest != EventTime::default() {
            self.latest = self.latest.max(time);
            self.expire();
        }
    }

    /// The log has ended; what waits is given on.
    pub fn end(&mut self) {
        while let Some((id, arrival, _, is_request)) = self.order.pop_front() {
            self.drop_half(&id, arrival, is_request);
        }
    }

    /// A topic that nobody can read again has ended; what waits of it is given on.
    pub fn end_of(&mut self, topic: &str) {
        let all = self.order.iter().filter(|(id, arrival, _, is_request)| {
            let halves = if *is_request { &self.requests } else { &self.responses };
            halves.get(id).is_some_and(|waiting| waiting.arrival == *arrival && waiting.half.provenance.topic.name() == topic)
        });
        let of_topic: Vec<_> = all.map(|(id, arrival, _, is_request)| (id.clone(), *arrival, *is_request)).collect();
        for (id, arrival, is_request) in of_topic {
            self.drop_half(&id, arrival, is_request);
        }
    }

    /// The next record that is ready.
    pub fn pop(&mut self) -> Option<Joined> {
        self.ready.pop_front()
    }

    /// Where the halves lie that wait: what follows them must be read again after a restart.
    pub fn held(&self) -> impl Iterator<Item = &Provenance> {
        self.requests.values().chain(self.responses.values()).map(|waiting| &waiting.half.provenance)
    }

    /// Forgets the halves of a partition, which others read again.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        let is_of = |place: &Provenance| place.topic.name() == topic && place.partition == partition;
        let mut gone = 0;
        for halves in [&mut self.requests, &mut self.responses] {
            halves.retain(|_, waiting| {
                let stays = !is_of(&waiting.half.provenance);
                gone += if stays { 0 } else { waiting.half.bytes };
                stays
            });
        }
        self.bytes -= gone;
    }

    /// Takes a half that waits.
    fn take(&mut self, id: &str, is_request: bool) -> Option<Waiting> {
        let halves = if is_request { &mut self.requests } else { &mut self.responses };
        let taken = halves.remove(id)?;
        self.bytes -= taken.half.bytes;
        Some(taken)
    }

    /// Gives on what has waited too long, or is too much.
    fn expire(&mut self) {
        if self.order.len() > 2 * self.limits.halves {
            // Most of them have met their partner.
            let (requests, responses) = (&self.requests, &self.responses);
            self.order.retain(|(id, arrival, _, is_request)| {
                let halves = if *is_request { requests } else { responses };
                halves.get(id).is_some_and(|waiting| waiting.arrival == *arrival)
            });
        }
        let oldest = self.latest.plus_seconds(-i64::from(self.limits.seconds));
        while let Some((id, arrival, time, is_request)) = self.order.front() {
            let waiting = if *is_request { self.requests.get(id) } else { self.responses.get(id) };
            let gone = waiting.is_none_or(|waiting| waiting.arrival != *arrival);
            let fits = self.requests.len() + self.responses.len() <= self.limits.halves && self.bytes <= MAX_BYTES;
            if !gone && *time >= oldest && fits {
                return;
            }
            let (id, arrival, is_request) = (id.clone(), *arrival, *is_request);
            self.order.pop_front();
            self.drop_half(&id, arrival, is_request);
        }
    }

    fn drop_half(&mut self, id: &str, arrival: u64, is_request: bool) {
        let halves = if is_request { &self.requests } else { &self.responses };
        if halves.get(id).is_some_and(|waiting| waiting.arrival == arrival)
            && let Some(waiting) = self.take(id, is_request)
        {
            self.give_up(waiting.half);
        }
    }

    fn give_up(&mut self, half: Half) {
        if half.is_request {
            return self.give(half, None);
        }
        let mut record = half.envelope;
        record.insert(NO_REQUEST.to_owned(), Value::Bool(true));
        self.ready.push_back(joined(half.provenance, record));
    }

    fn give(&mut self, request: Half, response: Option<Half>) {
        let mut record = request.envelope;
        if let Some(features) = request.body {
            record.insert("features".to_owned(), features);
        }
        match response {
            Some(response) => {
                if let Some(prediction) = response.body {
                    record.insert("prediction".to_owned(), prediction);
                }
            }
            None => {
                record.insert(NO_RESPONSE.to_owned(), Value::Bool(true));
            }
        }
        self.ready.push_back(joined(request.provenance, record));
    }
}

fn joined(provenance: Provenance, record: Map<String, Value>) -> Joined {
    Joined { provenance, payload: Value::Object(record).to_string().into_bytes() }
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
fn body(mut event: Map<String, Value>) -> Option<Value> {
    match event.get("data_base64") {
        Some(Value::String(data)) => payload::base64(data).ok(),
        _ => event.remove("data"),
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
mod tests;
