//! A director that answers from a script, over real TLS, and remembers what it was asked.

#![allow(dead_code)] // Each test that includes this uses its own part.

pub mod user;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as the script sees it.
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorized: bool,
    pub range: Option<u64>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

/// What to answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Answer {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer {
            status,
            ..Answer::ok(body)
        }
    }

    /// The connection is closed without an answer.
    pub fn gone() -> Self {
        Answer::status(0, "")
    }

    /// A redirect to a task, with a host that does not exist: the client has to put its own there.
    pub fn task(id: u32) -> Self {
        Answer {
            status: 302,
            headers: vec![("Location", format!("https://director.invalid/tasks/{id}"))],
            body: Vec::new(),
        }
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// The authority that signs test servers, and what a server needs.
pub struct Tls {
    pub ca: String,
    config: Arc<ServerConfig>,
}

impl Tls {
    pub fn new() -> Self {
        let subject = pki::Subject::common_name("test CA");
        let (ca, certificate) = pki::Ca::generate(subject).expect("a CA");
        let mut request =
            pki::Request::new(pki::Subject::common_name("director"), &[pki::Usage::Server]);
        request.alternative_names = vec!["127.0.0.1".to_owned()];
        let server = ca.issue(&request).expect("a certificate");
        let chain =
            vec![CertificateDer::from_pem_slice(server.certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(server.private_key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        Tls {
            ca: certificate.certificate,
            config: Arc::new(config),
        }
    }
}

/// A running scripted director. It lives until the test process ends.
pub struct Director {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Director {
    pub fn start(tls: &Tls, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let config = tls.config.clone();
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, log, script) = (config.clone(), log.clone(), script.clone());
                std::thread::spawn(move || serve(stream, config, &log, script.as_ref()));
            }
        });
        Director { url, requests }
    }

    /// `METHOD path` for GET, `METHOD path body` otherwise; the body cut at 200 characters.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

/// A server over plain HTTP that answers from a script; its address. It lives until the test process ends.
pub fn plain_server(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let script: Arc<Script> = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = script.clone();
            std::thread::spawn(move || converse(stream, &Mutex::default(), script.as_ref()));
        }
    });
    address
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, log: &Mutex<Vec<String>>, script: &Script) {
    let _ = stream.set_nodelay(true);
    let connection = ServerConnection::new(config).expect("a valid config");
    converse(StreamOwned::new(connection, stream), log, script);
}

fn converse(stream: impl Read + Write, log: &Mutex<Vec<String>>, script: &Script) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        log.lock().expect("no panic").push(entry(&request));
        let answer = script(&request);
        if answer.status == 0 {
            return;
        }
        let mut head = format!(
            "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // In one piece: two small ones would wait for each other's acknowledgement.
        let whole = [head.as_bytes(), &answer.body].concat();
        let stream = stream.get_mut();
        let sent = stream.write_all(&whole).and_then(|()| stream.flush());
        if sent.is_err() {
            return;
        }
    }
}

fn entry(request: &Request) -> String {
    let target = request.target.trim_end_matches('?');
    if request.method == "GET" {
        return format!("GET {target}");
    }
    let body: String = String::from_utf8_lossy(&request.body)
        .chars()
        .take(200)
        .collect();
    format!("{} {target} {body}", request.method)
}

fn read_request(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        authorized: false,
        range: None,
        headers: Vec::new(),
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        let name = name.to_ascii_lowercase();
        request.headers.push((name.clone(), value.to_owned()));
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => request.authorized = value.starts_with("Basic "),
            "range" => {
                request.range = value
                    .strip_prefix("bytes=")
                    .and_then(|range| range.trim_end_matches('-').parse().ok());
            }
            _ => {}
        }
    }
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}
