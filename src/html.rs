//! What every page for people is made of: the replay report, the drill report and the live page of the demo.
//!
//! * [`frame`] is the page around a body: head, title, the one stylesheet and the one content security policy.
//! * [`words`] names findings, families and statistics in plain words and writes numbers as people do; [`glossary`] explains
//!   the terms.
//! * [`judged`] says what was found on a model, and what was not judged.
//! * [`svg`] draws: bars, lines, text, axes and intervals, with a tooltip on every mark and a sentence for screen readers.
//!
//! Pages are rendered here on the server with maud, which escapes every value that is spliced in. There is no chart library
//! and no template language: a picture takes its colours from the stylesheet (light and dark), and a fault in a page is a
//! fault that the compiler can see. No page loads anything from another host.

pub mod frame;
pub mod glossary;
pub mod judged;
pub mod svg;
pub mod words;
