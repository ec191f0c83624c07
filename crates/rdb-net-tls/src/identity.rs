//! Where in a certificate the name of a node stands.
//!
//! A node's identity is not its host name: it is one subject alternative name, a SPIFFE id (SPIFFE-ID, section 2) such as
//! `spiffe://prod.example/cluster/orders/node/n1`, or a DNS name of a fixed pattern such as `n1.nodes.orders.example`. A
//! pattern says where in it the node, its role and its cluster stand. There must be exactly one: of two names a reader would
//! have to choose, and two readers would choose differently.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rdb_net_types::{ClusterId, NodeId, Role};

const SCHEME: &str = "spiffe://";

/// Who a certificate says that its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node; of a client or an admin, its name.
    pub node: NodeId,
    /// The cluster, where the certificate names one.
    pub cluster: Option<ClusterId>,
    /// What the holder is.
    pub role: Role,
}

/// Why a certificate's names are no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoIdentity {
    /// None of them fits the pattern.
    None,
    /// More than one might be meant.
    Several,
    /// It is of another trust domain.
    TrustDomain(String),
}

/// Where in a subject alternative name the node stands.
///
/// A SPIFFE pattern is a URI whose parts may be `{node}` (needed), `{role}`, `{cluster}`, `*` (any one part) and, once, `...`
/// (any number of parts, none included). `*` in place of the trust domain stands for any. Where no `{cluster}` stands and the
/// parts under `...` hold `cluster/<id>`, that is the cluster. A certificate has exactly one URI, as SPIFFE demands
/// (X509-SVID, section 2).
///
/// A DNS pattern is a name whose labels may be `{node}` (needed), `{role}`, `{cluster}` and `*`, each one whole label; `{node}`
/// alone stands for the whole name. Names are compared in lower case, so a node id must be in lower case. Other DNS names may
/// stand beside the one that fits; two that fit are refused.
///
/// Roles are `node`, `client` and `admin`; without `{role}` everybody is a node.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityPattern {
    text: Arc<str>,
    kind: Arc<Kind>,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Spiffe { trust_domain: Option<String>, path: Vec<Part> },
    Dns { labels: Vec<Part> },
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Node,
    Role,
    Cluster,
    One,
    Many,
}

/// A pattern that cannot be followed. Whoever wrote it must change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the identity pattern {pattern:?} {problem}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Default for IdentityPattern {
    /// `spiffe://*/.../{role}/{node}`
    fn default() -> Self {
        let text = Arc::from("spiffe://*/.../{role}/{node}");
        let path = vec![Part::Many, Part::Role, Part::Node];
        Self { text, kind: Arc::new(Kind::Spiffe { trust_domain: None, path }) }
    }
}

impl FromStr for IdentityPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |problem| PatternError { pattern: text.to_owned(), problem };
        let kind = match text.strip_prefix(SCHEME) {
            Some(rest) => {
                let (domain, path) = rest.split_once('/').ok_or_else(|| error("has no path"))?;
                let any = domain == "*";
                if !any && !is_trust_domain(domain) {
                    return Err(error("has a trust domain that is not of a-z, 0-9, '.', '-', '_'"));
                }
                let path = path.split('/').map(|part| parse_part(part, is_path_part)).collect::<Option<_>>();
                let path = path.ok_or_else(|| error("has a part that is not of letters, digits, '.', '-', '_'"))?;
                Kind::Spiffe { trust_domain: (!any).then(|| domain.to_owned()), path }
            }
            None => {
                let labels = text.split('.').map(|part| parse_part(&part.to_ascii_lowercase(), is_label));
                let labels = labels.collect::<Option<_>>();
                Kind::Dns { labels: labels.ok_or_else(|| error("has a label that no DNS name can have"))? }
            }
        };
        let (Kind::Spiffe { path: parts, .. } | Kind::Dns { labels: parts }) = &kind;
        let count = |wanted: &Part| parts.iter().filter(|part| *part == wanted).count();
        match (count(&Part::Node), count(&Part::Role), count(&Part::Cluster), count(&Part::Many)) {
            (1, 0..=1, 0..=1, 0..=1) => Ok(Self { text: Arc::from(text), kind: Arc::new(kind) }),
            (1, _, _, 2..) => Err(error("has '...' twice")),
            (1, ..) => Err(error("has {role} or {cluster} twice")),
            _ => Err(error("needs {node} exactly once")),
        }
    }
}

fn parse_part(text: &str, is_literal: impl Fn(&str) -> bool) -> Option<Part> {
    match text {
        "{node}" => Some(Part::Node),
        "{role}" => Some(Part::Role),
        "{cluster}" => Some(Part::Cluster),
        "*" => Some(Part::One),
        "..." => Some(Part::Many),
        literal => is_literal(literal).then(|| Part::Literal(literal.to_owned())),
    }
}

/// SPIFFE-ID, section 2.1.
fn is_trust_domain(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(legal)
}

/// SPIFFE-ID, section 2.2: no empty, no relative segments.
fn is_path_part(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(legal)
}

fn is_label(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    !text.is_empty() && text.len() <= 63 && text.bytes().all(legal)
}

impl IdentityPattern {
    /// The identity in these names of one certificate.
    pub(crate) fn identify(&self, uris: &[&str], dns: &[&str]) -> Result<Identity, NoIdentity> {
        match &*self.kind {
            Kind::Spiffe { trust_domain, path } => match uris {
                [] => Err(NoIdentity::None),
                [uri] => spiffe(uri, trust_domain.as_deref(), path),
                _ => Err(NoIdentity::Several),
            },
            Kind::Dns { labels } => {
                let mut fitting = dns.iter().filter_map(|name| dns_name(name, labels));
                match (fitting.next(), fitting.next()) {
                    (Some(identity), None) => Ok(identity),
                    (Some(_), Some(_)) => Err(NoIdentity::Several),
                    (None, _) => Err(NoIdentity::None),
                }
            }
        }
    }
}

fn spiffe(uri: &str, trust_domain: Option<&str>, path: &[Part]) -> Result<Identity, NoIdentity> {
    let rest = uri.strip_prefix(SCHEME).ok_or(NoIdentity::None)?;
    let (domain, segments) = rest.split_once('/').ok_or(NoIdentity::None)?;
    if !is_trust_domain(domain) {
        return Err(NoIdentity::None);
    }
    if trust_domain.is_some_and(|wanted| wanted != domain) {
        return Err(NoIdentity::TrustDomain(domain.to_owned()));
    }
    let segments: Vec<&str> = segments.split('/').collect();
    if !segments.iter().all(|segment| is_path_part(segment)) {
        return Err(NoIdentity::None);
    }
    let mut found = Found::default();
    let matched = match path.iter().position(|part| *part == Part::Many) {
        None => found.match_all(path, &segments),
        Some(at) => {
            let (head, tail) = (&path[..at], &path[at + 1..]);
            let hidden = segments.len().checked_sub(head.len() + tail.len());
            hidden.and_then(|hidden| {
                let (first, rest) = segments.split_at(head.len());
                let (middle, last) = rest.split_at(hidden);
                found.match_all(head, first)?;
                found.match_all(tail, last)?;
                found.look_for_cluster(middle)
            })
        }
    };
    matched.and_then(|()| found.identity()).ok_or(NoIdentity::None)
}

fn dns_name(name: &str, labels: &[Part]) -> Option<Identity> {
    let name = name.to_ascii_lowercase();
    let mut found = Found::default();
    if labels == [Part::Node] {
        found.node = NodeId::new(&name).ok();
    } else {
        let parts: Vec<&str> = name.split('.').collect();
        found.match_all(labels, &parts)?;
    }
    found.identity()
}

/// What the parts of a name have been found to say.
#[derive(Default)]
struct Found {
    node: Option<NodeId>,
    role: Option<Role>,
    cluster: Option<ClusterId>,
}

impl Found {
    fn match_all(&mut self, parts: &[Part], texts: &[&str]) -> Option<()> {
        if parts.len() != texts.len() {
            return None;
        }
        for (part, text) in parts.iter().zip(texts) {
            match part {
                Part::Literal(literal) if literal == text => {}
                Part::Literal(_) | Part::Many => return None,
                Part::Node => self.node = Some(NodeId::new(text).ok()?),
                Part::Cluster => self.cluster = Some(ClusterId::new(text).ok()?),
                Part::Role => self.role = Some(role_of(text)?),
                Part::One => {}
            }
        }
        Some(())
    }

    /// `cluster/<id>` among parts that the pattern leaves open. Twice would be two answers.
    fn look_for_cluster(&mut self, parts: &[&str]) -> Option<()> {
        let mut pairs = parts.windows(2).filter(|pair| pair[0] == "cluster");
        match (pairs.next(), pairs.next(), &self.cluster) {
            (None, ..) => Some(()),
            (Some(pair), None, None) => {
                self.cluster = Some(ClusterId::new(pair[1]).ok()?);
                Some(())
            }
            _ => None,
        }
    }

    fn identity(self) -> Option<Identity> {
        Some(Identity { node: self.node?, cluster: self.cluster, role: self.role.unwrap_or(Role::Node) })
    }
}

fn role_of(text: &str) -> Option<Role> {
    match text {
        "node" => Some(Role::Node),
        "client" => Some(Role::Client),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

/// The name of a role, as certificates and messages have it.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Node => "node",
        Role::Client => "client",
        Role::Admin => "admin",
        _ => "other",
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whom a node believes, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The cluster of this node. A certificate that names another is refused.
    pub cluster: ClusterId,
    /// Where the node stands in a certificate. Default `spiffe://*/.../{role}/{node}`; name the trust domain where one CA
    /// serves several.
    pub identity: IdentityPattern,
    /// Roles of those whom this node dials. Default nodes only.
    pub dialed: Vec<Role>,
    /// Roles of those who connect. Default nodes only: a certificate of a client opens no port of the cluster, whoever signed
    /// it.
    pub accepted: Vec<Role>,
}

impl Policy {
    /// The defaults, for this cluster.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, identity: IdentityPattern::default(), dialed: vec![Role::Node], accepted: vec![Role::Node] }
    }
}
