//! The frame of a page: head, stylesheet and content security policy are the same for every page.
//!
//! A page is delivered in one of two ways. A *file* opens from disk: it carries its stylesheet inline and may run no script and
//! fetch nothing. A *served* page takes the same stylesheet from its own server, and may run one script from there.
//!
//! The policy is the second line of defence behind maud's escaping: even if a fault of this program let text of a log through
//! as markup, the browser would neither run it nor fetch anything for it. Inline styles are allowed by their hash alone
//! (Content Security Policy Level 3, section 2.3.1), so there are no `style` attributes on any page.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::judge::Finding;

/// The look of every page, light and dark.
pub const STYLE: &str = include_str!("style.css");
/// Where a server offers [`STYLE`].
pub const STYLE_PATH: &str = "/style.css";

/// The policy of a page whose forms may go to `forms`, and which may do what `rest` names. Nothing is allowed unless it is named: no script, no
/// frame, no request.
fn policy(forms: &str, rest: &str) -> String {
    format!("default-src 'none'; img-src data:; base-uri 'none'; form-action {forms}; {rest}")
}

/// The policy of a file: its one style, by hash.
static FILE_POLICY: LazyLock<String> =
    LazyLock::new(|| policy("'none'", &format!("style-src 'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE)))));
/// What a served page may do besides: style, script and data of its own server, and no other page around it.
const OWN: &str = "style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'";
/// The policy of a served page.
static SERVED_POLICY: LazyLock<String> = LazyLock::new(|| policy("'none'", OWN));
/// The policy of a page of the console: its forms go to its own server.
static CONSOLE_POLICY: LazyLock<String> = LazyLock::new(|| policy("'self'", OWN));

/// How a page reaches its reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// One file that opens from disk.
    File,
    /// From a server that offers [`STYLE`] at [`STYLE_PATH`] and a script at the given path of the same origin.
    Served {
        /// Path of the page's script.
        script: &'static str,
    },
    /// As a served page, with forms.
    Console {
        /// Path of the page's script.
        script: &'static str,
    },
}

// === impl Delivery ===

impl Delivery {
    fn referrer(self) -> &'static str {
        match self {
            Self::Console { .. } => CONSOLE_REFERRER,
            Self::File | Self::Served { .. } => "no-referrer",
        }
    }

    /// The content security policy. A server sends it as a header, too: `frame-ancestors` has no effect within a page.
    pub fn policy(self) -> &'static str {
        match self {
            Self::File => &FILE_POLICY,
            Self::Served { .. } => &SERVED_POLICY,
            Self::Console { .. } => &CONSOLE_POLICY,
        }
    }
}

/// To whom browsers tell the page's address: to nobody, since addresses of pages name callers. A page with forms tells its own server, because
/// a browser that may not tell it sends forms with the origin `null`, as if another site had sent them (Fetch, section 3.1).
pub const CONSOLE_REFERRER: &str = "same-origin";

/// A whole page. The title is escaped here; it must be short and free of control characters
/// (see [`words::printable`](super::words::printable)).
pub fn page(title: &str, delivery: Delivery, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if delivery == Delivery::File { meta http-equiv="Content-Security-Policy" content=(delivery.policy()); }
                meta name="referrer" content=(delivery.referrer());
                title { (title) }
                link rel="icon" href="data:,";
                @match delivery {
                    Delivery::File => style { (PreEscaped(STYLE)) },
                    Delivery::Served { script } | Delivery::Console { script } => {
                        link rel="stylesheet" href=(STYLE_PATH);
                        script src=(script) defer {}
                    }
                }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// The head of a page: what it is, what it is about, and what the page adds.
pub fn head(brand: &str, title: &Markup, rest: &Markup) -> Markup {
    html! {
        header.top {
            p.brand { (brand) }
            h1 { (title) }
            (rest)
        }
    }
}

/// The class of a finding: it names the box of a verdict, and with `k-` before it the colour of a mark. The stylesheet has a
/// colour of the same name.
pub fn class(finding: Finding) -> &'static str {
    match finding {
        Finding::Stable | Finding::Benign => "stable",
        Finding::Drift | Finding::Suspicious => "drift",
        Finding::Probing => "probing",
        Finding::DriftAndProbing => "both",
    }
}

/// The box of a verdict: a word above, the headline, and what there is to say about it. `class` is one of [`class`].
pub fn verdict(class: &str, word: &Markup, headline: &str, rest: &Markup) -> Markup {
    html! {
        div class={ "verdict " (class) } {
            p.word { (word) }
            p.say { (headline) }
            (rest)
        }
    }
}

/// Numbers with their names, side by side.
pub fn facts(facts: &[(&str, String)]) -> Markup {
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

/// What the colours of a picture mean: pairs of a colour's class (`k-…` in the stylesheet) and its words.
pub fn legend(entries: &[(&str, &str)]) -> Markup {
    html! { ul.legend { @for (class, words) in entries { li { i class=(class) {} (words) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_allows_its_own_style_by_hash_and_no_script() {
        let file = page("t", Delivery::File, &html! {});
        let style = file.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).unwrap().0;
        let hash = STANDARD.encode(Sha256::digest(style));
        assert!(Delivery::File.policy().contains(&format!("'sha256-{hash}'")), "{}", Delivery::File.policy());
        assert!(!Delivery::File.policy().contains("script-src") && !file.contains("<script"));
    }

    #[test]
    fn a_served_page_has_nothing_inline() {
        let served = page("t", Delivery::Served { script: "/app.js" }, &html! {});
        assert!(served.contains("<link rel=\"stylesheet\" href=\"/style.css\">") && !served.contains("<style"), "{served}");
        assert!(Delivery::Served { script: "/app.js" }.policy().contains("frame-ancestors 'none'"));
    }

    #[test]
    fn forms_of_the_console_go_to_its_own_server_and_no_other_page_has_any() {
        assert!(Delivery::Console { script: "/app.js" }.policy().contains("form-action 'self'"));
        assert!(Delivery::Served { script: "/app.js" }.policy().contains("form-action 'none'"));
    }

    #[test]
    fn no_policy_allows_what_is_inline_or_elsewhere() {
        let served = [Delivery::Served { script: "/app.js" }, Delivery::Console { script: "/app.js" }];
        for policy in [Delivery::File.policy(), served[0].policy(), served[1].policy()] {
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        }
    }
}
