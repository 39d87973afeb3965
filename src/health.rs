//! Whether the process lives and whether it is ready for work: two different questions.
//!
//! *Alive* depends on nothing outside the process: a broker that is down must not make an orchestrator restart every instance.
//! *Ready* is one shared atomic, set by whoever knows (the runtime, the shutdown) and read by the health endpoint. It carries a
//! reason, since "not ready" alone sends the person on call to the logs.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What the instance is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Configuration and references are being loaded.
    Starting = 0,
    /// The source has not answered yet.
    Connecting = 1,
    /// Reading and judging.
    Ready = 2,
    /// The source stopped answering; it is being retried.
    Retrying = 3,
    /// Told to stop: finishing what was read.
    Stopping = 4,
    /// Reading back the state of before.
    Restoring = 5,
    /// Another member has some of the partitions; nothing is judged until they are back.
    Split = 6,
}

/// The shared readiness; clones speak of the same instance.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    /// What is not judged yet, a line a model. It changes nothing of being ready.
    open: RwLock<Vec<String>>,
}

// === impl Phase ===

impl Phase {
    /// Every phase, by its number.
    const ALL: [Self; 7] =
        [Self::Starting, Self::Connecting, Self::Ready, Self::Retrying, Self::Stopping, Self::Restoring, Self::Split];

    /// The reason in plain words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Starting => "starting: loading configuration and reference profiles",
            Self::Connecting => "waiting for the first answer of the source",
            Self::Ready => "ready",
            Self::Retrying => "the source stopped answering; retrying",
            Self::Stopping => "stopping: finishing what was read",
            Self::Restoring => "restoring state from the object store",
            Self::Split => {
                "another member of the group has some of the partitions, so models would be judged in halves; let one process have all of \
                 them, or write runtime.topology = \"repartition\", or key the topic by model"
            }
        }
    }
}

// === impl Readiness ===

impl Readiness {
    /// Enters a phase. Stopping is final: a late success of another thread must not call traffic back.
    pub fn set(&self, phase: Phase) {
        // The closure refuses to leave the last phase; the refusal is the wanted outcome.
        let _ = self
            .0
            .phase
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now != Phase::Stopping as u8).then_some(phase as u8));
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        Phase::ALL.get(usize::from(self.0.phase.load(Ordering::Acquire))).copied().unwrap_or(Phase::Starting)
    }

    /// What is not judged yet, a line a model; empty if all is.
    pub fn open(&self) -> Vec<String> {
        self.0.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what is not judged yet.
    pub fn set_open(&self, open: Vec<String>) {
        *self.0.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// Whether traffic (or a partition) may be given to this instance.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_phase() {
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(number, phase as usize);
        }
    }

    #[test]
    fn an_instance_that_stops_never_becomes_ready_again() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        readiness.set(Phase::Ready);
        assert!(readiness.is_ready());
        readiness.set(Phase::Stopping);
        readiness.set(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Stopping);
    }
}
