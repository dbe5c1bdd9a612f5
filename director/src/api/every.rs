//! What every answer gets: the headers of the original, compression, a count (director-api.md §1, §19.6).

use std::io::Write as _;
use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::Api;
use super::answer::{REALM, belongs_to_the_api};

/// An extension of answers: the error inside, for the count.
#[derive(Clone)]
pub struct Failed(pub String);

/// Wraps all routes.
pub async fn layer(State(api): State<Api>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let gzip = method != Method::HEAD && accepts_gzip(request.headers());
    let mut response = next.run(request).await;
    if gzip {
        response = compressed(response).await;
    }
    add_headers(&path, response.headers_mut());
    let failed = response.extensions().get::<Failed>();
    api.requests.record(
        method.as_str(),
        &path,
        response.status().as_u16(),
        began.elapsed(),
        failed.map(|failed| failed.0.as_str()),
    );
    response
}

fn add_headers(path: &str, headers: &mut HeaderMap) {
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let html = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if html {
        headers.insert(
            HeaderName::from_static("x-xss-protection"),
            HeaderValue::from_static("1; mode=block"),
        );
        headers.insert(
            header::X_FRAME_OPTIONS,
            HeaderValue::from_static("SAMEORIGIN"),
        );
    }
    // compat: not only on refusals
    if belongs_to_the_api(path) && path != "/info" {
        headers.insert(header::WWW_AUTHENTICATE, REALM);
    }
}

/// Smaller answers are not worth it.
const SMALLEST: u64 = 512;
/// Larger ones are compressed on a thread of their own.
const QUICK: u64 = 64 * 1024;

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING);
    accepted
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            let refused = quality
                .trim()
                .strip_prefix("q=")
                .is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
}

/// Texts that are in memory anyway. Parts of outputs stay as they are (clients count their bytes), blobs too.
async fn compressed(response: Response) -> Response {
    let headers = response.headers();
    let text = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/") || kind == "application/json");
    let size = response.body().size_hint().exact().unwrap_or_default();
    if !text || size < SMALLEST || headers.contains_key(header::CONTENT_RANGE) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let plain = bytes.clone();
    let squeezed = if size > QUICK {
        let done = tokio::task::spawn_blocking(move || gzip(&plain)).await;
        done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    } else {
        gzip(&plain)
    };
    let Ok(squeezed) = squeezed else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, Body::from(squeezed))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_clients_that_ask_for_it() {
        for (value, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("x-gzip", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), accepted, "{value}");
        }
    }
}
