//! Who reads a page, and in which language: the one of `?lang=`, which every link of the page keeps, or else the one the
//! browser asks for.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use crate::words::{CHINESE, ENGLISH, Words};

/// The languages of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

impl Language {
    /// As `?lang=` names it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    pub(crate) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }

    fn of_code(code: &str) -> Option<Self> {
        match code {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The first of ours by weight in an Accept-Language header (RFC 9110 §12.5.4).
    fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for range in header.split(',') {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok());
            if let (Some(language), Some(weight)) = (Self::of_code(&primary), weight)
                && weight > 0.0
                && best.is_none_or(|(known, _)| weight > known)
            {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

/// One request's reader.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) language: Language,
    /// Whether the language was named by the address.
    named: bool,
    /// The query without its language.
    query: String,
}

impl Reader {
    fn of(parts: &Parts) -> Self {
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let (language, others): (Vec<_>, Vec<_>) = pairs.partition(|pair| pair.starts_with("lang="));
        let named = language.last().and_then(|pair| Language::of_code(pair.trim_start_matches("lang=")));
        let header = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|header| header.to_str().ok());
        let language = named.or_else(|| header.and_then(Language::accepted)).unwrap_or(Language::English);
        Self { language, named: named.is_some(), query: others.join("&") }
    }

    pub(crate) fn words(&self) -> &'static Words {
        self.language.words()
    }

    /// An address of ours, in the language that was named.
    pub(crate) fn link(&self, address: &str) -> String {
        if !self.named {
            return address.to_owned();
        }
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}lang={}", self.language.code())
    }

    /// What a form has to carry along to keep the language.
    pub(crate) fn named(&self) -> Option<&'static str> {
        self.named.then(|| self.language.code())
    }

    /// This same page in another language, relative to its own address.
    pub(crate) fn here_in(&self, language: Language) -> String {
        let joint = if self.query.is_empty() { "" } else { "&" };
        format!("?{}{joint}lang={}", self.query, language.code())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn reader(address: &str, accepts: Option<&str>) -> Reader {
        let mut request = Request::builder().uri(address);
        if let Some(accepts) = accepts {
            request = request.header(header::ACCEPT_LANGUAGE, accepts);
        }
        Reader::of(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn the_address_names_the_language_and_else_the_browser_does() {
        for (address, accepts, language) in [
            ("/", None, Language::English),
            ("/", Some("zh-CN,zh;q=0.9,en;q=0.8"), Language::Chinese),
            ("/", Some("de, en;q=0.5, zh;q=0.7"), Language::Chinese),
            ("/", Some("zh;q=0, en-GB;q=0.1"), Language::English),
            ("/", Some("fr;q=x, *"), Language::English),
            ("/?lang=en", Some("zh"), Language::English),
            ("/?lang=zh", Some("en"), Language::Chinese),
            ("/?lang=klingon", Some("zh"), Language::Chinese),
        ] {
            assert_eq!(reader(address, accepts).language, language, "{address} {accepts:?}");
        }
    }

    #[test]
    fn links_keep_the_language_that_was_named_and_only_that() {
        assert_eq!(reader("/", Some("zh")).link("/studies"), "/studies");
        assert_eq!(reader("/?lang=zh", None).link("/studies"), "/studies?lang=zh");
        assert_eq!(
            reader("/?lang=zh", None).link("/studies?state=rejected"),
            "/studies?state=rejected&lang=zh"
        );
        let here = reader("/studies?lang=zh&state=rejected", None);
        assert_eq!(here.here_in(Language::English), "?state=rejected&lang=en");
    }
}
