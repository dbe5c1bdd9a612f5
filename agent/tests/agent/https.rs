//! Signed URLs as a director serves them: HTTPS, GET and PUT, a query that must be right.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pki::{Ca, Request, Subject, Usage};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub type Blobs = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves and stores blobs until the test ends; returns the URL that paths are appended to.
pub async fn serve(ca: &Ca, blobs: Blobs) -> String {
    let mut request = Request::new(Subject::common_name("director"), &[Usage::Server]);
    request.alternative_names = vec!["127.0.0.1".into()];
    let key = ca.issue(&request).expect("certificate");
    let certificate = CertificateDer::from_pem_slice(key.certificate.as_bytes()).expect("PEM");
    let private = PrivateKeyDer::from_pem_slice(key.private_key.as_bytes()).expect("PEM");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .expect("server certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, blobs) = (acceptor.clone(), blobs.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, blobs).await;
                }
            });
        }
    });
    format!("https://{address}")
}

async fn answer(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, blobs: Blobs) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(n) if n > 0 && !line.trim().is_empty() => lines.push(line.trim().to_owned()),
            _ => break,
        }
    }
    let Some((method, rest)) = lines.first().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let path = rest.split(' ').next().unwrap_or_default();
    let length = lines
        .iter()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let signed = path.ends_with("?signature=good");
    let id = path.split(['/', '?']).nth(1).unwrap_or_default().to_owned();
    let (status, body) = match method {
        _ if !signed => ("403 Forbidden", Vec::new()),
        "GET" => match blobs.lock().expect("lock").get(&id) {
            Some(content) => ("200 OK", content.clone()),
            None => ("404 Not Found", Vec::new()),
        },
        _ => {
            let mut content = vec![0; length];
            if stream.read_exact(&mut content).await.is_err() {
                return;
            }
            blobs.lock().expect("lock").insert(id, content);
            ("201 Created", Vec::new())
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}
