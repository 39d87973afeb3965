//! The request to stop: made by the code that started the service, or by a signal.
//!
//! It is a flag that the processing loop checks between two steps. No task is cancelled, so records that were read are always finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop, by a signal or by the code that started the service. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

// === impl Stop ===

impl Stop {
    /// Asks for an orderly end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody has asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Hears that somebody wants the end: the first time it asks for an orderly one, the second time it ends the process.
    fn hear(&self, name: &'static str) {
        if self.asked() {
            tracing::warn!(name, "a second signal: ending at once, without committing");
            // 128 + SIGINT, as a shell reports it.
            std::process::exit(130);
        }
        tracing::info!(name, "stopping: finishing what was read");
        self.ask();
    }

    /// From now on SIGTERM and Ctrl-C are heard.
    #[cfg(unix)]
    pub(super) async fn listen(self) {
        use tokio::signal::unix::{SignalKind, signal};
        // Made once: a listener made anew for each signal would miss one that comes in between.
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::warn!("signals cannot be had: the service can only be killed");
            return;
        };
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "Ctrl-C",
            };
            self.hear(name);
        }
    }

    /// From now on Ctrl-C is heard.
    #[cfg(not(unix))]
    pub(super) async fn listen(self) {
        while tokio::signal::ctrl_c().await.is_ok() {
            self.hear("Ctrl-C");
        }
    }
}
