//! What a command reads and writes, compared before anything is opened.
//!
//! A typing error must not destroy a file: `replay x.jsonl --verdicts x.jsonl`, a link to the log, the same name twice. Two paths mean
//! the same file when the system says so (device and inode), whatever they are called. A file that does not exist yet is known by
//! its folder and its name.
//!
//! Devices and pipes hold nothing that could be lost, so several outputs may go to `/dev/null`.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::exit::{Exit, Failure};

/// The name that stands for standard input or standard output.
const STANDARD: &str = "-";
/// Most symbolic links that are followed. Chosen: Linux follows as many.
const MAX_LINKS: usize = 40;

/// The files of a command, each with its part in it (`the log`, `--report`).
#[derive(Debug, Default)]
pub struct Paths {
    inputs: Vec<Named>,
    outputs: Vec<Named>,
}

/// A path and its part.
#[derive(Debug)]
struct Named {
    part: String,
    path: PathBuf,
}

/// What makes two paths the same file.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Identity {
    /// A file that exists: device and inode.
    #[cfg(unix)]
    File(u64, u64),
    /// A file that does not exist, or a system without inodes: the path without links.
    Path(PathBuf),
}

// === impl Paths ===

impl Paths {
    /// A file that the command reads.
    #[must_use]
    pub fn reads(mut self, part: &str, path: &Path) -> Self {
        self.inputs.push(Named { part: part.to_owned(), path: path.to_owned() });
        self
    }

    /// Files that the command reads, if they are given.
    #[must_use]
    pub fn reads_all<'a>(self, part: &str, paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        paths.into_iter().fold(self, |all, path| all.reads(part, path))
    }

    /// A file that the command writes, if it is given.
    #[must_use]
    pub fn writes<'a>(mut self, part: &str, path: impl Into<Option<&'a PathBuf>>) -> Self {
        if let Some(path) = path.into() {
            self.outputs.push(Named { part: part.to_owned(), path: path.clone() });
        }
        self
    }

    /// Refuses an output that is an input or another output.
    ///
    /// # Errors
    /// 64 with both parts and what to do.
    pub fn check(&self) -> Result<(), Failure> {
        let inputs: Vec<_> = self.inputs.iter().filter_map(|file| Some((file, identity(&file.path, "/dev/stdin")?))).collect();
        let mut outputs: Vec<(&Named, Identity)> = Vec::with_capacity(self.outputs.len() + 1);
        // A shell may have sent standard output to a file, and what is not asked for elsewhere is printed there.
        let printed = Named { part: "standard output".to_owned(), path: STANDARD.into() };
        let goes_to_standard = |file: &&Named| is_standard_output(&file.path);
        let stated: Vec<&Named> = self.outputs.iter().filter(|file| !goes_to_standard(file)).collect();
        for file in std::iter::once(&printed).chain(stated) {
            let Some(found) = identity(&file.path, "/dev/stdout") else { continue };
            let input = inputs.iter().find(|(_, input)| *input == found);
            let output = outputs.iter().find(|(_, output)| *output == found);
            if let Some((other, _)) = input {
                return Err(refusal(file, other, "is read"));
            }
            if let Some((other, _)) = output {
                return Err(refusal(file, other, "is written"));
            }
            outputs.push((file, found));
        }
        Ok(())
    }
}

fn refusal(file: &Named, other: &Named, use_of_it: &str) -> Failure {
    let shown = |file: &Named| if file.path == Path::new(STANDARD) { String::new() } else { format!(" {}", file.path.display()) };
    let message = format!(
        "{}{} is the same file as {}{}, which {use_of_it} by this command; nothing was opened or changed; name another file",
        file.part,
        shown(file),
        other.part,
        shown(other)
    );
    Failure::new(Exit::Usage, message)
}

/// Whether a path means standard output: `-`, or the system's names for it.
pub(super) fn is_standard_output(path: &Path) -> bool {
    path == Path::new(STANDARD) || link_to_descriptor(path).is_some_and(|end| is_descriptor_one(&end))
}

fn is_descriptor_one(end: &Path) -> bool {
    let own = format!("/proc/{}/fd/1", std::process::id());
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| end == Path::new(name)) || end == Path::new(&own)
}

/// The name of an open descriptor that `path` is or links to (`/dev/stderr`, `/dev/fd/63` of a shell's `>(…)`).
pub(super) fn link_to_descriptor(path: &Path) -> Option<PathBuf> {
    let mut at = std::path::absolute(path).ok()?;
    for _ in 0..MAX_LINKS {
        let text = at.to_string_lossy();
        let named = ["/dev/stdin", "/dev/stdout", "/dev/stderr"].contains(&&*text);
        if named || text.starts_with("/dev/fd/") || (text.starts_with("/proc/") && text.contains("/fd/")) {
            return Some(at.clone());
        }
        let target = fs::read_link(&at).ok()?;
        at = at.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    None
}

/// What a path means; `None` for devices, pipes and what cannot be looked at. `standard` is what `-` means.
fn identity(path: &Path, standard: &str) -> Option<Identity> {
    let path = if path == Path::new(STANDARD) { Path::new(standard) } else { path };
    match fs::metadata(path) {
        Ok(about) if about.is_file() => identity_of(path, &about),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Identity::Path(resolve(path))),
        Err(_) => None,
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on systems without inodes")]
fn identity_of(_: &Path, about: &fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    Some(Identity::File(about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn identity_of(path: &Path, _: &fs::Metadata) -> Option<Identity> {
    fs::canonicalize(path).ok().map(Identity::Path)
}

/// The path of a file without links, also when the file or its folders do not exist yet.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let mut at = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..MAX_LINKS {
        if let Ok(known) = fs::canonicalize(&at) {
            return known;
        }
        match fs::read_link(&at) {
            // A link to a file that does not exist yet.
            Ok(target) => at = at.parent().map_or_else(|| target.clone(), |folder| folder.join(&target)),
            Err(_) => break,
        }
    }
    // What exists of the path is freed of links; the rest has none.
    let mut known = PathBuf::new();
    for part in at.components() {
        match part {
            Component::ParentDir => {
                known.pop();
            }
            Component::CurDir => {}
            part => {
                known.push(part);
                known = fs::canonicalize(&known).unwrap_or(known);
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an output is refused beside an input.
    fn refused(input: &Path, output: &Path) -> bool {
        let checked = Paths::default().reads("the log", input).writes("--verdicts", &output.to_owned()).check();
        checked.is_err_and(|failure| failure.exit == Exit::Usage && failure.message.contains("--verdicts"))
    }

    #[cfg(unix)]
    #[test]
    fn every_name_of_a_file_is_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("log"), "x").unwrap();
        fs::hard_link(at("log"), at("hard")).unwrap();
        std::os::unix::fs::symlink("log", at("soft")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("folder")).unwrap();
        for name in ["log", "hard", "soft", "folder/log", "inner/../log", "./log", "folder/folder/soft"] {
            assert!(refused(&at("log"), &at(name)), "{name}");
        }
        assert!(!refused(&at("log"), &at("other")) && !refused(&at("log"), Path::new("/dev/null")));
    }

    #[cfg(unix)]
    #[test]
    fn outputs_that_do_not_exist_yet_are_told_apart_by_folder_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        std::os::unix::fs::symlink("new", at("dangling")).unwrap();
        let twice = |one: &str, two: &str| {
            Paths::default().writes("--verdicts", &at(one)).writes("--report", &at(two)).check().map_err(|failure| failure.message)
        };
        for (one, two) in [("new", "inner/../new"), ("dangling", "new"), ("made/later/x", "made/later/./x")] {
            let message = twice(one, two).unwrap_err();
            assert!(message.contains("--verdicts") && message.contains("--report"), "{message}");
        }
        assert_eq!(twice("new", "inner/new"), Ok(()));
    }

    #[test]
    fn outputs_without_content_may_be_shared() {
        let null = PathBuf::from("/dev/null");
        let standard = PathBuf::from("-");
        let paths = Paths::default().writes("--verdicts", &null).writes("--report", &null);
        assert!(paths.writes("--summary", &standard).writes("--dead-letters", &standard).check().is_ok());
    }

    #[test]
    fn the_system_s_names_of_standard_output_are_known() {
        assert!(is_standard_output(Path::new("-")));
        assert!(is_standard_output(Path::new("/dev/stdout")));
        assert!(!is_standard_output(Path::new("/dev/stderr")) && !is_standard_output(Path::new("stdout")));
        assert!(link_to_descriptor(Path::new("/dev/fd/63")).is_some() && link_to_descriptor(Path::new("/dev/null")).is_none());
    }
}
