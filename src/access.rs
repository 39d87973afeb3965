//! Who may do what: principals, roles and credentials, enforced in one place.
//!
//! A request passes [`guard`] before any handler sees it. The guard counts it against the caller's rate, finds out who asks
//! ([`authenticate`]), compares the permission of the route with the caller's role ([`permission`]), and refuses a change that another
//! site made the browser send ([`csrf`]). A route is added to [`routes::Routes`] with its permission, and there is no other way to add one,
//! so a route without a permission does not compile.
//!
//! | file | what it is |
//! |---|---|
//! | [`permission`] | roles, and what each may do as `resource:action` |
//! | [`principal`] | who asks, and of which models it may know |
//! | [`secret_token`] | random tokens: shown once, kept as a hash, compared in constant time |
//! | [`password`] | passwords of local accounts, hashed with Argon2id |
//! | [`bearer`] | JSON web tokens of an identity provider |
//! | [`lockout`] | how many wrong passwords are allowed, and when |
//! | [`rate`] | how many requests a caller may send |
//! | [`csrf`] | whether a browser's own page sent a request |
//! | [`config`] | keys and token issuers of the configuration |
//! | [`accounts`] | accounts, keys and sessions in the database |
//! | [`authenticate`] | from the headers of a request to a principal |
//! | [`route`], [`routes`] | the table of routes with their permissions |
//! | [`guard`] | the one place that enforces all of it |
//! | [`problem`] | refusals that say nothing to a stranger |

pub mod accounts;
pub mod authenticate;
pub mod bearer;
pub mod config;
pub mod csrf;
pub mod guard;
pub mod lockout;
pub mod password;
pub mod permission;
pub mod principal;
pub mod problem;
pub mod rate;
pub mod route;
pub mod routes;
pub mod secret_token;

pub use permission::{Permission, Role};
pub use principal::{ModelScope, Principal};
