//! The keeper: the thread that reads and writes snapshots, so that the loop of the service does neither.
//!
//! The loop hands over copies of its engines and goes on. Packing, encrypting and the store's answers happen here. At most one cut is under
//! way; the loop asks for the next one when this one is reported. An error is reported and not repeated here, because the next cut is newer.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::keys::Keys;
use super::manifest::SnapshotInfo;
use super::payload;
use super::store::Store;
use super::unit::{Found, Unit, Written};
use super::{CheckpointError, Offsets};
use crate::clock::{self, Deadline};
use crate::engine::{Engine, SNAPSHOT_FORMAT};
use crate::event::EventTime;
use crate::repartition::order::Place;

/// Longest wait for all units to be read. Chosen: a store nearby gives a gigabyte in ten seconds; an orchestrator waits about a minute.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(60);

/// A model at a cut.
#[derive(Debug)]
pub struct UnitCut {
    /// An engine of this model alone.
    pub engine: Engine,
    /// Model.
    pub model: String,
    /// SHA-256 of its reference.
    pub reference: String,
    /// Next offsets of what is in its state.
    pub offsets: Offsets,
    /// Where in the rows topic it is, in the topology `repartition`.
    pub log: Option<Place>,
}

/// All models at one moment.
#[derive(Debug)]
pub struct Cut {
    /// When it was made.
    pub taken: EventTime,
    /// The models.
    pub units: Vec<UnitCut>,
}

/// What became of a model's snapshot.
#[derive(Debug)]
pub struct UnitReport {
    /// Model.
    pub model: String,
    /// When the cut was made.
    pub taken: EventTime,
    /// Next offsets of what is in the snapshot.
    pub offsets: Offsets,
    /// Bytes of the object.
    pub bytes: u64,
    /// How long packing and writing took.
    pub took: Duration,
    /// Whether it is complete.
    pub outcome: Result<Written, CheckpointError>,
}

/// How a unit was found at an assignment.
#[derive(Debug)]
pub enum Takeover {
    /// Nobody has had it since we wrote it: what is in memory goes on.
    StillOurs,
    /// What the store holds.
    Found(Box<Found>),
}

enum Order {
    TakeOver(Sender<Result<Vec<(String, Takeover)>, CheckpointError>>),
    Write(Cut),
}

/// The thread's other end.
#[derive(Debug)]
pub struct Keeper {
    orders: Sender<Order>,
    reports: Receiver<Vec<UnitReport>>,
    url: String,
}

struct Worker {
    runtime: tokio::runtime::Runtime,
    units: Vec<Unit>,
    keys: Keys,
}

// === impl Keeper ===

impl Keeper {
    /// Starts the thread for these models. `group` is the consumer group: another one has its own state.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(store: &Store, group: &str, models: &[String], keys: Keys) -> Result<Self, CheckpointError> {
        let url = store.url().to_owned();
        let fault = |error: std::io::Error| CheckpointError::Store { url: url.clone(), what: format!("no thread for it: {error}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let units = models.iter().map(|model| Unit::new(store.folder(&[group, model]), model)).collect();
        let (orders, ordered) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        let worker = Worker { runtime, units, keys };
        let thread = std::thread::Builder::new().name("snapshots".into());
        thread.spawn(move || worker.work(&ordered, &report)).map_err(fault)?;
        Ok(Self { orders, reports, url })
    }

    /// Where the snapshots lie, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes all units over and returns what was found of each. It waits for the store.
    ///
    /// # Errors
    /// If the store fails, or does not answer in time.
    pub fn take_over(&self) -> Result<Vec<(String, Takeover)>, CheckpointError> {
        let (reply, answer) = mpsc::channel();
        let fault = |what: String| CheckpointError::Store { url: self.url.clone(), what };
        self.orders.send(Order::TakeOver(reply)).map_err(|_| fault("its thread has ended".into()))?;
        match answer.recv_timeout(TAKE_OVER_LIMIT) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Err(fault(format!("no answer within {} s", TAKE_OVER_LIMIT.as_secs()))),
            Err(RecvTimeoutError::Disconnected) => Err(fault("its thread has ended".into())),
        }
    }

    /// Hands a cut over; `false` if the thread has ended.
    pub fn write(&self, cut: Cut) -> bool {
        self.orders.send(Order::Write(cut)).is_ok()
    }

    /// The report of a cut, if there is one by `deadline`.
    pub fn report(&self, deadline: Deadline) -> Option<Vec<UnitReport>> {
        self.reports.recv_timeout(deadline.remaining()).ok()
    }
}

// === impl Worker ===

impl Worker {
    fn work(mut self, orders: &Receiver<Order>, reports: &Sender<Vec<UnitReport>>) {
        // The loop is gone when either end is closed; nobody waits for the answer then.
        while let Ok(order) = orders.recv() {
            match order {
                Order::TakeOver(reply) => {
                    let found = self.take_over();
                    let _ = reply.send(found);
                }
                Order::Write(mut cut) => {
                    let taken = cut.taken;
                    // First of all models, so that judging soon need not copy for us.
                    cut.units.iter_mut().for_each(|unit| unit.engine.unshare());
                    let units = cut.units.into_iter().map(|unit| self.write(unit, taken)).collect();
                    let _ = reports.send(units);
                }
            }
        }
    }

    fn take_over(&mut self) -> Result<Vec<(String, Takeover)>, CheckpointError> {
        let Self { runtime, units, keys } = self;
        let one = |unit: &mut Unit| {
            runtime.block_on(async {
                let model = unit.model().to_owned();
                if unit.is_still_ours().await? {
                    return Ok((model, Takeover::StillOurs));
                }
                Ok((model, Takeover::Found(Box::new(unit.take_over(keys).await?))))
            })
        };
        units.iter_mut().map(one).collect()
    }

    fn write(&mut self, cut: UnitCut, taken: EventTime) -> UnitReport {
        let begun = clock::instant();
        let UnitCut { engine, model, reference, offsets, log } = cut;
        let mut report = UnitReport { model, taken, offsets, bytes: 0, took: Duration::ZERO, outcome: Ok(Written::Fenced) };
        report.outcome = self.packed_and_written(engine, (reference, log), &mut report);
        report.took = clock::instant().duration_since(begun);
        report
    }

    fn packed_and_written(
        &mut self,
        engine: Engine,
        (reference, log): (String, Option<Place>),
        report: &mut UnitReport,
    ) -> Result<Written, CheckpointError> {
        let Self { runtime, units, keys } = self;
        let gone = || CheckpointError::Unusable(format!("there is no model '{}'", report.model));
        let unit = units.iter_mut().find(|unit| unit.model() == report.model).ok_or_else(gone)?;
        if unit.is_fenced() {
            return Ok(Written::Fenced);
        }
        let snapshot = engine.snapshot(&report.model).ok_or_else(gone)?;
        let belongs_to = format!("{}/{}", unit.store().place(), report.taken.micros());
        let (data, info) = payload::pack(&snapshot, keys.newest(), belongs_to)
            .map_err(|what| CheckpointError::Unusable(format!("the state of '{}' cannot be written: {what}", report.model)))?;
        drop(snapshot);
        report.bytes = info.bytes;
        let status = engine.status().into_iter().next().unwrap_or_default();
        let info = SnapshotInfo {
            taken_micros: report.taken.micros(),
            watermark_micros: status.watermark.micros(),
            reference,
            state_format: SNAPSHOT_FORMAT,
            offsets: SnapshotInfo::offsets_by_topic(&report.offsets),
            log,
            queries: status.queries,
            late: status.late,
            clients: status.clients,
            data: info,
        };
        // The copy is as large as the state; it is given back before the store's answer is waited for.
        drop(engine);
        runtime.block_on(async {
            // The store was away when the service started.
            if !unit.is_taken() && unit.take_over(keys).await?.snapshot.is_some() {
                tracing::warn!(
                    model = unit.model(),
                    "the object store is back; the state that it had is replaced by what was learned since the start"
                );
            }
            unit.write(data, info).await
        })
    }
}
