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

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::certificates::{self, Certificates};
    use crate::measure::Caller;
    use crate::peers::mux::MuxClient;
    use crate::peers::ours::{self, OursCaller};
    use crate::peers::tonic_peer::StreamCaller;
    use crate::peers::{Peer, PeerError};
    use crate::workload::Workload;

    /// Whether the peer, whose client `connect` makes, echoes to who shows a certificate, and counts
    /// where it has one-way messages.
    pub(in crate::peers) async fn check<C: Caller>(
        peer: Peer,
        connect: impl AsyncFnOnce(SocketAddr, Tls) -> Result<C, PeerError>,
    ) {
        let minted = Certificates::mint(["server", "client"].map(str::to_owned)).unwrap();
        let (announce, address) = oneshot::channel();
        let dir = minted.dir().to_owned();
        let server =
            tokio::spawn(async move { peer.serve(Some(&dir), |address| announce.send(address).unwrap()).await });
        let tls = certificates::load(Some(minted.dir()), "client").unwrap();
        let caller = connect(address.await.unwrap(), tls).await.unwrap();
        for length in [0, 64, 4096, 200_000] {
            let payload = Bytes::from(vec![length as u8; length]);
            assert_eq!(caller.call(payload.clone()).await.unwrap(), payload);
        }
        if peer.offers(Workload::W4) {
            for _ in 0..20 {
                caller.send(Bytes::from_static(&[7; 1000])).await.unwrap();
            }
            assert_eq!(caller.barrier().await.unwrap(), 20);
        } else {
            assert!(matches!(caller.send(Bytes::new()).await, Err(PeerError::NotOffered)));
        }
        server.abort();
    }

    #[tokio::test]
    async fn each_peer_echoes_and_counts_inside_tls() {
        check(Peer::MuxTls, async |address, tls| MuxClient::connect(address, Some(tls)).await).await;
        check(Peer::TonicStreamTls, async |address, tls| StreamCaller::connect(address, Some(tls)).await).await;
        check(Peer::OursTls, async |address, tls| {
            let (limits, backend) = (rdb_net_session::Config::default(), ours::backend(Some(tls)));
            Ok(OursCaller::connect(limits, backend, address, Workload::W3))
        })
        .await;
    }

    #[tokio::test]
    async fn without_certificates_nothing_is_served() {
        let served = Peer::OursTls.serve(None, |_| {}).await;
        assert!(matches!(served, Err(PeerError::Certificates(_))));
    }
}
