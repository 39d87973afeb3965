//! The fields of a posted form.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use super::refusal::PageProblem;
use crate::access::problem::Problem;

/// The fields, in their order; a field may come several times.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Form(Vec<(String, String)>);

// === impl Form ===

impl Form {
    /// Reads `name=value&…`.
    pub fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value of a field; empty if it did not come.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = PageProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageProblem> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long"))?;
        Ok(Self::parse(&bytes))
    }
}

/// A path of this server that a person may be sent to; anything else is the overview. Two slashes, or one of each kind, would begin the
/// name of another host.
pub fn own_path(text: &str) -> &str {
    let is_own = text.starts_with('/') && !text[1..].starts_with(['/', '\\']) && !text.contains(|c: char| c.is_control());
    if is_own { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_repeated_ones_kept() {
        let form = Form::parse(b"a=1&b=x+y&a=2&c=%C3%BC");
        assert_eq!((form.get("a"), form.get("b"), form.get("c"), form.get("d")), ("1", "x y", "ü", ""));
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn nobody_is_sent_to_another_host() {
        for foreign in ["", "x", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "javascript:alert(1)"] {
            assert_eq!(own_path(foreign), "/", "{foreign}");
        }
        assert_eq!(own_path("/callers?model=adult"), "/callers?model=adult");
    }
}
