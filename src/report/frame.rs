//! The frame of a page that opens from disk: one file, without scripts and without anything from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nobody shall be able to make the page fetch or run anything, not even through a fault of this program.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/// The look of a report; light and dark.
const STYLE: &str = include_str!("style.css");

/// A whole page. The title is escaped here; what is in it must be fit for a line of text.
pub fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}
