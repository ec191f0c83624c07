//! Ends of TLS connections that are made by hand: they believe everything, and show and say what a test wants.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_tests::{Stranger, frame, hello, message};
use rdb_net_types::RefusalReason;
use rdb_net_wire::{Close, CloseCode, Flags, Hello, Message, Reject, control_type};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, DistinguishedName, ServerConfig,
    ServerConnection, SideData, SignatureScheme, StreamOwned,
};

use crate::mint::Leaf;
use crate::node::ECHO;

/// A hand-made end that has dialled.
pub(crate) type Client = Stranger<StreamOwned<ClientConnection, TcpStream>>;
/// A hand-made end that was dialled.
pub(crate) type Server = Stranger<StreamOwned<ServerConnection, TcpStream>>;

pub(crate) const ALPN: &[&str] = &["rustydb/1"];
const TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 9266, section 2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Believes everything.
#[derive(Debug)]
struct Blind;

fn resolver(leaf: &Leaf) -> Arc<SingleCertAndKey> {
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let key = aws_lc_rs::sign::any_supported_type(&key).expect("a key");
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(leaf.chain.clone(), key)))
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client with this certificate, or none, which offers these protocols.
pub(crate) fn client(leaf: Option<&Leaf>, alpn: &[&str]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind));
    let mut config = match leaf {
        Some(leaf) => builder.with_client_cert_resolver(resolver(leaf)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(alpn);
    Arc::new(config)
}

/// A server with this certificate, which takes these protocols.
pub(crate) fn server(leaf: &Leaf, alpn: &[&str]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
    let mut config = builder.with_client_cert_verifier(Arc::new(Blind)).with_cert_resolver(resolver(leaf));
    config.alpn_protocols = protocols(alpn);
    Arc::new(config)
}

/// A socket with the patience of these tests.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("the connection is there");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out above zero");
    stream.set_write_timeout(Some(TIMEOUT)).expect("a time-out above zero");
    stream
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect_timeout(&address, TIMEOUT).expect("the node listens"))
}

/// Puts TLS over a socket that has dialled. An error is how it has ended.
pub(crate) fn shake_hands(mut socket: TcpStream, config: Arc<ClientConfig>) -> Result<Client, String> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(config, name).expect("a configuration");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|error| told(&error))?;
    }
    // The last of it: what the node may answer to it comes out of a read.
    let _ = connection.complete_io(&mut Unread(&mut socket));
    Ok(Stranger::over(StreamOwned::new(connection, socket)))
}

/// Puts TLS over a socket that was dialled. An error is how it has ended.
pub(crate) fn take_hands(mut socket: TcpStream, config: Arc<ServerConfig>) -> Result<Server, String> {
    let mut connection = ServerConnection::new(config).expect("a configuration");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|error| told(&error))?;
    }
    Ok(Stranger::over(StreamOwned::new(connection, socket)))
}

/// A socket from which nothing is read.
struct Unread<'a>(&'a mut TcpStream);

impl Read for Unread<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Unread<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Connects and puts TLS over it.
pub(crate) fn dial(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Client, String> {
    shake_hands(connect(address), config)
}

/// What ties a hello to this connection.
pub(crate) fn binding<D: SideData>(connection: &ConnectionCommon<D>) -> Vec<u8> {
    connection.export_keying_material([0; 32], LABEL, None).expect("the handshake is complete").to_vec()
}

/// The hello of a node on this connection, as it should be.
pub(crate) fn hello_on<D: SideData>(connection: &ConnectionCommon<D>, name: &str) -> Hello {
    Hello { channel_binding: binding(connection), ..hello(name) }
}

/// What an end of a connection is told by an error of its stream.
pub(crate) fn told(error: &Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => return format!("alert {alert:?}"),
        Some(other) => return format!("{other}"),
        None => {}
    }
    match error.kind() {
        // Whoever hangs up on a stranger does not always say so to its TLS.
        ErrorKind::UnexpectedEof => "end".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "silence".to_owned(),
        _ => error.to_string(),
    }
}

/// What comes back, up to the first word that says how it goes: `up` after a hello, where a request is answered too.
pub(crate) fn outcome<S: Read + Write>(stranger: &mut Stranger<S>) -> String {
    let (head, body) = match stranger.try_hear() {
        Ok(Some(heard)) => heard,
        Ok(None) => return "end".to_owned(),
        Err(error) => return told(&error),
    };
    match head.message_type {
        control_type::REJECT => {
            let code = Reject::decode(&body).expect("a refusal").code;
            format!("refused: {}", RefusalReason::from_code(code).map_or("?", RefusalReason::name))
        }
        control_type::CLOSE => {
            let code = Close::decode(&body).expect("a farewell").code;
            format!("closed: {}", CloseCode::from_code(code).map_or("?", CloseCode::name))
        }
        control_type::HELLO => echoed(stranger),
        other => format!("{other:?}"),
    }
}

/// Asks for an echo.
pub(crate) fn echoed<S: Read + Write>(stranger: &mut Stranger<S>) -> String {
    stranger.send(&message(ECHO, 5, "hello"));
    loop {
        match stranger.try_hear() {
            Ok(Some((head, body))) if head.flags.has(Flags::RESPONSE) => {
                assert_eq!((head.correlation, body.into_bytes().as_ref()), (5, &b"hello"[..]));
                return "up".to_owned();
            }
            Ok(Some(_)) => {}
            Ok(None) => return "up, then the end".to_owned(),
            Err(error) => return format!("up, then {}", told(&error)),
        }
    }
}

/// Says this hello and tells what comes back.
pub(crate) fn greet<S: Read + Write>(stranger: &mut Stranger<S>, hello: &Hello) -> String {
    stranger.send(&frame(hello));
    outcome(stranger)
}

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Blind {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
