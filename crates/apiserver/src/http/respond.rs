//! Answers: objects, statuses, text.

use super::{Body, Call};
use crate::core::negotiate::{self, Form};
use crate::registry::encode;
use api::Status;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use std::io::Write as _;

/// Larger answers are compressed for those who accept it.
const GZIP_MIN: usize = 128 * 1024;

/// Text of a media type.
pub fn raw(code: u16, media: &str, text: impl Into<Bytes>) -> Response<Body> {
    let mut r = Response::new(Body::from(text.into()));
    *r.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(v) = HeaderValue::from_str(media) {
        r.headers_mut().insert("content-type", v);
    }
    r
}

/// Plain text.
pub fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    let mut r = raw(code, "text/plain; charset=utf-8", text);
    r.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    r
}

/// All seats are taken: come again.
pub fn busy() -> Response<Body> {
    let mut r = text(429, "Too many requests, please try again later.\n");
    r.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    r
}

/// The form that a call accepts for single objects and statuses.
pub fn form(call: &Call, list: bool) -> Result<Form, Status> {
    let accept: Vec<&str> = call.headers.get_all("accept").iter().filter_map(|v| v.to_str().ok()).collect();
    let accept = accept.join(",");
    let header = (!accept.is_empty()).then_some(accept.as_str());
    negotiate::accept(header, &call.query, call.agent(), list).ok_or_else(|| {
        match accept.contains("application/cbor") {
            true => Status { details: true, ..Status::failure(406, "NotAcceptable", negotiate::NO_CBOR) },
            false => Status::failure(406, "NotAcceptable", negotiate::NOT_ACCEPTABLE),
        }
    })
}

/// A status, in the best form there is.
pub fn status(s: &Status, call: &Call) -> Response<Body> {
    let form = form(call, false).or_else(|_| form(call, true)).unwrap_or(Form::JSON);
    let form = Form { view: negotiate::View::Full, ..form };
    let code = if s.code == 0 { 200 } else { s.code };
    let mut r = raw(code, form.content_type(), encode::value_form(&s.to_value(), form));
    if s.retry_after > 0 {
        r.headers_mut().insert("retry-after", HeaderValue::from(s.retry_after));
    }
    r
}

/// Bytes in a form.
pub fn formed(call: &Call, code: u16, form: Form, bytes: Bytes) -> Response<Body> {
    let wants_gzip = call
        .header("accept-encoding")
        .is_some_and(|e| e.split(',').any(|p| p.trim().split(';').next() == Some("gzip")));
    if wants_gzip && bytes.len() > GZIP_MIN && matches!(call.info.verb.as_str(), "get" | "list") {
        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        if z.write_all(&bytes).is_ok()
            && let Ok(packed) = z.finish()
        {
            let mut r = raw(code, form.content_type(), packed);
            r.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            r.headers_mut().insert("vary", HeaderValue::from_static("Accept-Encoding"));
            return r;
        }
    }
    raw(code, form.content_type(), bytes)
}

/// Adds warnings.
pub fn warn(r: &mut Response<Body>, warnings: &[String]) {
    for w in warnings {
        let text = format!("299 - {}", api::errors::go_quote(w));
        if let Ok(v) = HeaderValue::from_str(&text) {
            r.headers_mut().append("warning", v);
        }
    }
}
