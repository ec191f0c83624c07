//! The streams of the other peers inside TLS: tokio-rustls as it comes, with the very configurations of this workspace, so that
//! provider, cipher suite, certificates and checks are the same for all.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use rdb_net_tls::{Expected, Tls};
use rustls::pki_types::{IpAddr, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tonic::transport::server::Connected;

/// A connection over TCP, inside TLS. A type of this crate, so that tonic can be told how to serve it; its own support of TLS
/// would bring TLS 1.2 into the build.
#[derive(Debug)]
pub(crate) struct TlsConnection(TlsStream<TcpStream>);

/// Connects.
///
/// # Errors
///
/// The operating system's, or TLS's.
pub(crate) async fn dial(tls: &Tls, address: SocketAddr) -> io::Result<TlsConnection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(tls.current().client_config(Expected::Anybody));
    let name = ServerName::IpAddress(IpAddr::from(address.ip()));
    Ok(TlsConnection(connector.connect(name, stream).await?.into()))
}

/// Takes connections.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// By this certificate.
    pub(crate) fn new(tls: &Tls) -> Self {
        Self(TlsAcceptor::from(tls.current().server_config()))
    }

    /// The handshake on a connection that was taken.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsConnection> {
        Ok(TlsConnection(self.0.accept(stream).await?.into()))
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
