//! A private PostgreSQL on a free loopback port: Debian's package, a cluster of its own in a temporary folder, ended by its own handle.
//!
//! PostgreSQL refuses to run as root. A test that runs as root starts it as the package's user `postgres`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tripline::store::StoreConfig;

use super::daemon::{Daemon, free_port, wait_for};

const PASSWORD: &str = "secret of this test";

/// A cluster; it may be stopped and started again.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    server: Option<Daemon>,
}

// === impl Postgres ===

impl Postgres {
    /// Makes a cluster that does not run yet.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = unprivileged() {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let own = Self { port: free_port(), folder, server: None };
        let mut initdb = as_user(&program("initdb"));
        let data = own.data();
        initdb.args([
            "--pgdata",
            data.to_str().unwrap(),
            "--username",
            "tripline",
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
        ]);
        let made = initdb.args(["--no-locale", "--pwfile", password.to_str().unwrap()]).current_dir("/").output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        own
    }

    /// Makes a cluster and starts it.
    pub fn start() -> Self {
        let mut own = Self::prepare();
        own.run();
        own
    }

    /// Starts the server, and waits until it answers.
    pub fn run(&mut self) {
        let data = self.data();
        let mut args: Vec<String> = as_user_args(&program("postgres"));
        let name = args.remove(0);
        args.extend(["-D".to_owned(), data.display().to_string(), "-p".to_owned(), self.port.to_string()]);
        // No sockets in shared folders; nothing of a test must survive a power failure.
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=40"] {
            args.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let name: &'static str = Box::leak(name.into_boxed_str());
        self.server = Some(Daemon::start(name, self.folder.path(), &args));
        wait_for("PostgreSQL", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Ends the server at once, as a crash does.
    pub fn stop(&mut self) {
        self.server = None;
        wait_for("the end of PostgreSQL", || std::net::TcpStream::connect(("127.0.0.1", self.port)).err());
        // Its children notice the end of their parent within moments; a new server waits for them.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// URL without a password.
    pub fn url(&self) -> String {
        format!("postgres://tripline@127.0.0.1:{}/postgres", self.port)
    }

    /// Writes the password into a file of `folder`, and returns the settings of the store.
    pub fn store(&self, folder: &Path) -> StoreConfig {
        std::fs::write(folder.join("database-password"), PASSWORD).unwrap();
        StoreConfig { password: "${file:database-password}".to_owned().into(), ..StoreConfig::at(self.url()) }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// User and group of the package, if this process is root.
fn unprivileged() -> Option<(u32, u32)> {
    let number = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    (number(&["-u"]) == Some(0)).then(|| {
        let (user, group) = (number(&["-u", "postgres"]), number(&["-g", "postgres"]));
        (user.expect("the package postgresql has made its user; `make setup` installs it"), group.unwrap())
    })
}

/// A program of the package: on the path, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} of PostgreSQL is not installed; `make setup` installs it"))
}

fn as_user_args(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    match unprivileged() {
        Some((user, group)) => {
            vec!["setpriv".into(), format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into(), program]
        }
        None => vec![program],
    }
}

fn as_user(program: &Path) -> Command {
    let args = as_user_args(program);
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]);
    command
}
