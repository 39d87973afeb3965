//! The pictures of the replay report, drawn with [`crate::html::svg`].

pub mod features;
pub mod gaps;
pub mod timeline;
pub mod volumes;
