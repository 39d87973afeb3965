//! Whether a browser's own page sent a request. Pure.
//!
//! A browser adds a session's cookie to every request to this server, also to one that another site makes it send. So a change with a
//! cookie needs more than the cookie: a token that only a page of this server can know, and, where the browser says which site began the
//! request, that it was this one. The cookie is `SameSite=Lax` besides, so that a change that another site sends comes without it; a link from an alert still works.
//! Requests with a key or a bearer token need none of it: browsers do not send these by themselves.

use axum::http::{HeaderMap, Method, header};

use super::secret_token::same;

/// The header that scripts bring.
pub const HEADER: &str = "x-csrf-token";
/// The field that forms bring.
pub const FIELD: &str = "form_token";

/// Whether a method may change something (RFC 9110, section 9.2.1).
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the browser says that another site began the request. `host` is the server's own, as the request names it.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Fetch metadata: a person who typed the address is `none`.
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    let (Some(origin), Some(host)) = (text(header::ORIGIN.as_str()), text(header::HOST.as_str())) else { return false };
    // `null` is a sandboxed or redirected page.
    let own = origin.split_once("://").map(|(_, rest)| rest);
    own != Some(host)
}

/// Whether a request brings the token of its session, in the header or in the form.
pub fn brings(token: &str, headers: &HeaderMap, form: Option<&[u8]>) -> bool {
    let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let field =
        || form_urlencoded::parse(form.unwrap_or_default()).find(|(name, _)| name == FIELD).map(|(_, value)| value.into_owned());
    match sent {
        Some(sent) => same(sent, token),
        None => field().is_some_and(|sent| same(&sent, token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_request_that_another_site_began_is_foreign() {
        for foreign in [
            headers(&[("sec-fetch-site", "cross-site")]),
            headers(&[("sec-fetch-site", "same-site")]),
            headers(&[("host", "tripline.example"), ("origin", "https://evil.example")]),
            headers(&[("host", "tripline.example"), ("origin", "null")]),
            headers(&[("host", "tripline.example"), ("origin", "https://tripline.example.evil.example")]),
        ] {
            assert!(is_foreign(&foreign), "{foreign:?}");
        }
        for own in [
            headers(&[]),
            headers(&[("sec-fetch-site", "none")]),
            headers(&[("sec-fetch-site", "same-origin"), ("host", "h:1"), ("origin", "http://h:1")]),
        ] {
            assert!(!is_foreign(&own), "{own:?}");
        }
    }

    #[test]
    fn the_token_comes_in_the_header_or_in_the_form() {
        assert!(brings("t1", &headers(&[(HEADER, "t1")]), None));
        assert!(brings("t1", &headers(&[]), Some(b"a=b&form_token=t1")));
        assert!(!brings("t1", &headers(&[(HEADER, "t2")]), Some(b"form_token=t1")), "a wrong header is wrong");
        for form in [None, Some(&b""[..]), Some(b"form_token="), Some(b"form_token=t2"), Some(b"other=t1")] {
            assert!(!brings("t1", &headers(&[]), form), "{form:?}");
        }
        assert!(is_safe(&Method::GET) && !is_safe(&Method::POST) && !is_safe(&Method::DELETE));
    }
}
