//! TLS as its clients see it: an ordinary one, one that speaks plain HTTP, one that never ends its handshake, and one after a renewal.

use std::process::Command;

use axum::Router;
use axum::routing::get;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::http::{Limits, Server};

const LIMITS: Limits = Limits { request: Duration::from_millis(500), ..Limits::SMALL };

/// A certificate for localhost that signs itself.
fn make(folder: &Path) {
    let (key, certificate) = (folder.join("key.pem"), folder.join("chain.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn read(folder: &Path) -> Result<Certificates, String> {
    Certificates::read(&folder.join("chain.pem"), &folder.join("key.pem"))
}

async fn serve(certificates: Certificates) -> std::net::SocketAddr {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), "a test", "--port", LIMITS).await.unwrap().with_tls(certificates);
    let address = server.address();
    tokio::spawn(server.serve(Router::new().route("/", get(|| async { "here\n" })), std::future::pending()));
    address
}

/// Asks for the page, trusting the certificate in the folder.
async fn ask(address: std::net::SocketAddr, folder: &Path) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("chain.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    // A server that closes without a farewell of TLS has said what it had to say.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn pages_come_through_tls_and_not_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let address = serve(read(folder.path()).unwrap()).await;
    let answer = ask(address, folder.path()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here\n"), "{answer}");
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("here"), "{answer:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_half_of_one_is_not() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(folder.path());
    make(other.path());
    let certificates = read(folder.path()).unwrap();
    let address = serve(certificates.clone()).await;
    assert!(ask(address, other.path()).await.is_err(), "it is another certificate");
    assert!(!certificates.renew().unwrap(), "nothing changed");
    std::fs::copy(other.path().join("chain.pem"), folder.path().join("chain.pem")).unwrap();
    assert!(certificates.renew().unwrap_err().contains("key.pem"), "the key belongs to the old one");
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    assert!(certificates.renew().unwrap());
    assert!(ask(address, other.path()).await.unwrap().contains("here"));
    std::fs::write(folder.path().join("chain.pem"), "").unwrap();
    assert!(certificates.renew().is_err());
    assert!(ask(address, other.path()).await.unwrap().contains("here"), "the one that works stays");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let address = serve(read(folder.path()).unwrap()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    // The first bytes of a handshake, and nothing more.
    silent.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    assert!(ask(address, folder.path()).await.unwrap().contains("here"));
    let mut answer = Vec::new();
    let ended = silent.read_to_end(&mut answer).await;
    assert!(ended.is_err() || answer.len() < 100, "the server hangs up: {ended:?}");
}

#[test]
fn files_that_are_no_pair_are_refused_without_a_word_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap_err().contains("chain.pem"));
    make(folder.path());
    std::fs::write(folder.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
    let what = read(folder.path()).unwrap_err();
    assert!(what.contains("key.pem") && !what.contains("c2VjcmV0"), "{what}");
}
