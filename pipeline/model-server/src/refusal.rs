//! Why a request is not answered, as OpenAI's clients read it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use glm46v::RequestError;
use serde_json::json;

/// A refusal; its text names the field and the fix and repeats nothing of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    WrongKey,
    Invalid { param: String, message: String },
    UnknownModel { served: String },
    TooLarge { what: &'static str, most: u64, unit: &'static str },
    Full(String),
    Internal(String),
}

impl Refusal {
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { param: param.into(), message: message.into() }
    }

    /// What the engine said, as the client's fault or ours.
    pub(crate) fn of(error: RequestError) -> Self {
        match error {
            RequestError::QueueFull { .. } => Self::Full(error.to_string()),
            RequestError::EngineGone
            | RequestError::LogitsNotFinite { .. }
            | RequestError::Compute { .. }
            | RequestError::Cancelled
            | RequestError::DeadlineExceeded
            | RequestError::Decode { .. } => Self::Internal(error.to_string()),
            RequestError::Sampling { field, .. } => Self::invalid(field, error.to_string()),
            RequestError::Grammar { source } => Self::invalid("response_format", source.to_string()),
            error => Self::invalid("messages", error.to_string()),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::WrongKey => StatusCode::UNAUTHORIZED,
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error object of the API.
    pub(crate) fn body(&self) -> serde_json::Value {
        let (kind, param, message) = match self {
            Self::WrongKey => ("authentication_error", None, "wrong or missing API key".to_owned()),
            Self::Invalid { param, message } => {
                ("invalid_request_error", Some(param.as_str()), message.clone())
            }
            Self::UnknownModel { served } => {
                ("invalid_request_error", Some("model"), format!("this server serves {served:?} alone"))
            }
            Self::TooLarge { what, most, unit } => {
                ("invalid_request_error", None, format!("the {what} is larger than {most} {unit}"))
            }
            Self::Full(message) => ("rate_limit_error", None, message.clone()),
            Self::Internal(message) => ("server_error", None, message.clone()),
        };
        json!({"error": {"message": message, "type": kind, "param": param, "code": null}})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        if matches!(self, Self::Full(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
