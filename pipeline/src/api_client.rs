//! The command line as a client of the running system's API.

mod replays;
mod watch;

use std::{fs::File, path::Path, time::Duration};

use console::site::{ConfirmedStudy, Received, Status, StudyTimeline, UploadOptions};
use schemas::{Revision, StudyUid};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cli::Options,
    data_dir::{DataDirError, read_entry},
};

/// Bytes of an answer at most: what became of each of some hundred thousand files in a zip.
const LONGEST_ANSWER: u64 = 64 << 20;

/// Why the running system gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody to ask.
    #[error(transparent)]
    Entry(#[from] DataDirError),
    /// The token file is not readable.
    #[error("cannot read token file {path}")]
    Token {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The request did not get through.
    #[error("{url} does not answer")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The system said no.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The file to upload is not readable.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A client with its token.
pub(crate) struct ApiClient {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl ApiClient {
    /// Finds the running system: `--api-url` and `--token-file`, else the data directory's entry.
    pub(crate) fn connect(options: &Options, data_dir: &Path) -> Result<Self, ApiError> {
        let (url, mut token) = if let Some(url) = &options.api_url {
            (url.trim_end_matches('/').to_owned(), String::new())
        } else {
            let entry = read_entry(data_dir)?;
            (entry.url, entry.token)
        };
        if let Some(path) = &options.token_file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ApiError::Token { path: path.display().to_string(), source })?;
            text.trim().clone_into(&mut token);
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_mins(10)))
            .build();
        Ok(Self { agent: config.into(), url, token })
    }

    /// `GET /api/status`
    pub(crate) fn status(&self) -> Result<Status, ApiError> {
        self.get("/api/status")
    }

    /// `GET /api/studies/{uid}`; nothing if the study was never seen.
    pub(crate) fn study(&self, study: &StudyUid) -> Result<Option<StudyTimeline>, ApiError> {
        match self.get(&format!("/api/studies/{study}")) {
            Ok(timeline) => Ok(Some(timeline)),
            Err(ApiError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /api/calibration/studies`, all of them.
    pub(crate) fn confirmed_studies(&self) -> Result<Vec<ConfirmedStudy>, ApiError> {
        let mut studies: Vec<ConfirmedStudy> = Vec::new();
        loop {
            let page: Vec<ConfirmedStudy> =
                self.get(&format!("/api/calibration/studies?skip={}", studies.len()))?;
            if page.is_empty() {
                return Ok(studies);
            }
            studies.extend(page);
        }
    }

    /// `POST /api/instances`: one file.
    pub(crate) fn upload(&self, path: &Path, options: &UploadOptions) -> Result<Vec<Received>, ApiError> {
        let file =
            File::open(path).map_err(|source| ApiError::File { path: path.display().to_string(), source })?;
        let mut query = Vec::new();
        let mut push = |name: &str, value: Option<serde_json::Value>| {
            if let Some(serde_json::Value::String(value)) = value {
                query.push(format!("{name}={value}"));
            }
        };
        push("priority", options.priority.and_then(|priority| serde_json::to_value(priority).ok()));
        push("domain", options.domain.and_then(|domain| serde_json::to_value(domain).ok()));
        query.push(format!("synthetic={}", options.synthetic));
        let url = format!("{}/api/instances?{}", self.url, query.join("&"));
        let request = self.agent.post(&url).header("authorization", self.bearer());
        Self::read(&url, request.header("content-type", "application/octet-stream").send(file))
    }

    /// `POST /api/studies/{uid}/close`; nothing if nothing was open.
    pub(crate) fn close(&self, study: &StudyUid) -> Result<Option<Revision>, ApiError> {
        let url = format!("{}/api/studies/{study}/close", self.url);
        Self::read(&url, self.agent.post(&url).header("authorization", self.bearer()).send_empty())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn post<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ApiError> {
        let url = format!("{}{path}", self.url);
        Self::read(&url, self.agent.post(&url).header("authorization", self.bearer()).send_json(body))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let url = format!("{}{path}", self.url);
        Self::read(&url, self.agent.get(&url).header("authorization", self.bearer()).call())
    }

    fn read<T: DeserializeOwned>(
        url: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ApiError> {
        let unreachable = |source| ApiError::Unreachable { url: url.to_owned(), source: Box::new(source) };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        if !(200..300).contains(&status) {
            let message = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(ApiError::Refused {
                url: url.to_owned(),
                status,
                message: message.trim().to_owned(),
            });
        }
        answer.body_mut().with_config().limit(LONGEST_ANSWER).read_json().map_err(unreachable)
    }
}
