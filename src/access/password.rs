//! Passwords of local accounts: hashed with Argon2id, at a cost that makes guessing a stolen hash dear.
//!
//! The cost is the first choice of OWASP's cheat sheet for password storage (19 MiB, two passes, one lane), which is also the default of
//! the library. A check takes some tens of milliseconds and 19 MiB, so only a few run at a time; who asks meanwhile waits. The check of
//! an account that does not exist costs the same, so the delay does not tell which accounts exist.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;

/// Least characters of a password (NIST SP 800-63B, section 5.1.1: eight; passwords that one person chooses alone are better longer).
pub const MIN_CHARACTERS: usize = 12;
/// Most bytes of a password; a longer one is no password, and hashing it costs time.
pub const MAX_BYTES: usize = 256;
/// Checks at a time: 40 MiB of memory at most.
const AT_A_TIME: usize = 2;

/// The hash of a password that nobody has.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash_now("this is the password of nobody at all"));

/// Hashes and checks passwords, a few at a time. Clones share the limit.
#[derive(Clone, Debug)]
pub struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

// === impl Passwords ===

impl Passwords {
    /// The hash of a password, with its salt and cost; none if the system has no memory or randomness for it.
    pub async fn hash(&self, password: String) -> Option<String> {
        self.aside(move || hash_now(&password)).await.flatten()
    }

    /// Whether a password is that of a hash. Without a hash it takes as long, and is wrong.
    pub async fn check(&self, password: String, hash: Option<String>) -> bool {
        self.aside(move || {
            let kept = hash.as_ref().or(NOBODY.as_ref());
            let right = kept.is_some_and(|kept| Argon2::default().verify_password(password.as_bytes(), kept.as_str()).is_ok());
            right && hash.is_some()
        })
        .await
        .unwrap_or(false)
    }

    /// Runs on a thread where it may take its time.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // The semaphore is never closed.
        let _slot = self.0.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// What is wrong with a new password; none if it may be used.
pub fn fault(password: &str, name: &str) -> Option<&'static str> {
    match () {
        () if password.chars().count() < MIN_CHARACTERS => Some("a password needs at least 12 characters"),
        () if password.len() > MAX_BYTES => Some("a password has at most 256 bytes"),
        () if password.to_lowercase().contains(&name.to_lowercase()) && !name.is_empty() => {
            Some("a password must not contain the name")
        }
        () if password.chars().all(|c| password.starts_with(c)) => Some("a password is not one character again and again"),
        () => None,
    }
}

fn hash_now(password: &str) -> Option<String> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).ok()?;
    Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_kept_as_a_salted_hash_and_nobody_has_none() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".into()).await.unwrap();
        let again = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && hash != again, "{hash}");
        assert!(passwords.check("correct horse battery".into(), Some(hash.clone())).await);
        assert!(!passwords.check("correct horse batterz".into(), Some(hash)).await);
        assert!(!passwords.check("this is the password of nobody at all".into(), None).await);
        assert!(!passwords.check("x".into(), Some("no hash".into())).await);
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason() {
        assert_eq!(fault("correct horse", "ada"), None);
        for (password, name) in
            [("short", "ada"), ("aaaaaaaaaaaaaaaa", "bob"), ("Ada-is-the-best", "ada"), (&"x1".repeat(200), "ada")]
        {
            assert!(fault(password, name).is_some(), "{password}");
        }
    }
}
