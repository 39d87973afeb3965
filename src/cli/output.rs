//! Writes results: a file as a whole or not at all, and text to standard output. Reads small files whole.

use std::io::Write as _;
use std::path::Path;

use crate::exit::{Exit, Failure};

/// Writes a file through a temporary one beside it, so that neither a reader nor a full disk ever meets half a file under the name.
/// Missing folders are made.
///
/// # Errors
/// 74 with the path and what the system said.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::new(Exit::Io, format!("{what} {}: {e}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| failed("cannot make the folder for", e))?;
    let name = path.file_name().ok_or_else(|| {
        Failure::new(Exit::Usage, format!("'{}' names no file; give a path that ends in a file name", path.display()))
    })?;
    let temporary = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // The rename failed or the disk is full; the temporary file is of no use.
        let _ = std::fs::remove_file(&temporary);
        failed("cannot write", e)
    })
}

/// Writes text to standard output. A reader that has gone away (`| head`) is no failure.
///
/// # Errors
/// 74 if the output cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// 66 if there is no such file, 65 if it is longer, 74 if it cannot be read.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(Exit::NoInput, format!("{}: there is no such file", path.display())),
        _ => Failure::new(
            Exit::Io,
            format!("{}: cannot be read: {e}; make the file readable by this user, or name another", path.display()),
        ),
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let message =
            format!("{}: the file is longer than {limit} bytes, more than any of its kind; correct the path", path.display());
        return Err(Failure::new(Exit::Data, message));
    }
    Ok(bytes)
}
