//! Writing result files: all of a file or nothing of it.

use std::io::Write as _;
use std::path::Path;

use super::{Exit, Failure};

/// Writes a file through a temporary one beside it, so that a reader (or a full disk) never leaves half a file under the
/// name. Folders on the way are made.
///
/// # Errors
/// 74 with the path and what the system said.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::new(Exit::Io, format!("{what} {}: {e}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| failed("cannot make the folder for", e))?;
    let name = path.file_name().ok_or_else(|| Failure::new(Exit::Usage, format!("'{}' names no file", path.display())))?;
    let temporary = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // The rename failed or the disk is full: what is left behind helps nobody.
        let _ = std::fs::remove_file(&temporary);
        failed("cannot write", e)
    })
}
