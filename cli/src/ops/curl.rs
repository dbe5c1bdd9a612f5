//! `curl`: any request with the director's address and credentials (spec cli §11).

use super::Session;
use crate::commands::CurlArgs;
use crate::error::{Error, Result, Within};
use director_client::{Body, Error as ClientError, Method, Request};

pub async fn curl(session: &Session, args: CurlArgs) -> Result<()> {
    let method = match args.method.as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        other => return Err(Error::message(format!("Unknown method '{other}'"))),
    };
    if method == Method::DELETE && !args.headers.is_empty() {
        return Err(Error::message("Expected no headers"));
    }
    let mut request = Request::new(method, &args.path);
    for header in &args.headers {
        request = request.header(&header.name, &header.value);
    }
    if let Some(path) = &args.body {
        request.body = Body::Bytes(fs_err::read(path)?.into());
    }
    let response = session
        .client
        .send_raw(request)
        .await
        .within(|| "Executing HTTP request")?;
    if args.show_headers {
        let mut text = format!("HTTP/1.1 {}\n", response.status);
        for (name, value) in &response.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        session.ui.block(format!("{text}\n"));
    }
    let body = String::from_utf8_lossy(&response.body).into_owned();
    session.ui.block(&body);
    if response.is_success() {
        return Ok(());
    }
    let error = ClientError::Status {
        status: response.status,
        body,
    };
    Err(Error::from(error).within("Executing HTTP request"))
}
