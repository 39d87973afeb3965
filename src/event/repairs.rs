//! What a row survived: the faults of a record that cost one field and not the row.
//!
//! Each kind stands here once, with the field, the fault and what is used instead, so that the metric, the summary of a replay and the
//! page `docs/bad-records.md` say the same. A row carries a set of kinds ([`Repairs`]) in four bytes.

/// A fault that cost a field, and not the row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Repair {
    /// A name stands twice in one object.
    NameRepeated,
    /// Several addresses, and no setting says which of them are proxies.
    AddressList,
    /// Fewer addresses than there are trusted proxies.
    AddressListShort,
    /// Text that is no address.
    AddressUnreadable,
    /// Neither text nor a list of texts.
    AddressType,
    /// An account that is an object or an array.
    AccountType,
    /// An account that is longer than an id may be.
    AccountLong,
    /// A request id that is an object or an array.
    RequestIdType,
    /// A request id that is longer than an id may be.
    RequestIdLong,
    /// A model version that is an object or an array.
    VersionType,
    /// A model version that is longer than an id may be.
    VersionLong,
    /// A label that is an object or an array.
    LabelType,
    /// A label that is longer than an id may be.
    LabelLong,
    /// A latency that is not a number.
    LatencyType,
    /// A latency below zero.
    LatencyNegative,
    /// An answer that does not fit the reference.
    PredictionUnreadable,
    /// Probabilities by class where the reference has one score, and nothing says which class counts.
    PredictionClass,
    /// A request whose response did not come in time.
    ResponseMissing,
    /// A feature that is an object or an array.
    FeatureNested,
    /// The word `NaN` where a number belongs.
    NumberNan,
    /// The word `Infinity` where a number belongs.
    NumberInfinite,
    /// A number that no 64-bit float holds.
    NumberOutOfRange,
    /// A word or a number that is not JSON.
    ValueNotJson,
    /// Bytes within a text that are no UTF-8.
    TextNotUtf8,
    /// Half of a surrogate pair.
    TextSurrogate,
    /// A control character or an escape that JSON does not allow within a text.
    TextEscape,
    /// Values nested too deep.
    ValueTooDeep,
    /// The record ends in the middle.
    RecordCut,
    /// The record is longer than the limit.
    RecordLong,
    /// Something other than white space before or behind the object.
    RecordSurrounded,
    /// A comma, a colon or a quotation mark is missing, or is one too many.
    RecordDamaged,
}

/// A set of [`Repair`]s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repairs(u32);

// === impl Repair ===

impl Repair {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 31] = [
        Self::NameRepeated,
        Self::AddressList,
        Self::AddressListShort,
        Self::AddressUnreadable,
        Self::AddressType,
        Self::AccountType,
        Self::AccountLong,
        Self::RequestIdType,
        Self::RequestIdLong,
        Self::VersionType,
        Self::VersionLong,
        Self::LabelType,
        Self::LabelLong,
        Self::LatencyType,
        Self::LatencyNegative,
        Self::PredictionUnreadable,
        Self::PredictionClass,
        Self::ResponseMissing,
        Self::FeatureNested,
        Self::NumberNan,
        Self::NumberInfinite,
        Self::NumberOutOfRange,
        Self::ValueNotJson,
        Self::TextNotUtf8,
        Self::TextSurrogate,
        Self::TextEscape,
        Self::ValueTooDeep,
        Self::RecordCut,
        Self::RecordLong,
        Self::RecordSurrounded,
        Self::RecordDamaged,
    ];

    /// The label `field` in metrics: a field of the canonical layout, or what kind of thing is at fault.
    pub const fn field(self) -> &'static str {
        match self {
            Self::NameRepeated => "name",
            Self::AddressList | Self::AddressListShort | Self::AddressUnreadable | Self::AddressType => "source_ip",
            Self::AccountType | Self::AccountLong => "client_id",
            Self::RequestIdType | Self::RequestIdLong => "request_id",
            Self::VersionType | Self::VersionLong => "model_version",
            Self::LabelType | Self::LabelLong => "label",
            Self::LatencyType | Self::LatencyNegative => "latency_ms",
            Self::PredictionUnreadable | Self::PredictionClass | Self::ResponseMissing => "prediction",
            Self::FeatureNested => "feature",
            Self::NumberNan | Self::NumberInfinite | Self::NumberOutOfRange => "number",
            Self::ValueNotJson | Self::ValueTooDeep => "value",
            Self::TextNotUtf8 | Self::TextSurrogate | Self::TextEscape => "text",
            Self::RecordCut | Self::RecordLong | Self::RecordSurrounded | Self::RecordDamaged => "record",
        }
    }

    /// The label `fault` in metrics.
    pub const fn fault(self) -> &'static str {
        match self {
            Self::NameRepeated => "repeated",
            Self::AddressList => "list",
            Self::AddressListShort => "short_list",
            Self::AddressUnreadable => "no_address",
            Self::AddressType
            | Self::AccountType
            | Self::RequestIdType
            | Self::VersionType
            | Self::LabelType
            | Self::LatencyType => "wrong_type",
            Self::AccountLong | Self::RequestIdLong | Self::VersionLong | Self::LabelLong | Self::RecordLong => "too_long",
            Self::LatencyNegative => "negative",
            Self::PredictionUnreadable => "unreadable",
            Self::PredictionClass => "class_unknown",
            Self::ResponseMissing => "no_response",
            Self::FeatureNested => "nested",
            Self::NumberNan => "nan",
            Self::NumberInfinite => "infinite",
            Self::NumberOutOfRange => "out_of_range",
            Self::ValueNotJson => "not_json",
            Self::TextNotUtf8 => "not_utf8",
            Self::TextSurrogate => "lone_surrogate",
            Self::TextEscape => "bad_escape",
            Self::ValueTooDeep => "too_deep",
            Self::RecordCut => "truncated",
            Self::RecordSurrounded => "surrounded",
            Self::RecordDamaged => "damaged",
        }
    }

    /// What is used instead: a lower-case fragment.
    pub const fn instead(self) -> &'static str {
        match self {
            Self::NameRepeated => "the last value counts",
            Self::AddressList => "the last address counts; decode.trusted_proxies says how many to skip",
            Self::AddressListShort => "the first address counts",
            Self::AddressUnreadable | Self::AddressType => "the address is unknown",
            Self::AccountType | Self::RequestIdType | Self::VersionType | Self::LabelType | Self::LatencyType => {
                "the field is missing"
            }
            Self::AccountLong | Self::RequestIdLong | Self::VersionLong | Self::LabelLong => {
                "its beginning, and a hash of the whole"
            }
            Self::LatencyNegative => "the latency is missing",
            Self::PredictionUnreadable => "the prediction is missing",
            Self::PredictionClass => {
                "the prediction is missing; decode.positive_class names the class whose probability is the score"
            }
            Self::ResponseMissing => "the prediction is missing; the response did not come within decode.pair_timeout_seconds",
            Self::FeatureNested => "the feature is unreadable",
            Self::NumberNan => "the value is missing",
            Self::NumberInfinite | Self::NumberOutOfRange => "a feature is unreadable, any other field is missing",
            Self::ValueNotJson => "what the word means, or the word as text",
            Self::TextNotUtf8 => "each such byte is written as \\xNN",
            Self::TextSurrogate => "it is written as \\uNNNN",
            Self::TextEscape => "the characters as they stand",
            Self::ValueTooDeep => "an empty array",
            Self::RecordCut | Self::RecordLong => "what stands before the cut",
            Self::RecordSurrounded => "the object alone",
            Self::RecordDamaged => "the fields that can be told apart",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

// === impl Repairs ===

impl Repairs {
    /// Takes a kind in.
    pub const fn add(&mut self, repair: Repair) {
        self.0 |= repair.bit();
    }

    /// Takes all kinds of another set in.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether nothing had to be repaired.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a kind is in the set.
    pub const fn contains(self, repair: Repair) -> bool {
        self.0 & repair.bit() != 0
    }

    /// The kinds, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        let all: &[Repair] = if self.is_empty() { &[] } else { &Repair::ALL };
        all.iter().copied().filter(move |&repair| self.contains(repair))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_labels_of_its_own_and_says_what_is_used_instead() {
        let labels: BTreeSet<_> = Repair::ALL.iter().map(|repair| (repair.field(), repair.fault())).collect();
        assert_eq!(labels.len(), Repair::ALL.len());
        for repair in Repair::ALL {
            assert!(repair.instead().starts_with(char::is_lowercase) && !repair.instead().ends_with('.'), "{repair:?}");
        }
    }

    #[test]
    fn a_set_holds_what_was_taken_in_and_nothing_else() {
        for repair in Repair::ALL {
            let mut set = Repairs::default();
            assert!(set.is_empty());
            set.add(repair);
            set.merge(set);
            assert_eq!(set.iter().collect::<Vec<_>>(), [repair]);
        }
    }
}
