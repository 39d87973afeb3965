//! TLS of a server: the handshake within the connection, and certificates that are read again when they were renewed.
//!
//! TLS 1.2 and 1.3 with the suites of rustls, by `ring`. Certificates expire, and what renews them (certbot, cert-manager) exchanges the
//! files. So the files are looked at now and then; if they hold another certificate that works, new connections get it. If what they hold
//! does not work, such as half of a pair that is being written, the old one stays in use and the log says so.

use std::future::Future as _;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// How often the files are looked at. Renewals come days before the old certificate ends.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The certificates of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Certificates {
    acceptor: Acceptor,
    files: Arc<Files>,
    current: Arc<Current>,
}

/// The library's acceptor has no `Debug`.
#[derive(Clone)]
struct Acceptor(TlsAcceptor);

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The certificate for new connections.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// A connection's bytes, in the clear or through TLS.
pub(super) enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// The handshake is under way.
    Handshake(Box<Accept<TcpStream>>),
    /// Through TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("acceptor")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

// === impl Certificates ===

impl Certificates {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    /// Which file is wrong and why; nothing of the key is repeated.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let current = Arc::new(Current(RwLock::new(Arc::new(files.load()?))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            config.map_err(|error| error.to_string())?.with_no_client_auth().with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Acceptor(TlsAcceptor::from(Arc::new(config))), files: Arc::new(files), current })
    }

    /// Reads the files again; whether there is another certificate now.
    ///
    /// # Errors
    /// As [`Certificates::read`]; the old certificate stays in use.
    pub fn renew(&self) -> Result<bool, String> {
        let fresh = self.files.load()?;
        let mut current = self.current.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = fresh.cert != current.cert;
        if is_other {
            *current = Arc::new(fresh);
        }
        Ok(is_other)
    }

    /// Looks at the files now and then, for ever.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.renew() {
                Ok(true) => tracing::info!("the certificate was renewed; new connections get it"),
                Ok(false) => {}
                Err(what) => tracing::warn!("the certificate cannot be read again: {what}; the old one stays in use"),
            }
        }
    }
}

// === impl Files ===

impl Files {
    fn load(&self) -> Result<CertifiedKey, String> {
        let fault = |path: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain: Vec<CertificateDer<'static>> = chain.map_err(|error| fault(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(fault(&self.certificate, &"it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| fault(&self.key, &error))?;
        let provider = rustls::crypto::ring::default_provider();
        // It checks, too, that the key belongs to the certificate.
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| fault(&self.key, &error))
    }
}

// === impl Transport ===

impl Transport {
    /// A connection that was accepted.
    pub(super) fn new(stream: TcpStream, certificates: Option<&Certificates>) -> Self {
        match certificates {
            None => Self::Plain(stream),
            Some(certificates) => Self::Handshake(Box::new(certificates.acceptor.0.accept(stream))),
        }
    }

    /// Ends the handshake, if there is one.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Handshake(accept) = self {
            let stream = ready!(Pin::new(accept.as_mut()).poll(context))?;
            *self = Self::Tls(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Handshake(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Self::Handshake(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // Nothing was said yet; the connection is dropped.
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
