//! Authenticators inside TLS: what a token is worth, and what it is not.

use std::sync::Arc;

use rdb_net_tls::{CertificateAuthenticator, Policy};
use rdb_net_types::{Authenticator, Credentials, Principal, Refusal, RefusalReason, Role};

use crate::mint::Ca;
use crate::node::{Settings, cluster, id, start};
use crate::raw::{ALPN, client, dial, greet, hello_on};
use crate::table::{Row, UP, against, meet};

const TOKEN: &[u8] = b"let me in";

/// Lets in whoever has the token, as whom it claims to be.
struct ByToken;

impl Authenticator for ByToken {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, Refusal> {
        assert!(credentials.certificate.is_some(), "the certificate is shown to it");
        match credentials.token == TOKEN {
            true => Ok(Principal { node: credentials.claimed.clone(), roles: vec![Role::Node] }),
            false => Err(Refusal { reason: RefusalReason::Identity, detail: "the token is wrong".to_owned() }),
        }
    }
}

/// Takes everybody for the same node.
struct Confused;

impl Authenticator for Confused {
    fn authenticate(&self, _: &Credentials<'_>) -> Result<Principal, Refusal> {
        Ok(Principal { node: id("n7"), roles: vec![Role::Node] })
    }
}

struct Broken;

impl Authenticator for Broken {
    fn authenticate(&self, _: &Credentials<'_>) -> Result<Principal, Refusal> {
        panic!("an authenticator of somebody's own")
    }
}

/// `n2` with this token dials `n1` with this authenticator.
fn token(
    name: &'static str,
    expected: (&str, &str),
    token: &'static [u8],
    authenticator: fn() -> Arc<dyn Authenticator>,
) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let dialer = start(runtime, "n2", &ca, |settings| settings.config.identity.token = token.to_vec());
        let taker = start(runtime, "n1", &ca, |settings| settings.config.authenticator = Some(authenticator()));
        meet(runtime, expected, dialer, taker)
    })
}

fn by_certificate() -> Arc<dyn Authenticator> {
    Arc::new(CertificateAuthenticator::new(Policy::new(cluster("rustydb"))))
}

fn anybody_by_certificate(settings: &mut Settings) {
    settings.tls.verify_client = false;
    settings.config.authenticator = Some(by_certificate());
}

pub(crate) fn rows() -> Vec<Row> {
    let refused = ("refused: identity", "identity");
    vec![
        token("a token that is right", UP, TOKEN, || Arc::new(ByToken)),
        token("a token that is wrong", refused, b"let me out", || Arc::new(ByToken)),
        token("a token that is missing", refused, b"", || Arc::new(ByToken)),
        token("an authenticator that takes it for another", refused, TOKEN, || Arc::new(Confused)),
        token("an authenticator that panics", refused, TOKEN, || Arc::new(Broken)),
        token("the authenticator of certificates", UP, b"", by_certificate),
        Row::new("the authenticator of certificates, and none is shown", refused, |runtime, expected| {
            let node = start(runtime, "n1", &Ca::new("ca"), anybody_by_certificate);
            let mut stranger = dial(node.address(), client(None, ALPN)).expect("let in by TLS");
            let hello = hello_on(&stranger.stream().conn, "n2");
            let seen = (greet(&mut stranger, &hello), stranger);
            against(node, runtime, expected, seen)
        }),
        Row::new("a right token with another's certificate", refused, |runtime, expected| {
            let ca = Ca::new("ca");
            let node = start(runtime, "n1", &ca, |settings| settings.config.authenticator = Some(Arc::new(ByToken)));
            let mut stranger = dial(node.address(), client(Some(&ca.node("n3")), ALPN)).expect("let in by TLS");
            let mut hello = hello_on(&stranger.stream().conn, "n2");
            hello.token = TOKEN.to_vec();
            let seen = (greet(&mut stranger, &hello), stranger);
            against(node, runtime, expected, seen)
        }),
    ]
}
