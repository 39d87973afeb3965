//! What a replay keeps and says on the way: counts, files, samples for the report, warnings, and how the command ends.

use std::time::Duration;

use serde::Serialize;

use super::lines::{Output, Progress};
use super::source_failure;
use crate::cli::limit::{Limit, SHARE_FLOOR};
use crate::engine::ModelStatus;
use crate::exit::{Exit, Failure};
use crate::html::words;
use crate::judge::Verdict;
use crate::observer::{ObservedRecord, Observer};
use crate::outcome::{Outcome, OutcomeCounts, RejectReason};
use crate::replay::Ended;
use crate::report::denylist::Denylist;
use crate::report::sample::Sample;
use crate::report::summary::{Summary, mismatch_sentence};
use crate::sink::DeadLetter;
use crate::sink::dead_letter::DeadLetterLine;
use crate::source::file::FileError;

/// Bytes of payload kept in a dead letter. A whole message is kept up to the size that Kafka takes by default.
const DEAD_LETTER_BYTES: usize = 1024 * 1024;

/// What a replay keeps: files, counts, samples for the report, the progress bar.
pub(super) struct Recorder {
    /// Name of the log.
    pub(super) log: String,
    pub(super) summary: Summary,
    /// One a model; empty without `--report`.
    pub(super) samples: Vec<Sample>,
    pub(super) max_rejects: Limit,
    pub(super) max_late: Limit,
    /// How late a query may come, in seconds.
    pub(super) lateness_seconds: u32,
    /// Whether a model that was not judged is a failure.
    pub(super) require_judged: bool,
    /// Whether it was said that the log is not in time order.
    pub(super) disorder_said: bool,
    /// Who was found probing, if it is wanted.
    pub(super) denylist: Option<Denylist>,
    pub(super) verdicts: Option<Output>,
    pub(super) dead_letters: Option<Output>,
    /// Whether anything is written at the end.
    pub(super) has_results: bool,
    pub(super) progress: Progress,
}

/// Why the recorder ends a replay.
#[derive(Debug)]
pub(super) enum Stopped {
    /// There is more bad data than allowed.
    TooMuchBadData,
    /// A file cannot be written.
    Failed(Failure),
    /// Nobody reads the only output any more.
    Closed,
}

// === impl Recorder ===

impl Recorder {
    /// Whether there is more bad data than allowed; `whole` says that the log has ended. Before its end, most of it must be bad:
    /// that is a log in another layout. Otherwise the log is judged to its end, because who leaves many bad records may be hiding.
    fn is_too_much(&self, whole: bool) -> bool {
        let unknown = self.summary.rejected(RejectReason::UnknownModel.label());
        let rejected = self.summary.rejections() - unknown;
        let nothing_used = whole && self.summary.accepted + self.summary.late == 0 && rejected + unknown > 0;
        let is_other_layout = rejected > self.summary.messages() / 2;
        (rejected > self.max_rejects.allows_so_far(self.summary.messages()) && (whole || is_other_layout)) || nothing_used
    }

    fn dead_letter(&mut self, record: &ObservedRecord<'_>) -> Result<(), Stopped> {
        let message = record.message();
        let only = self.verdicts.is_none() && !self.has_results;
        match (&mut self.dead_letters, DeadLetter::of(record, &message)) {
            (Some(output), Some(letter)) => put(output, &DeadLetterLine::new(&letter, &self.log, DEAD_LETTER_BYTES), only),
            _ => Ok(()),
        }
    }

    /// Notes in the summary why the log was not read to its end.
    pub(super) fn note_stop(&mut self, ended: &Ended<FileError, Stopped>) {
        let why = match ended {
            Ended::Observer(Stopped::TooMuchBadData) => format!(
                "more than half of the records cannot be used, and more than --max-rejects allows ({}); the reason of each is below",
                words::count(self.max_rejects.allows_so_far(self.summary.messages()))
            ),
            Ended::Observer(Stopped::Failed(failure)) => failure.message.clone(),
            Ended::Source(error) => error.to_string(),
            Ended::Observer(Stopped::Closed) | Ended::Whole => return,
        };
        self.summary.stopped = Some(why);
    }

    /// Says at once that most records come late.
    fn warn_of_disorder(&mut self) {
        let Summary { accepted, late, .. } = self.summary;
        let queries = accepted + late;
        if self.disorder_said || queries < SHARE_FLOOR || late <= self.max_late.allows(queries) {
            return;
        }
        self.disorder_said = true;
        let lateness = words::duration(f64::from(self.lateness_seconds));
        self.progress.say(&format!(
            "warning: {} of the first {} records came more than {lateness} after newer ones: the log is not in time order. \
             Sort it first: tripline replay --sort ...",
            words::count(late),
            words::count(queries)
        ));
    }

    /// The models of the references that were not judged, with the reason.
    fn not_judged(&self) -> Vec<String> {
        let not_judged =
            self.summary.models().iter().map(|model| (model, model.answer())).filter(|(_, answer)| !answer.is_judged());
        not_judged
            .map(|(model, answer)| {
                let name = words::printable(&model.model, 80);
                if model.accepted + model.late == 0 {
                    return format!("{name} was not judged: the log has no query to it");
                }
                format!("{name} was not judged: {}", answer.open.first().map_or(answer.headline, String::as_str))
            })
            .collect()
    }

    /// What the command ends with.
    pub(super) fn conclude(&self, ended: Ended<FileError, Stopped>, disorder: Option<String>) -> Result<(), Failure> {
        match ended {
            Ended::Observer(Stopped::Closed) => Ok(()),
            Ended::Observer(Stopped::Failed(failure)) => Err(failure),
            Ended::Source(error) => {
                let judged = format!(
                    "; the {} events before that were judged, and no output file was written",
                    self.summary.accepted + self.summary.late
                );
                let failure = source_failure(&error);
                Err(Failure::new(failure.exit, failure.message + &judged))
            }
            Ended::Observer(Stopped::TooMuchBadData) => Err(self.too_much_bad_data()),
            Ended::Whole if self.is_too_much(true) => Err(self.too_much_bad_data()),
            Ended::Whole => match disorder {
                Some(why) => Err(Failure::new(Exit::Data, format!("{why} (--max-late allows more)"))),
                None if self.require_judged => match self.not_judged() {
                    models if models.is_empty() => Ok(()),
                    models => Err(Failure::new(Exit::Floor, models.join("; "))),
                },
                None => Ok(()),
            },
        }
    }

    fn too_much_bad_data(&self) -> Failure {
        let Summary { accepted, late, .. } = self.summary;
        let why = match self.summary.first_rejection() {
            Some((reason, example)) => {
                let remedy = RejectReason::ALL.into_iter().find(|known| known.label() == reason).map(RejectReason::remedy);
                let to_do = remedy.map(|remedy| format!(" (to do: {remedy})")).unwrap_or_default();
                format!("; the first is {reason} in line {}: {}{to_do}", example.provenance.offset + 1, example.message)
            }
            None => String::new(),
        };
        let count = self.summary.rejections();
        let hint =
            "see --dead-letters for all of them, --max-rejects to allow more, and [decode.mapping] in --config for other layouts";
        let stopped = match self.summary.stopped {
            Some(_) => format!("reading stopped after {}; ", words::counted(self.summary.messages(), "event", "events")),
            None => String::new(),
        };
        let message = if accepted + late == 0 {
            format!("{stopped}none of {count} events could be used{why}; {hint}")
        } else {
            format!("{stopped}{count} of {} events could not be used{why}; {hint}", count + accepted + late)
        };
        Failure::new(Exit::Data, message)
    }
}

/// Writes a line. When nobody reads the `only` output any more, there is nothing left to do.
fn put(output: &mut Output, line: &impl Serialize, only: bool) -> Result<(), Stopped> {
    output.line(line).map_err(Stopped::Failed)?;
    if only && output.is_closed() { Err(Stopped::Closed) } else { Ok(()) }
}

impl Observer for Recorder {
    type Error = Stopped;

    fn keeps_originals(&self) -> bool {
        self.dead_letters.is_some()
    }

    fn record(&mut self, record: &ObservedRecord<'_>) -> Result<(), Stopped> {
        let mismatches = match (record.outcome, record.query) {
            (Outcome::Accepted, Some(query)) => self.summary.accepted(query),
            (Outcome::Late { .. }, Some(query)) => {
                let mismatches = self.summary.late(query);
                self.warn_of_disorder();
                mismatches
            }
            (Outcome::Rejected(rejection), _) => {
                self.summary.reject(rejection, record.provenance);
                Vec::new()
            }
            // Only a decoded record is accepted or late.
            (Outcome::Accepted | Outcome::Late { .. }, None) => Vec::new(),
        };
        for mismatch in &mismatches {
            let model = record.query.map_or("", |query| &query.model);
            self.progress.say(&format!("warning: {}: {}", words::printable(model, 80), mismatch_sentence(mismatch)));
        }
        if *record.outcome != Outcome::Accepted {
            self.dead_letter(record)?;
        }
        if let Outcome::Rejected(_) = record.outcome {
            return if self.is_too_much(false) { Err(Stopped::TooMuchBadData) } else { Ok(()) };
        }
        // Few models; a map would cost more than it saves.
        if let Some(query) = record.query
            && let Some(sample) = self.samples.iter_mut().find(|sample| sample.reference().model == query.model)
        {
            sample.take(query, record.gap_seconds);
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Stopped> {
        self.summary.verdict(verdict);
        if let Some(list) = &mut self.denylist {
            list.take(verdict);
        }
        let only = self.dead_letters.is_none() && !self.has_results;
        self.verdicts.as_mut().map_or(Ok(()), |output| put(output, verdict, only))
    }

    fn status(&mut self, models: &[ModelStatus], _counts: &OutcomeCounts, _elapsed: Duration) -> Result<(), Stopped> {
        self.summary.status(models.to_vec());
        Ok(())
    }

    fn pause(&mut self) {
        self.progress.show(self.summary.accepted + self.summary.late);
    }
}
