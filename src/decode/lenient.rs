//! The second reading of a record that the first one refused: what can be saved of the row, and who sent it.
//!
//! A fault in a field that judging can do without costs that field. So an attacker cannot hide by spoiling its own records. What is
//! needed is the time, the model and the features; if one of them cannot be read, the record is rejected, and the rejection says as far
//! as possible whose record it was.
//!
//! Sound records never come here, so that reading them costs nothing more.

pub(super) mod parser;

use serde_json::Value;

use super::layout::{Layout, first};
use super::token::Token;
use super::{Batch, DecodeConfig, Models, RejectReason, Rejection, Scratch, envelope, fields, tree};
use crate::event::{Repair, Repairs};
use crate::outcome::CallerFacts;
use parser::{Parsed, parse};

/// What a second reading needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lenient<'a> {
    /// Where the fields lie.
    pub layout: &'a Layout,
    /// Whether this is the canonical layout, which has a second name for features and prediction.
    pub canonical: bool,
    /// How records are read.
    pub settings: &'a DecodeConfig,
}

// === impl Lenient ===

impl Lenient<'_> {
    /// Reads `bytes`, which were refused for `strict`, into new queries at the end of `batch`.
    ///
    /// # Errors
    /// Why the record cannot be used, with its caller as far as that can be read.
    pub(super) fn read(
        self,
        bytes: &[u8],
        strict: Rejection,
        models: &mut Models,
        scratch: &mut Scratch,
        batch: &mut Batch,
    ) -> Result<(), Rejection> {
        let mut parsed = parse(&bytes[..bytes.len().min(self.settings.max_message_bytes)]);
        if bytes.len() > self.settings.max_message_bytes {
            parsed.repairs.add(Repair::RecordLong);
        }
        if self.canonical {
            use_second_names(&mut parsed);
        }
        let start = batch.len();
        let mut root = Value::Object(std::mem::take(&mut parsed.root));
        let rows =
            self.layout.record.as_ref().or(self.layout.rows.as_ref()).or(self.layout.features.first()).map_or("", String::as_str);
        let fault = parsed.fault.take();
        let read = if parsed.is_damaged(rows)
            && let Some(fault) = &fault
        {
            Err(fault.clone())
        } else {
            let mut read = self.layout.read_tree(&root, self.settings, models, scratch, batch);
            if read.is_err() && put_back(&mut root, &mut parsed) {
                batch.len = start;
                read = self.layout.read_tree(&root, self.settings, models, scratch, batch);
            }
            read.map_err(|rejection| match fault {
                Some(fault) if rejection.reason == RejectReason::MissingField => fault,
                _ => self.name_of_no_model(&root, rejection),
            })
        };
        match read {
            Ok(()) => {
                batch.queries[start].repairs.merge(parsed.repairs);
                Ok(())
            }
            // The first reading knows best what is wrong with a text that is no JSON.
            Err(rejection) if is_about_the_text(rejection.reason) && is_about_the_text(strict.reason) => {
                Err(strict.sent_by(self.caller(&root)))
            }
            Err(_) if strict.reason == RejectReason::TooLarge => Err(strict.sent_by(self.caller(&root))),
            Err(rejection) => Err(rejection.sent_by(self.caller(&root))),
        }
    }

    /// A name with bytes in it that are no text is no other model's name, but one that nobody can read.
    fn name_of_no_model(self, root: &Value, rejection: Rejection) -> Rejection {
        let unreadable = self.model(root).is_some_and(|name| name.contains('\\'));
        if rejection.reason == RejectReason::UnknownModel && unreadable {
            return Rejection::new(RejectReason::BadField, "the model's name holds bytes that are no text");
        }
        rejection
    }

    /// The model's name as it stands in a tree.
    fn model(self, root: &Value) -> Option<&str> {
        first(root, &self.layout.model).and_then(Value::as_str)
    }

    /// Whose record it is, as far as that can be read.
    fn caller(self, root: &Value) -> CallerFacts {
        let layout = self.layout;
        let opened =
            layout.record.as_ref().and_then(|pointer| envelope::open(root, pointer, |own, name| layout.lacks(own, name)).ok());
        let root = opened.as_ref().map_or(root, |(record, _)| record);
        let mut unused = Repairs::default();
        let mut facts = CallerFacts {
            address: fields::address_of(first(root, &layout.source_ip), self.settings.trusted_proxies, &mut unused),
            ..CallerFacts::default()
        };
        let scalar = |pointers: &[String]| first(root, pointers).map_or(Some(Token::Null), tree::token);
        fields::text(scalar(&layout.client_id), fields::ACCOUNT, &mut facts.account, &mut unused);
        fields::text(scalar(&layout.request_id), fields::REQUEST_ID, &mut facts.request_id, &mut unused);
        match &layout.model_name {
            Some(name) => facts.model.push_str(name),
            None => facts.model.push_str(self.model(root).filter(|name| !name.contains('\\')).unwrap_or_default()),
        }
        facts.time = scalar(&layout.timestamp).and_then(|token| fields::time(token, self.settings.assume_zone.as_ref()).ok());
        facts
    }
}

/// Puts the earlier values of repeated names back, since the last ones cannot be used. Says whether there are any.
fn put_back(root: &mut Value, parsed: &mut Parsed) -> bool {
    let any = !parsed.repeated.is_empty();
    for (pointer, earlier) in parsed.repeated.drain(..) {
        if let Some(value) = root.pointer_mut(&pointer) {
            *value = earlier;
        }
    }
    any
}

/// Faults of the text as such, which the first reading describes with line and column.
const fn is_about_the_text(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::NotUtf8 | RejectReason::NotJson | RejectReason::Truncated | RejectReason::TooDeep | RejectReason::NotAnObject
    )
}

/// Gives features and prediction their first names.
fn use_second_names(parsed: &mut Parsed) {
    for (second, first) in [("instances", "features"), ("predictions", "prediction")] {
        if parsed.is_damaged(&format!("/{second}")) {
            continue;
        }
        let Some(value) = parsed.root.remove(second) else { continue };
        if parsed.root.contains_key(first) {
            parsed.repairs.add(Repair::NameRepeated);
        } else {
            parsed.root.insert(first.to_owned(), value);
        }
    }
}
