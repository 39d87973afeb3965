//! What a replay writes at its end: the summary as a document, and the page.

use std::io::Write as _;
use std::path::Path;

use super::Args;
use super::recorder::{Recorder, Stopped};
use crate::cli::output::create_with_folders;
use crate::cli::output::file::OutputFile;
use crate::cli::output::say;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::html::words;
use crate::replay::Ended;
use crate::report::denylist::Denylist;
use crate::report::document::SummaryDocument;
use crate::report::page::ReportPage;
use crate::source::file::{FileError, STDIN};

/// The outputs of the end, opened at the start.
pub(super) struct Results {
    summary: Option<OutputFile>,
    report: Option<OutputFile>,
    denylist: Option<OutputFile>,
}

// === impl Results ===

impl Results {
    pub(super) fn create(args: &Args) -> Result<Self, Failure> {
        let create = |path: &Option<_>| path.as_deref().map(create_with_folders).transpose();
        Ok(Self { summary: create(&args.summary)?, report: create(&args.report)?, denylist: create(&args.denylist)? })
    }

    /// Whether anything is wanted at the end.
    pub(super) fn any(&self) -> bool {
        self.summary.is_some() || self.report.is_some() || self.denylist.is_some()
    }

    /// Writes them. Of a log that was not read to its end, the summary alone is written, and only if it says why.
    pub(super) fn write(
        self,
        args: &Args,
        recorder: &Recorder,
        engine: &Engine,
        ended: &Ended<FileError, Stopped>,
    ) -> Result<(), Failure> {
        if let Some(file) = self.summary
            && matches!(ended, Ended::Whole | Ended::Observer(Stopped::TooMuchBadData))
        {
            let mut document = serde_json::to_vec(&SummaryDocument::of(&recorder.summary))
                .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
            document.push(b'\n');
            write(file, &document)?;
        }
        if let Some(file) = self.report
            && matches!(ended, Ended::Whole)
        {
            write(file, page(&args.events, recorder, engine).as_bytes())?;
        }
        if let (Some(file), Some(list), Some(path)) = (self.denylist, &recorder.denylist, &args.denylist)
            && matches!(ended, Ended::Whole)
        {
            let is_csv = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("csv"));
            let text = if is_csv { list.csv(args.denylist_duration.0) } else { list.lines() };
            write(file, text.as_bytes())?;
            say(&listed(list, is_csv));
        }
        Ok(())
    }
}

/// What a person should know before the list is used.
fn listed(list: &Denylist, is_csv: bool) -> String {
    let [addresses, accounts, spared] = list.counts();
    let mut text = format!("tripline: the list has {}", words::counted(addresses, "address or network", "addresses and networks"));
    if accounts > 0 && is_csv {
        text += &format!(" and {}", words::counted(accounts, "account", "accounts"));
    } else if accounts > 0 {
        let accounts = words::counted(accounts, "account is", "accounts are");
        text += &format!("; {accounts} no address and not in it (a name that ends with .csv lists them as well)");
    }
    if spared > 0 {
        text += &format!("; {} or spared, and left out", words::counted(spared, "entry is private", "entries are private"));
    }
    text
}

fn write(mut file: OutputFile, bytes: &[u8]) -> Result<(), Failure> {
    file.write_all(bytes).map_err(|error| file.failed(&error))?;
    file.finish()
}

fn page(events: &Path, recorder: &Recorder, engine: &Engine) -> String {
    // The name alone: a report is passed on, and where the log lay is nobody's business.
    let name = events.file_name().filter(|name| *name != STDIN);
    let events = name.map_or("standard input".into(), |name| name.to_string_lossy());
    ReportPage { events: &events, summary: &recorder.summary, samples: &recorder.samples, config: engine.config() }.render()
}
