//! `tripline drill --changes`: honest changes of a pipeline in copies of the user's own log, and who would be accused.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Args, Bar, file_name, judge_alone, log_name, read, read_card, threads, write_json};
use crate::cli::output::file::PackedFile;
use crate::cli::output::paths::Paths;
use crate::cli::{load, output};
use crate::config::Config;
use crate::drill::changes::outcome::ChangesOutcome;
use crate::drill::changes::{self, ChangeSettings, CopyError, card, page, table};
use crate::drill::log::Log;
use crate::exit::{Exit, Failure};
use crate::html::words;
use crate::reference::Reference;
use crate::simulate::change::kinds::KINDS;
use crate::simulate::change::{ChangeSpec, Extent, names};
use crate::source::file::STDIN;

/// Arguments of `tripline drill --changes`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Honest changes of the pipeline instead of attacks")]
pub struct ChangeArgs {
    /// Make changes of a pipeline in copies of the log instead of attacks, and say who would be accused: all, development,
    /// held-out, or KIND[:key=value..] separated by commas. `tripline simulate --list` lists them.
    #[arg(long, value_name = "WHICH,..", value_delimiter = ',', num_args = 0..=1, require_equals = true, default_missing_value = "all",
        conflicts_with_all = ["family", "delivery", "min_power", "calibration_only"])]
    pub changes: Option<Vec<String>>,
    /// With --changes: how far they reach, separated by commas: all (the whole log), mid (everybody, from half of it on), some (a
    /// third of the callers, from half of it on).
    #[arg(long, requires = "changes", value_name = "NAME,..", value_delimiter = ',', default_value = "all,mid,some", value_parser = extent)]
    pub extent: Vec<Extent>,
    /// With --changes: end with 1 if more honest callers than this are accused, in all copies together [default: 0].
    #[arg(long, requires = "changes", conflicts_with = "without_callers", value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    pub max_accused: Option<u64>,
    /// With --changes: end with 1 if something wrong is said of the model in more copies than this [default: 0].
    #[arg(long, requires = "changes", value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    pub max_wrong: Option<u64>,
    /// With --changes: keep every changed copy in this folder, with the truth about it.
    #[arg(long, requires = "changes", conflicts_with = "without_callers", value_name = "DIR")]
    pub keep_logs: Option<PathBuf>,
}

fn extent(text: &str) -> Result<Extent, String> {
    Extent::named(text).ok_or_else(|| format!("there is no extent '{text}'; extents are all, mid, some"))
}

/// The changes that are asked for.
fn specs(which: &[String], extents: &[Extent]) -> Result<Vec<ChangeSpec>, Failure> {
    let mut extents = extents.to_vec();
    extents.sort_unstable();
    extents.dedup();
    let mut specs = Vec::new();
    for one in which {
        match one.as_str() {
            "all" => specs.extend(changes::every(KINDS.iter(), &extents)),
            "development" => specs.extend(changes::every(KINDS.iter().filter(|kind| !kind.held_out), &extents)),
            "held-out" => specs.extend(changes::every(KINDS.iter().filter(|kind| kind.held_out), &extents)),
            text => {
                let (spec, stated) = ChangeSpec::parse(text).map_err(|error| {
                    let hint = if text.contains([':', '=']) { "" } else { "; all, development and held-out stand for many" };
                    Failure::new(Exit::Usage, format!("--changes: {error}{hint}"))
                })?;
                let usual =
                    extents.iter().map(|&extent| ChangeSpec { column: spec.column.clone(), ..ChangeSpec::new(spec.kind, extent) });
                if stated { specs.push(spec.clone()) } else { specs.extend(usual) }
            }
        }
    }
    let mut once: Vec<ChangeSpec> = Vec::with_capacity(specs.len());
    for spec in specs {
        if !once.contains(&spec) {
            once.push(spec);
        }
    }
    if once.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("--changes names none; changes are {}", names().join(", "))));
    }
    Ok(once)
}

/// Runs the drill of changes; `which` is what `--changes` says.
pub(super) fn run(args: &Args, which: &[String], config: &Config) -> Result<(), Failure> {
    if args.events.as_os_str() == STDIN {
        let what = "--changes reads the log once for each change, and standard input only once; save it to a file and name that";
        return Err(Failure::new(Exit::Usage, what));
    }
    let settings = ChangeSettings {
        changes: specs(which, &args.change.extent)?,
        seed: args.seed,
        events: args.events.clone(),
        decode: config.decode.clone(),
        engine: config.engine.clone(),
    };
    let reference = Arc::new(load::profile(&args.reference)?);
    refuse_columns(&settings, &reference)?;
    if let Some(folder) = &args.change.keep_logs {
        kept_paths(args, &settings, &reference, folder).check()?;
    }
    let bar = Bar::new();
    let mut log = read(args, config, &reference, &bar)?;
    if args.without_callers {
        log.take_callers_away();
    }
    let baseline = judge_alone(&log, &reference, &settings.engine, &|progress| bar.show(progress))?;
    let outcome = changes::run(&log, &reference, &settings, &baseline, threads(args), &|progress| bar.show(progress))?;
    bar.clear();
    if let Some(folder) = &args.change.keep_logs {
        keep(&outcome, &log, &reference, &settings, folder)?;
    }
    if let Some(path) = &args.json {
        write_json(path, &outcome)?;
    }
    let named = log_name(args);
    if let Some(path) = &args.report {
        output::write_atomically(path, page::ChangesPage { outcome: &outcome, log: &named }.render().as_bytes())?;
    }
    if let Some(path) = &args.card {
        let stamp = card::stamp(&reference, &log.facts.digest, &settings);
        let text = card::updated(&read_card(path)?, &outcome, &named, &stamp);
        output::write_atomically(path, text.as_bytes())?;
    }
    output::report(&table::summary(&outcome), args.json.iter().chain(&args.report).chain(&args.card))?;
    hold(&outcome, args.change.max_accused, args.change.max_wrong)
}

/// A column that is named and does not fit is a fault of the command line, and not a change that does not apply.
fn refuse_columns(settings: &ChangeSettings, reference: &Reference) -> Result<(), Failure> {
    let columns = crate::simulate::change::columns::Columns::new(reference);
    for spec in settings.changes.iter().filter(|spec| spec.column.is_some()) {
        let fault = |why| Failure::new(Exit::Usage, format!("--changes: '{}': {why}", spec.kind.name));
        spec.kind.targets(&columns, spec.column.as_deref()).map_err(fault)?;
    }
    Ok(())
}

/// Whether few enough were accused, and little enough was wrong.
fn hold(outcome: &ChangesOutcome, max_accused: Option<u64>, max_wrong: Option<u64>) -> Result<(), Failure> {
    let sums = &outcome.all;
    if sums.logs == 0 && (max_accused.is_some() || max_wrong.is_some()) {
        let what = "no change changes anything in this log, so there is nothing to hold --max-accused or --max-wrong against";
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut broken = Vec::new();
    if let Some(most) = max_accused.filter(|most| sums.accused > *most) {
        let who = words::counted(sums.accused, "honest caller was accused", "honest callers were accused");
        broken.push(format!("{who} in {} of {} logs, more than --max-accused {most}", sums.with_accused, sums.logs));
    }
    if let Some(most) = max_wrong.filter(|most| sums.wrong > *most) {
        broken.push(format!("the model's verdict is wrong in {} of {} logs, more than --max-wrong {most}", sums.wrong, sums.logs));
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Floor, broken.join("; "))) }
}

/// What kept copies are named after.
fn kept_name(settings: &ChangeSettings) -> String {
    file_name(&settings.events).map_or_else(|| "log".to_owned(), |name| name.split('.').next().unwrap_or("log").to_owned())
}

/// The files of kept copies, beside what is read.
fn kept_paths(args: &Args, settings: &ChangeSettings, reference: &Reference, folder: &Path) -> Paths {
    let name = kept_name(settings);
    let read = Paths::default().reads("the log", &args.events).reads("--reference", &args.reference);
    changes::bind(settings, reference).0.iter().fold(read.reads_all("--config", &args.config), |all, change| {
        let folder = folder.join(changes::folder(&name, &change.spec));
        all.writes("--keep-logs", &folder.join("events.jsonl.zst")).writes("--keep-logs", &folder.join("truth.json"))
    })
}

/// Writes every changed copy into a folder of its own, with the truth about it.
fn keep(
    outcome: &ChangesOutcome,
    log: &Log,
    reference: &Reference,
    settings: &ChangeSettings,
    folder: &Path,
) -> Result<(), Failure> {
    let io = |path: &Path, error: &std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", path.display()));
    let name = kept_name(settings);
    let (bound, _) = changes::bind(settings, reference);
    for (change, trial) in bound.iter().zip(&outcome.trials).filter(|(_, trial)| trial.changed > 0) {
        let folder = folder.join(changes::folder(&name, &change.spec));
        std::fs::create_dir_all(&folder).map_err(|error| io(&folder, &error))?;
        let path = folder.join("events.jsonl.zst");
        let mut out = PackedFile::create(&path)?;
        changes::copy(log, settings, change, &mut |bytes| out.write_all(bytes)).map_err(|error| match error {
            CopyError::Read(error) => error.into(),
            CopyError::Write(error) => io(&path, &error),
        })?;
        out.finish()?;
        let truth = changes::truth(outcome, trial, &name);
        write_json(&folder.join("truth.json"), &truth)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(which: &[&str], extents: &[Extent]) -> Result<Vec<ChangeSpec>, Failure> {
        specs(&which.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(), extents)
    }

    #[test]
    fn a_third_of_the_kinds_is_kept_aside_and_the_parts_make_the_whole() {
        let count = |which| asked(&[which], &Extent::ALL).unwrap().len();
        assert_eq!((count("all"), count("development"), count("held-out")), (144, 96, 48));
        assert_eq!(asked(&["development", "held-out", "all"], &Extent::ALL).unwrap().len(), 144, "each once");
    }

    #[test]
    fn a_kind_alone_runs_in_every_extent_and_one_with_an_extent_in_that_alone() {
        let extents =
            |which| asked(&[which], &[Extent::All, Extent::Some]).unwrap().iter().map(|one| one.extent).collect::<Vec<_>>();
        assert_eq!(extents("rounded"), [Extent::All, Extent::Some]);
        assert_eq!(extents("rounded:extent=mid"), [Extent::Mid]);
        assert_eq!(extents("rounded:share=0.1"), [Extent::Some]);
        assert_eq!(extents("rounded:at=0.7"), [Extent::Mid]);
        assert_eq!(extents("rounded:column=age"), [Extent::All, Extent::Some]);
    }

    #[test]
    fn a_change_that_does_not_exist_is_answered_with_those_that_do() {
        let failure = asked(&["telepathy"], &Extent::ALL).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for words in ["'telepathy'", "space_before_text", "jitter_1_percent", "held-out"] {
            assert!(failure.message.contains(words), "{words}: {failure}");
        }
        assert!(asked(&["rounded:share=2"], &Extent::ALL).unwrap_err().message.contains("share=2"));
    }
}
