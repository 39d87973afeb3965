//! The signals of a verdict on a model: what each is called, what it says, and in which unit.
//!
//! An enum and not texts, so that a signal cannot be written by one name and read back by another: a snapshot that holds a name
//! which this program does not know is refused.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SignalValue;
use crate::reference::UnknownValue;

/// A signal of a verdict on a model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum ModelSignal {
    /// Population stability index of a column; the reference is the critical value of the window.
    Psi,
    /// Repeated rows whose answers changed; the reference is the number that means another model.
    ChangedAnswers,
    /// Share of the index above chance that vanishes when the suspects are left out.
    VanishesWithoutSuspects,
    /// Callers whose rows are likelier now than under the reference; the reference is the number of callers.
    MovedCallers,
    /// Quarters of an hour that the change took; the reference is the number up to which it counts as sudden.
    ChangeQuarters,
    /// Index of the last hour against the same hour of yesterday; the reference is its index against the reference profile.
    PsiSameHourYesterday,
    /// Largest share of the callers, over the columns, that send no value; the reference is the share of the queries.
    MissingValues,
    /// The same for values that the reference never saw.
    UnseenValues,
    /// The same for values of the wrong kind.
    UnreadableValues,
    /// The same for numbers beyond the range of the reference.
    OutOfRangeValues,
    /// Callers with a past whose accusation was held back, since so many at once have a common cause.
    HeldAccusations,
    /// Callers that are flagged as probing.
    FlaggedClients,
}

/// A signal with its figures.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelSignalValue {
    /// Which signal.
    pub signal: ModelSignal,
    /// What was measured, in the unit of the signal.
    pub value: f64,
    /// What it is compared with, in the same unit.
    pub reference: f64,
    /// Natural logarithm of the evidence against an unchanged world; 0 where the signal only describes.
    pub evidence: f64,
}

// === impl ModelSignal ===

impl ModelSignal {
    /// Every signal.
    pub const ALL: [Self; 12] = [
        Self::Psi,
        Self::ChangedAnswers,
        Self::VanishesWithoutSuspects,
        Self::MovedCallers,
        Self::ChangeQuarters,
        Self::PsiSameHourYesterday,
        Self::MissingValues,
        Self::UnseenValues,
        Self::UnreadableValues,
        Self::OutOfRangeValues,
        Self::HeldAccusations,
        Self::FlaggedClients,
    ];

    /// The name in verdict lines and snapshots.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::ChangedAnswers => "changed_answers",
            Self::VanishesWithoutSuspects => "vanishes_without_suspects",
            Self::MovedCallers => "moved_callers",
            Self::ChangeQuarters => "change_quarters",
            Self::PsiSameHourYesterday => "psi_same_hour_yesterday",
            Self::MissingValues => "missing_values",
            Self::UnseenValues => "unseen_values",
            Self::UnreadableValues => "unreadable_values",
            Self::OutOfRangeValues => "out_of_range_values",
            Self::HeldAccusations => "held_accusations",
            Self::FlaggedClients => "flagged_clients",
        }
    }

    /// What it says, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Psi => "population stability index of a column",
            Self::ChangedAnswers => "repeated rows that got other answers",
            Self::VanishesWithoutSuspects => "part of the change that vanishes without the suspects",
            Self::MovedCallers => "callers whose rows moved with the change",
            Self::ChangeQuarters => "time that the change took",
            Self::PsiSameHourYesterday => "index against the same hour of yesterday",
            Self::MissingValues => "callers that leave a column empty",
            Self::UnseenValues => "callers that send values which the reference does not know",
            Self::UnreadableValues => "callers that send values of the wrong kind",
            Self::OutOfRangeValues => "callers that send numbers beyond the reference's range",
            Self::HeldAccusations => "callers with a past that look odd together",
            Self::FlaggedClients => "callers flagged as probing",
        }
    }

    /// The unit of its value and of its reference.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Psi | Self::PsiSameHourYesterday => "nats",
            Self::ChangedAnswers => "rows",
            Self::VanishesWithoutSuspects
            | Self::MissingValues
            | Self::UnseenValues
            | Self::UnreadableValues
            | Self::OutOfRangeValues => "share",
            Self::MovedCallers | Self::HeldAccusations | Self::FlaggedClients => "callers",
            Self::ChangeQuarters => "quarters of an hour",
        }
    }

    /// The signal of columns with unknown values of a kind.
    pub const fn of_unknown(kind: UnknownValue) -> Self {
        match kind {
            UnknownValue::Missing => Self::MissingValues,
            UnknownValue::Unseen => Self::UnseenValues,
            UnknownValue::Unreadable => Self::UnreadableValues,
            UnknownValue::OutOfRange => Self::OutOfRangeValues,
        }
    }

    /// The signal of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// The signal with figures and without evidence: it describes.
    pub const fn describes(self, value: f64, reference: f64) -> ModelSignalValue {
        ModelSignalValue { signal: self, value, reference, evidence: 0.0 }
    }
}

impl Serialize for ModelSignal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ModelSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format_args!("no signal of a model is called '{name}'")))
    }
}

// === impl ModelSignalValue ===

impl From<ModelSignalValue> for SignalValue {
    fn from(signal: ModelSignalValue) -> Self {
        let ModelSignalValue { signal, value, reference, evidence } = signal;
        Self { name: signal.name(), value, reference, evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_again_by_its_name() {
        for signal in ModelSignal::ALL {
            assert_eq!(ModelSignal::named(signal.name()), Some(signal));
            let written = postcard::to_stdvec(&signal.describes(1.5, 2.0)).unwrap();
            assert_eq!(postcard::from_bytes::<ModelSignalValue>(&written).unwrap(), signal.describes(1.5, 2.0));
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_an_error_and_not_dropped() {
        let unknown = postcard::to_stdvec("phase_of_the_moon").unwrap();
        assert!(postcard::from_bytes::<ModelSignal>(&unknown).is_err());
    }
}
