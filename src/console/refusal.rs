//! Refusals and faults as pages.

use axum::response::{Html, IntoResponse, Response};
use maud::html;

use super::SCRIPT_PATH;
use crate::access::problem::Problem;
use crate::html::frame::{self, Delivery};

/// A problem that a person reads.
#[derive(Clone, Debug)]
pub struct PageProblem(pub Problem);

impl<P: Into<Problem>> From<P> for PageProblem {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let body = html! {
            (frame::head("Tripline", &html! { (self.0.words()) }, &html! {}))
            main { p { a href="/" { "To the overview" } } }
        };
        (status, Html(frame::page("Tripline", Delivery::Console { script: SCRIPT_PATH }, &body))).into_response()
    }
}
