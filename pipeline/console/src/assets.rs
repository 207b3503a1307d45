//! What the pages load, embedded. Of others: uPlot 1.6.32 (npm, MIT, its licence beside it), as published.

use axum::{Router, http::header, response::IntoResponse, routing::get};

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Name, type and content of each.
const FILES: [(&str, &str, &str); 11] = [
    ("/assets/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ("/assets/console.css", CSS, include_str!("../assets/console.css")),
    ("/assets/watch.css", CSS, include_str!("../assets/watch.css")),
    ("/assets/live.js", SCRIPT, include_str!("../assets/live.js")),
    ("/assets/pipeline.js", SCRIPT, include_str!("../assets/pipeline.js")),
    ("/assets/charts.js", SCRIPT, include_str!("../assets/charts.js")),
    ("/assets/act.js", SCRIPT, include_str!("../assets/act.js")),
    ("/assets/lost.js", SCRIPT, include_str!("../assets/lost.js")),
    ("/assets/uplot/uPlot.iife.min.js", SCRIPT, include_str!("../assets/uplot/uPlot.iife.min.js")),
    ("/assets/uplot/uPlot.min.css", CSS, include_str!("../assets/uplot/uPlot.min.css")),
    ("/assets/uplot/LICENSE", TEXT, include_str!("../assets/uplot/LICENSE")),
];

/// A route for each file.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(|| async { ([(header::CONTENT_TYPE, *kind)], *content).into_response() }))
    })
}
