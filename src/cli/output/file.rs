//! A file that appears as a whole or not at all.
//!
//! Content goes to a temporary file in the same folder, which takes the name when it is complete and on the disk. A run that fails
//! or is interrupted leaves the file of that name as it was. Standard output, pipes and devices cannot be renamed; they are written
//! directly. A link stays a link: the file that it names is replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::paths::{is_standard_output, link_to_descriptor, resolve};
use crate::exit::{Exit, Failure};

/// zstd level of written logs: the default is fast and close to the best for JSON lines.
const ZSTD_LEVEL: i32 = 3;

/// An output. Nothing of it is seen under its name before [`OutputFile::finish`].
pub struct OutputFile {
    path: PathBuf,
    writer: BufWriter<Target>,
}

/// An output that is packed when its name ends in `.zst`.
pub enum PackedFile {
    /// As it is.
    Plain(OutputFile),
    /// Through zstd.
    Packed(PathBuf, Box<zstd::Encoder<'static, OutputFile>>),
}

/// Where bytes go.
enum Target {
    /// What cannot be renamed. `closed` when nobody reads it any more.
    Stream { stream: Box<dyn Write>, closed: bool },
    /// A temporary file beside the name that it takes at the end.
    Beside { temporary: NamedTempFile, name: PathBuf },
}

// === impl OutputFile ===

impl OutputFile {
    /// Opens an output; its folder must exist.
    ///
    /// # Errors
    /// 64 for a folder, 74 if it cannot be written.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| cannot_write(path, &error);
        let target = if is_standard_output(path) {
            Target::stream(io::stdout())
        } else if link_to_descriptor(path).is_some() {
            // The descriptor is open already; what stands before in its file is not ours.
            Target::stream(OpenOptions::new().append(true).open(path).map_err(failed)?)
        } else {
            match fs::metadata(path) {
                Ok(about) if about.is_dir() => {
                    return Err(Failure::new(Exit::Usage, format!("{}: it is a folder; name a file", path.display())));
                }
                Ok(about) if about.is_file() => Target::beside(path, Some(about.permissions())).map_err(failed)?,
                Ok(_) => Target::stream(OpenOptions::new().write(true).open(path).map_err(failed)?),
                Err(_) => Target::beside(path, None).map_err(failed)?,
            }
        };
        Ok(Self { path: path.to_owned(), writer: BufWriter::new(target) })
    }

    /// Whether nobody reads the output any more (`| head`), so that writing on is of no use.
    pub fn is_closed(&self) -> bool {
        matches!(self.writer.get_ref(), Target::Stream { closed: true, .. })
    }

    /// The failure to write, in words.
    pub fn failed(&self, error: &io::Error) -> Failure {
        cannot_write(&self.path, error)
    }

    /// Gives the content its name.
    ///
    /// # Errors
    /// 74 if the rest cannot be written; the old file then stays.
    pub fn finish(mut self) -> Result<(), Failure> {
        let path = std::mem::take(&mut self.path);
        let finished = self.writer.flush().and_then(|()| match self.writer.into_inner() {
            Ok(target) => target.finish(),
            Err(error) => Err(error.into_error()),
        });
        finished.map_err(|error| cannot_write(&path, &error))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Io,
        format!("{}: cannot be written: {error}; correct the path, its folder's permissions or its space", path.display()),
    )
}

// === impl Target ===

impl Target {
    fn stream(stream: impl Write + 'static) -> Self {
        Self::Stream { stream: Box::new(stream), closed: false }
    }

    /// A temporary file beside `path`; `old` are the permissions of the file that it replaces.
    fn beside(path: &Path, old: Option<fs::Permissions>) -> io::Result<Self> {
        if old.as_ref().is_some_and(fs::Permissions::readonly) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
        }
        let name = resolve(path);
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let (folder, file) = (name.parent().ok_or_else(missing)?, name.file_name().ok_or_else(missing)?);
        let prefix = format!(".{}.", file.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        #[cfg(unix)]
        let builder = {
            use std::os::unix::fs::PermissionsExt as _;
            // As for any new file; the process's mask is applied.
            builder.permissions(fs::Permissions::from_mode(0o666))
        };
        let temporary = builder.tempfile_in(folder)?;
        if let Some(old) = old {
            temporary.as_file().set_permissions(old)?;
        }
        Ok(Self::Beside { temporary, name })
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream { .. } => Ok(()),
            Self::Beside { temporary, name } => {
                temporary.as_file().sync_all()?;
                temporary.persist(name).map(drop).map_err(|error: tempfile::PersistError<File>| error.error)
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Beside { temporary, .. } => temporary.write(bytes),
            Self::Stream { closed: true, .. } => Ok(bytes.len()),
            Self::Stream { stream, closed } => match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    *closed = true;
                    Ok(bytes.len())
                }
                written => written,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Beside { temporary, .. } => temporary.flush(),
            Self::Stream { closed: true, .. } => Ok(()),
            Self::Stream { stream, closed } => match stream.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    *closed = true;
                    Ok(())
                }
                flushed => flushed,
            },
        }
    }
}

// === impl PackedFile ===

impl PackedFile {
    /// Opens an output; packed when the name ends in `.zst`.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = OutputFile::create(path)?;
        if path.extension().is_none_or(|extension| extension != "zst") {
            return Ok(Self::Plain(file));
        }
        let encoder = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(|error| cannot_write(path, &error))?;
        Ok(Self::Packed(path.to_owned(), Box::new(encoder)))
    }

    /// Whether nobody reads the output any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Plain(file) => file.is_closed(),
            Self::Packed(_, encoder) => encoder.get_ref().is_closed(),
        }
    }

    /// Gives the content its name.
    ///
    /// # Errors
    /// As [`OutputFile::finish`].
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Plain(file) => file.finish(),
            Self::Packed(path, encoder) => encoder.finish().map_err(|error| cannot_write(&path, &error))?.finish(),
        }
    }
}

impl Write for PackedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Packed(_, encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Packed(_, encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut abandoned = OutputFile::create(&path).unwrap();
        abandoned.write_all(&[b'x'; 100_000]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(abandoned);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["out".to_owned()]));
        let mut whole = OutputFile::create(&path).unwrap();
        whole.write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["out".to_owned()]));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_stay_what_they_were() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut file = OutputFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_read_only_file_and_a_folder_are_no_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, "old").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert!(OutputFile::create(&path).is_err_and(|failure| failure.message.contains("read-only")));
        assert!(OutputFile::create(folder.path()).is_err_and(|failure| failure.exit == Exit::Usage));
    }

    #[test]
    fn a_device_is_written_directly() {
        let mut null = OutputFile::create(Path::new("/dev/null")).unwrap();
        null.write_all(b"gone").unwrap();
        null.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_packed_output_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.zst");
        let mut file = PackedFile::create(&path).unwrap();
        file.write_all(b"one\ntwo\n").unwrap();
        file.finish().unwrap();
        assert_eq!(zstd::decode_all(fs::read(&path).unwrap().as_slice()).unwrap(), b"one\ntwo\n");
    }
}
