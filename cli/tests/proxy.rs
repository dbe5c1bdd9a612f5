//! Requests to the director through a SOCKS5 proxy, which is a small real one here.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::user::User;
use support::{Answer, Director, Tls};

/// Starts a proxy without log-in (RFC 1928); its port and how often it was asked to connect.
fn start_proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let used = Arc::new(AtomicUsize::new(0));
    let count = used.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || serve(client, &count));
        }
    });
    (port, used)
}

fn serve(mut client: TcpStream, count: &AtomicUsize) -> Option<()> {
    let bytes = |client: &mut TcpStream, length: usize| {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let hello = bytes(&mut client, 2)?;
    bytes(&mut client, hello[1].into())?;
    client.write_all(&[5, 0]).ok()?;
    let head = bytes(&mut client, 4)?;
    let host = match head[3] {
        1 => {
            let ip = bytes(&mut client, 4)?;
            Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).to_string()
        }
        _ => {
            let length = bytes(&mut client, 1)?[0];
            String::from_utf8(bytes(&mut client, length.into())?).ok()?
        }
    };
    let port = bytes(&mut client, 2)?;
    count.fetch_add(1, Ordering::SeqCst);
    let mut server = TcpStream::connect((host, u16::from_be_bytes([port[0], port[1]]))).ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut client, &mut server).ok()?;
    Some(())
}

fn locks(director: &Director, tls: &Tls, variables: &[(&str, &str)]) -> Output {
    let director = [
        ("BOSH_ENVIRONMENT", &*director.url),
        ("BOSH_CA_CERT", &*tls.ca),
        ("BOSH_CLIENT", "admin"),
        ("BOSH_CLIENT_SECRET", "admin"),
    ];
    User::new("cwd").run_with(&["locks", "--json"], &[&director, variables].concat())
}

#[test]
fn the_director_is_reached_through_the_proxy_unless_it_is_excepted() {
    let tls = Tls::new();
    let director = Director::start(&tls, |request| match request.target.as_str() {
        "/info" => Answer::ok(r#"{"user_authentication":{"type":"basic","options":{}}}"#),
        _ => Answer::ok("[]"),
    });
    let (port, used) = start_proxy();
    let proxy = format!("socks5://127.0.0.1:{port}");

    let output = locks(&director, &tls, &[("BOSH_ALL_PROXY", &proxy)]);
    assert!(output.status.success(), "{output:?}");
    let times = used.load(Ordering::SeqCst);
    assert!(times > 0);

    let variables = [("BOSH_ALL_PROXY", &*proxy), ("NO_PROXY", "127.0.0.1")];
    let output = locks(&director, &tls, &variables);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(used.load(Ordering::SeqCst), times);
}
