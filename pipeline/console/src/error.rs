//! From the site's errors to HTTP.

use axum::{
    Extension,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::site::SiteError;

/// An answer that is no success: status and one plain sentence. It goes along with the response, for the pages to show.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    pub(crate) fn not_found(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("{what} is not known here"))
    }

    pub(crate) fn bad_request(why: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }
}

impl From<SiteError> for Refusal {
    fn from(error: SiteError) -> Self {
        let status = match &error {
            SiteError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            SiteError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Extension(self.clone()), self.1).into_response()
    }
}
