//! The exchange as machines: bytes in, bytes out, no sockets, no clock, no randomness but what is handed in.

use aws_lc_rs::hmac::{self, Context, Tag};
use rdb_net_types::{ClusterId, NodeId, Principal, Refusal, RefusalReason, Role};

use super::{SharedSecret, Terms};

/// How long a nonce is, in bytes.
pub const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// The version of the exchange, and the first byte of each message.
const BEGIN: u8 = 0x11;
const CHALLENGE: u8 = 0x12;
const ANSWER: u8 = 0x13;

/// What separates these MACs from any other that a cluster may compute with its secret.
const DOMAIN: &[u8] = b"rustydb shared secret 1";

type Nonce = [u8; NONCE_BYTES];

/// Who proves.
#[derive(Debug, Clone, Copy)]
enum Prover {
    Dialer = 1,
    Acceptor = 2,
}

/// What both proofs are about.
#[derive(Debug, Clone)]
struct Transcript {
    cluster: ClusterId,
    dialer: NodeId,
    acceptor: NodeId,
    dialer_nonce: Nonce,
    acceptor_nonce: Nonce,
    binding: Option<[u8; 32]>,
}

impl Transcript {
    /// Every part is of a fixed length or comes behind its length, so two transcripts never give the same bytes.
    fn bytes(&self, prover: Prover) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(DOMAIN);
        bytes.push(prover as u8);
        for id in [self.cluster.as_str(), self.dialer.as_str(), self.acceptor.as_str()] {
            put_id(&mut bytes, id);
        }
        bytes.extend_from_slice(&self.dialer_nonce);
        bytes.extend_from_slice(&self.acceptor_nonce);
        match &self.binding {
            Some(binding) => {
                bytes.push(1);
                bytes.extend_from_slice(binding);
            }
            None => bytes.push(0),
        }
        bytes
    }

    fn prove(&self, secret: &SharedSecret, prover: Prover) -> Tag {
        let mut context = Context::with_key(&secret.key);
        context.update(&self.bytes(prover));
        context.sign()
    }

    /// Compares in constant time.
    fn verify(&self, secret: &SharedSecret, prover: Prover, proof: &[u8]) -> Result<(), Refusal> {
        hmac::verify(&secret.key, &self.bytes(prover), proof).map_err(|_| {
            let detail = "the peer does not know the shared secret of this cluster, or is not who it says it is: networking.shared_secret has to \
                 be the same on both nodes";
            refusal(RefusalReason::Identity, detail)
        })
    }
}

fn refusal(reason: RefusalReason, detail: impl Into<String>) -> Refusal {
    Refusal { reason, detail: detail.into() }
}

fn principal(node: NodeId) -> Principal {
    Principal { node, roles: vec![Role::Node] }
}

/// The dialer, waiting for the challenge.
#[derive(Debug)]
pub struct Dialing {
    secret: SharedSecret,
    terms: Terms,
    target: Option<NodeId>,
    nonce: Nonce,
}

impl Dialing {
    /// Begins an exchange with whom is meant, if that is known. The nonce must be fresh and random. Returns the first message.
    pub fn begin(secret: &SharedSecret, terms: Terms, target: Option<NodeId>, nonce: Nonce) -> (Self, Vec<u8>) {
        let mut message = vec![BEGIN];
        put_id(&mut message, terms.cluster.as_str());
        put_id(&mut message, terms.node.as_str());
        put_id(&mut message, target.as_ref().map_or("", NodeId::as_str));
        message.extend_from_slice(&nonce);
        (Self { secret: secret.clone(), terms, target, nonce }, message)
    }

    /// Takes the challenge. Returns who the acceptor is, proved, and the last message.
    ///
    /// # Errors
    ///
    /// Why the acceptor is not to be spoken with; nothing more is sent to it.
    pub fn finish(self, challenge: &[u8]) -> Result<(Principal, Vec<u8>), Refusal> {
        let mut reader = Reader::new(challenge, CHALLENGE)?;
        let acceptor = reader.node()?;
        let acceptor_nonce = reader.nonce()?;
        let proof: [u8; PROOF_BYTES] = reader.array()?;
        reader.end()?;
        if let Some(target) = self.target.filter(|target| *target != acceptor) {
            let detail = format!("node {acceptor} answered where node {target} was dialed");
            return Err(refusal(RefusalReason::TargetNode, detail));
        }
        if acceptor == self.terms.node {
            return Err(refusal(RefusalReason::SelfConnection, "the node that answered has this node's name"));
        }
        let transcript = Transcript {
            cluster: self.terms.cluster,
            dialer: self.terms.node,
            acceptor,
            dialer_nonce: self.nonce,
            acceptor_nonce,
            binding: self.terms.binding.map(|binding| *binding.as_bytes()),
        };
        transcript.verify(&self.secret, Prover::Acceptor, &proof)?;
        let mut message = vec![ANSWER];
        message.extend_from_slice(transcript.prove(&self.secret, Prover::Dialer).as_ref());
        Ok((principal(transcript.acceptor), message))
    }
}

/// The acceptor, waiting for the first message.
#[derive(Debug)]
pub struct Accepting {
    secret: SharedSecret,
    terms: Terms,
}

/// The acceptor, waiting for the dialer's proof.
#[derive(Debug)]
pub struct Awaiting {
    secret: SharedSecret,
    transcript: Transcript,
}

impl Accepting {
    /// Waits for a dialer.
    pub fn new(secret: &SharedSecret, terms: Terms) -> Self {
        Self { secret: secret.clone(), terms }
    }

    /// Takes the first message. The nonce must be fresh and random. Returns the challenge.
    ///
    /// # Errors
    ///
    /// Why the dialer is not to be spoken with; nothing is sent to it.
    pub fn challenge(self, begin: &[u8], nonce: Nonce) -> Result<(Awaiting, Vec<u8>), Refusal> {
        let mut reader = Reader::new(begin, BEGIN)?;
        let cluster = reader.id()?;
        let dialer = reader.node()?;
        let target = reader.id()?;
        let dialer_nonce = reader.nonce()?;
        reader.end()?;
        if cluster != self.terms.cluster.as_str() {
            let cluster = crate::certificate::visible(cluster);
            return Err(refusal(RefusalReason::Cluster, format!("the dialer belongs to the cluster {cluster}")));
        }
        if !target.is_empty() && target != self.terms.node.as_str() {
            let target = crate::certificate::visible(target);
            return Err(refusal(RefusalReason::TargetNode, format!("the dialer means node {target}")));
        }
        if dialer == self.terms.node {
            return Err(refusal(RefusalReason::SelfConnection, "the dialer has this node's name"));
        }
        let transcript = Transcript {
            cluster: self.terms.cluster,
            dialer,
            acceptor: self.terms.node,
            dialer_nonce,
            acceptor_nonce: nonce,
            binding: self.terms.binding.map(|binding| *binding.as_bytes()),
        };
        let mut message = vec![CHALLENGE];
        put_id(&mut message, transcript.acceptor.as_str());
        message.extend_from_slice(&nonce);
        message.extend_from_slice(transcript.prove(&self.secret, Prover::Acceptor).as_ref());
        Ok((Awaiting { secret: self.secret, transcript }, message))
    }
}

impl Awaiting {
    /// Takes the dialer's proof. Returns who it is, proved.
    ///
    /// # Errors
    ///
    /// Why it is not let in.
    pub fn finish(self, answer: &[u8]) -> Result<Principal, Refusal> {
        let mut reader = Reader::new(answer, ANSWER)?;
        let proof: [u8; PROOF_BYTES] = reader.array()?;
        reader.end()?;
        self.transcript.verify(&self.secret, Prover::Dialer, &proof)?;
        Ok(principal(self.transcript.dialer))
    }
}

/// Ids have at most 64 bytes.
fn put_id(bytes: &mut Vec<u8>, id: &str) {
    bytes.push(id.len() as u8);
    bytes.extend_from_slice(id.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(message: &'a [u8], kind: u8) -> Result<Self, Refusal> {
        match message.split_first() {
            Some((first, rest)) if *first == kind => Ok(Self(rest)),
            _ => Err(malformed()),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    fn nonce(&mut self) -> Result<Nonce, Refusal> {
        self.array()
    }

    fn id(&mut self) -> Result<&'a str, Refusal> {
        let [length] = self.array()?;
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| malformed())
    }

    fn node(&mut self) -> Result<NodeId, Refusal> {
        NodeId::new(self.id()?).map_err(|_| malformed())
    }

    fn end(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

fn malformed() -> Refusal {
    refusal(RefusalReason::Malformed, "the peer does not follow the exchange of shared secrets")
}
