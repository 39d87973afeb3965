//! Accounts, keys and sessions in a real database.

use std::time::Duration;

use super::*;
use crate::access::permission::Role;
use crate::access::secret_token::{ApiKey, SecretToken};
use crate::event::EventTime;
use crate::store::StoreConfig;

const LIMITS: SessionLimits = SessionLimits { idle: Duration::from_secs(3_600), lifetime: Duration::from_secs(12 * 3_600) };

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(1_772_409_600_000_000).plus_seconds(seconds)
}

fn user(name: &str, role: Role) -> NewUser {
    NewUser { name: name.into(), password: "$hash".into(), role, models: ModelScope::of(&["adult".into()]) }
}

async fn accounts() -> (Accounts, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::connect(&StoreConfig::at("sqlite://access.db"), folder.path()).await.unwrap();
    (Accounts::new(database), folder)
}

#[tokio::test]
async fn a_session_ends_when_unused_after_its_lifetime_and_at_once_when_closed() {
    let (accounts, _folder) = accounts().await;
    accounts.add_user(&user("ada", Role::Analyst), at(0)).await.unwrap();
    let open = || accounts.open_session("ada", LIMITS, at(0));
    let token = open().await.unwrap();
    let session = accounts.session(&token, LIMITS, at(10)).await.unwrap().unwrap();
    assert_eq!((session.user.name.as_str(), session.user.role), ("ada", Role::Analyst));
    assert!(session.user.models.has("adult") && !session.user.models.has("flights"));
    assert_eq!(accounts.session(&SecretToken::new().unwrap(), LIMITS, at(10)).await.unwrap(), None);
    assert_eq!(
        accounts.session(&SecretToken::sent(&token.hash()), LIMITS, at(10)).await.unwrap(),
        None,
        "a stolen hash opens nothing"
    );
    // Used every half hour it lasts for its lifetime, and no longer.
    for half in 1..24 {
        assert!(accounts.session(&token, LIMITS, at(half * 1_800)).await.unwrap().is_some(), "{half}");
    }
    assert_eq!(accounts.session(&token, LIMITS, at(12 * 3_600)).await.unwrap(), None);
    let idle = open().await.unwrap();
    assert_eq!(accounts.session(&idle, LIMITS, at(3_600)).await.unwrap(), None);
    let closed = open().await.unwrap();
    accounts.close_session(&closed.hash()).await.unwrap();
    assert_eq!(accounts.session(&closed, LIMITS, at(1)).await.unwrap(), None);
    let other = open().await.unwrap();
    assert!(accounts.set_password("ada", "$other").await.unwrap());
    assert_eq!(accounts.session(&other, LIMITS, at(1)).await.unwrap(), None, "a new password ends every session");
    let last = open().await.unwrap();
    assert!(accounts.close_sessions_of("ada").await.unwrap() > 0);
    assert_eq!(accounts.session(&last, LIMITS, at(1)).await.unwrap(), None);
}

#[tokio::test]
async fn sessions_go_with_their_account_and_the_last_admin_stays() {
    let (accounts, _folder) = accounts().await;
    accounts.add_user(&user("root", Role::Admin), at(0)).await.unwrap();
    accounts.add_user(&user("ada", Role::Viewer), at(0)).await.unwrap();
    assert!(matches!(accounts.add_user(&user("ada", Role::Admin), at(0)).await, Err(AccountError::Refused(_))));
    assert!(matches!(accounts.add_user(&user("a b", Role::Admin), at(0)).await, Err(AccountError::Refused(_))));
    let token = accounts.open_session("ada", LIMITS, at(0)).await.unwrap();
    assert!(accounts.remove_user("ada").await.unwrap());
    assert_eq!(accounts.session(&token, LIMITS, at(1)).await.unwrap(), None);
    assert!(!accounts.remove_user("nobody").await.unwrap());
    assert!(matches!(accounts.remove_user("root").await, Err(AccountError::Refused(_))));
    assert_eq!(accounts.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_kept_as_a_hash_and_ends_when_revoked_or_expired() {
    let (accounts, folder) = accounts().await;
    let new =
        NewKey { name: "ci".into(), role: Role::Viewer, models: ModelScope::All, created_by: "root".into(), expires_at: at(100) };
    let key = accounts.add_key(&new, at(0)).await.unwrap();
    let read = ApiKey::parse(&key.reveal()).unwrap();
    let kept = accounts.key(&read.id).await.unwrap().unwrap();
    assert!(read.secret.matches(&kept.hash) && kept.is_in_force(at(99)) && !kept.is_in_force(at(100)));
    assert!(matches!(accounts.add_key(&new, at(0)).await, Err(AccountError::Refused(_))), "a name is used once");
    assert!(accounts.revoke_key(&key.id, at(5)).await.unwrap() && !accounts.revoke_key(&key.id, at(6)).await.unwrap());
    assert!(!accounts.key(&key.id).await.unwrap().unwrap().is_in_force(at(6)));
    assert_eq!(accounts.keys().await.unwrap().len(), 1, "the record stays");
    accounts.database.close().await;
    let on_disk = std::fs::read_dir(folder.path()).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let on_disk = String::from_utf8_lossy(&on_disk.collect::<Vec<_>>()).into_owned();
    assert!(on_disk.contains(&kept.hash) && !on_disk.contains(key.secret.reveal()));
}

#[tokio::test]
async fn the_first_token_works_once_and_not_when_there_is_an_account() {
    let (accounts, _folder) = accounts().await;
    let (old, token) = (SecretToken::new().unwrap(), SecretToken::new().unwrap());
    assert!(accounts.offer_first(&old, at(0)).await.unwrap() && accounts.offer_first(&token, at(0)).await.unwrap());
    let admin = user("root", Role::Admin);
    assert!(!accounts.redeem_first(&old, &admin, at(1)).await.unwrap(), "a later start ended it");
    assert!(!accounts.redeem_first(&token, &admin, at(LIFETIME_AND)).await.unwrap(), "a day is over");
    assert!(!accounts.has_users().await.unwrap());
    assert!(accounts.redeem_first(&token, &admin, at(1)).await.unwrap());
    assert!(!accounts.redeem_first(&token, &user("second", Role::Admin), at(1)).await.unwrap(), "it works once");
    assert!(!accounts.offer_first(&token, at(2)).await.unwrap());
    assert!(!accounts.redeem_first(&token, &user("second", Role::Admin), at(3)).await.unwrap());
    assert_eq!(accounts.users().await.unwrap().len(), 1);
}

const LIFETIME_AND: i64 = 24 * 3_600;

#[test]
fn what_cannot_be_read_is_no_permission() {
    assert!(!models_of("broken").has("adult") && models_of("[]").has("adult"));
}
