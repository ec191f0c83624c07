//! The house's own types as types of keys: ids, addresses, weights, names of strategies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use rdb_balance::{FailMode, Strategy, StrategyError};
use rdb_health::Scope;
use rdb_net_types::{Capability, ClusterId, NodeAddress, NodeId, Weight};
use rdb_net_wire::Codec;

use super::connections::{QuicCongestion, TransportProtocol};
use super::discovery::{AddressFamily, DiscoveryKind, DnsRecords};
use super::entry::{Entry, Reader, quoted};
use super::input::{self, Input, Value};
use super::settings::{Gossip, GossipProfile, GossipTransport, SplitBrainStrategy};

/// The longest capability, label and label value, in bytes: they travel in gossip packets.
const LABEL_BYTES_MAX: usize = 64;
/// Where name servers answer that name no port.
const DNS_PORT: u16 = 53;

macro_rules! parsed {
    ($($type:ty: $kind:literal, $parse:expr;)+) => {$(
        impl Entry for $type {
            const KIND: &'static str = $kind;

            fn write(&self) -> Option<String> {
                Some(quoted(&self.to_string()))
            }

            fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
                let text = reader.text(input, Self::KIND)?;
                $parse(text).map_or_else(|error| reader.illegal(input, error), Some)
            }
        }
    )+};
}

parsed! {
    NodeAddress: "an address host:port", str::parse::<NodeAddress>;
    NodeId: "an id", NodeId::new;
    ClusterId: "an id", ClusterId::new;
}

impl Entry for f64 {
    const KIND: &'static str = "a number";

    fn write(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        reader.number(input)
    }
}

impl Entry for Weight {
    const KIND: &'static str = "a number";

    fn write(&self) -> Option<String> {
        Some(format!("{:?}", self.value()))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let value = reader.number(input)?;
        Self::new(value).map_or_else(|error| reader.illegal(input, error), Some)
    }
}

/// Addresses to dial, none twice.
impl Entry for Vec<NodeAddress> {
    const KIND: &'static str = "a list of addresses host:port";

    fn write(&self) -> Option<String> {
        Some(list(self))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        let mut seen = BTreeSet::new();
        every(items, reader, |item, reader| {
            let address = NodeAddress::read(item, reader)?;
            if address.port() == 0 {
                return reader.illegal(item, format!("{address} has port 0, which cannot be dialled"));
            }
            if !seen.insert(address.clone()) {
                return reader.illegal(item, format!("{address} stands twice"));
            }
            Some(address)
        })
    }
}

impl Entry for Vec<String> {
    const KIND: &'static str = "a list of texts";

    fn write(&self) -> Option<String> {
        Some(format!("[{}]", self.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        every(items, reader, |item, reader| label(item, reader).map(str::to_owned))
    }
}

impl Entry for Vec<PathBuf> {
    const KIND: &'static str = "a list of paths";

    fn write(&self) -> Option<String> {
        let paths = self.iter().filter_map(Entry::write).collect::<Vec<_>>();
        Some(format!("[{}]", paths.join(", ")))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        every(items, reader, PathBuf::read)
    }
}

impl Entry for BTreeSet<Capability> {
    const KIND: &'static str = "a list of texts";

    fn write(&self) -> Option<String> {
        let names = self.iter().map(|capability| quoted(capability_name(capability))).collect::<Vec<_>>();
        Some(format!("[{}]", names.join(", ")))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        let read = every(items, reader, |item, reader| label(item, reader).map(capability))?;
        Some(read.into_iter().collect())
    }
}

impl Entry for Vec<Codec> {
    const KIND: &'static str = "a list of texts";

    fn write(&self) -> Option<String> {
        let names = self.iter().map(|codec| quoted(codec.name())).collect::<Vec<_>>();
        Some(format!("[{}]", names.join(", ")))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        let mut read = Vec::new();
        every(items, reader, |item, reader| {
            let name = label(item, reader)?;
            let Some(codec) = Codec::ALL.into_iter().find(|codec| codec.name() == name) else {
                let known = Codec::ALL.map(|codec| quoted(codec.name())).join(", ");
                return reader.illegal(item, format!("there is no codec {}; there are {known}", quoted(name)));
            };
            if read.contains(&codec) {
                return reader.illegal(item, format!("{} stands twice", quoted(name)));
            }
            read.push(codec);
            Some(codec)
        })
    }
}

fn capability_name(capability: &Capability) -> &str {
    match capability {
        Capability::Read => "read",
        Capability::Write => "write",
        Capability::Analytics => "analytics",
        Capability::Custom(name) => name,
        _ => "",
    }
}

fn capability(name: &str) -> Capability {
    match name {
        "read" => Capability::Read,
        "write" => Capability::Write,
        "analytics" => Capability::Analytics,
        name => Capability::Custom(name.to_owned()),
    }
}

impl Entry for BTreeMap<NodeId, Weight> {
    const KIND: &'static str = "a table of numbers by node id";

    fn write(&self) -> Option<String> {
        Some(table(self.iter().map(|(node, weight)| (node.as_str(), weight.write()))))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = entries(input, reader, Self::KIND)?;
        let read = each(entries, reader, |entry, reader| {
            let (node, weight) = (NodeId::read(&entry.name_input(), reader), Weight::read(&entry.input, reader));
            Some((node?, weight?))
        })?;
        Some(read.into_iter().collect())
    }
}

impl Entry for BTreeMap<String, String> {
    const KIND: &'static str = "a table of texts";

    fn write(&self) -> Option<String> {
        Some(table(self.iter().map(|(name, value)| (name.as_str(), value.write()))))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = entries(input, reader, Self::KIND)?;
        let read = each(entries, reader, |entry, reader| {
            if entry.name.len() > LABEL_BYTES_MAX {
                return reader.illegal(&entry.input, format!("its name is longer than {LABEL_BYTES_MAX} bytes"));
            }
            Some((entry.name.clone(), label(&entry.input, reader)?.to_owned()))
        })?;
        Some(read.into_iter().collect())
    }
}

fn label<'i>(input: &'i Input, reader: &mut Reader<'_>) -> Option<&'i str> {
    let text = reader.text(input, String::KIND)?;
    if text.is_empty() || text.len() > LABEL_BYTES_MAX {
        return reader.illegal(input, format!("a text of 1 to {LABEL_BYTES_MAX} bytes, not of {}", text.len()));
    }
    Some(text)
}

fn items<'i>(input: &'i Input, reader: &mut Reader<'_>, kind: &'static str) -> Option<&'i [Input]> {
    let Value::List(items) = &input.value else { return reader.wrong_type(input, kind) };
    reader.bounded(input, items)
}

fn entries<'i>(input: &'i Input, reader: &mut Reader<'_>, kind: &'static str) -> Option<&'i [input::Entry]> {
    let Value::Table(entries) = &input.value else { return reader.wrong_type(input, kind) };
    reader.bounded(input, entries)
}

/// Reads every item, so that all that is wrong is told; `None` when anything was.
fn every<'i, T>(
    items: &'i [Input],
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&'i Input, &mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let numbered = items.iter().enumerate();
    let values = numbered.map(|(index, item)| reader.element(format!("[{index}]"), |reader| read(item, reader)));
    values.collect::<Vec<_>>().into_iter().collect()
}

/// The same for the entries of a table.
fn each<T>(
    entries: &[input::Entry],
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&input::Entry, &mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let values = entries.iter().map(|entry| reader.element(format!(".{}", entry.name), |reader| read(entry, reader)));
    values.collect::<Vec<_>>().into_iter().collect()
}

fn list(addresses: &[NodeAddress]) -> String {
    let texts: Vec<_> = addresses.iter().map(|address| quoted(&address.to_string())).collect();
    format!("[{}]", texts.join(", "))
}

fn table<'a>(entries: impl Iterator<Item = (&'a str, Option<String>)>) -> String {
    let is_bare =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let name = |name: &str| if is_bare(name) { name.to_owned() } else { quoted(name) };
    let texts: Vec<_> =
        entries.filter_map(|(key, value)| value.map(|value| format!("{} = {value}", name(key)))).collect();
    if texts.is_empty() { String::from("{}") } else { format!("{{ {} }}", texts.join(", ")) }
}

macro_rules! named {
    ($($type:ty { $($name:literal => $value:path),+ })+) => {$(
        impl Entry for $type {
            const KIND: &'static str = "a name";

            fn write(&self) -> Option<String> {
                Some(match self { $($value => quoted($name)),+ })
            }

            fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
                match reader.text(input, Self::KIND)? {
                    $($name => Some($value),)+
                    name => reader.unknown_name(input, name, &[$($name),+]),
                }
            }
        }
    )+};
}

named! {
    Scope { "links" => Scope::Links, "all" => Scope::All }
    FailMode { "closed" => FailMode::Closed, "open" => FailMode::Open }
    GossipTransport { "auto" => GossipTransport::Auto, "udp" => GossipTransport::Udp, "stream" => GossipTransport::Stream, "quic" => GossipTransport::Quic }
    QuicCongestion { "cubic" => QuicCongestion::Cubic, "bbr" => QuicCongestion::Bbr }
    TransportProtocol { "tcp" => TransportProtocol::Tcp, "quic" => TransportProtocol::Quic, "auto" => TransportProtocol::Auto }
    DnsRecords { "srv" => DnsRecords::Srv, "addresses" => DnsRecords::Addresses, "srv_then_addresses" => DnsRecords::SrvThenAddresses }
    AddressFamily { "either" => AddressFamily::Either, "ipv4" => AddressFamily::V4, "ipv6" => AddressFamily::V6 }
    SplitBrainStrategy { "none" => SplitBrainStrategy::None, "static_quorum" => SplitBrainStrategy::StaticQuorum, "keep_majority" => SplitBrainStrategy::KeepMajority, "keep_oldest" => SplitBrainStrategy::KeepOldest }
    GossipProfile { "lan" => GossipProfile::Lan, "wan" => GossipProfile::Wan, "local" => GossipProfile::Local }
}

/// The profile stands for all settings of the gossip that have no key of their own or whose key is not set.
impl Entry for Gossip {
    const KIND: &'static str = GossipProfile::KIND;

    fn write(&self) -> Option<String> {
        self.profile.write()
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        GossipProfile::read(input, reader).map(Self::new)
    }
}

impl Entry for Strategy {
    const KIND: &'static str = "a name";

    fn write(&self) -> Option<String> {
        Some(quoted(self.name()))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.text(input, Self::KIND)?;
        match name.parse() {
            Ok(strategy) => Some(strategy),
            Err(error @ StrategyError::NotBuilt { .. }) => reader.not_built(input, error),
            Err(_) => reader.unknown_name(input, name, &Self::ALL.map(Self::name)),
        }
    }
}

/// One kind stands by its name, several in a list, the one that counts most first.
impl Entry for Vec<DiscoveryKind> {
    const KIND: &'static str = "a name, or a list of names";

    fn write(&self) -> Option<String> {
        let names: Vec<_> = self.iter().map(|kind| quoted(kind.name())).collect();
        Some(if let [name] = names.as_slice() { name.clone() } else { format!("[{}]", names.join(", ")) })
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(_) = &input.value else { return kind(input, reader, Self::KIND).map(|kind| vec![kind]) };
        let items = items(input, reader, Self::KIND)?;
        if items.is_empty() {
            return reader.illegal(input, "an empty list finds nobody; for a node that others join, set \"none\"");
        }
        let mut seen = Vec::new();
        every(items, reader, |item, reader| {
            let kind = kind(item, reader, String::KIND)?;
            if kind == DiscoveryKind::Nowhere {
                return reader.illegal(item, "\"none\" stands alone, and not in a list with others");
            }
            if seen.contains(&kind) {
                return reader.illegal(item, format!("{} stands twice", quoted(kind.name())));
            }
            seen.push(kind);
            Some(kind)
        })
    }
}

fn kind(input: &Input, reader: &mut Reader<'_>, expected: &'static str) -> Option<DiscoveryKind> {
    let name = reader.text(input, expected)?;
    let kind = DiscoveryKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.or_else(|| reader.unknown_name(input, name, &DiscoveryKind::ALL.map(DiscoveryKind::name)))
}

/// Where name servers answer: an IP address, with a port where it is not 53.
impl Entry for Vec<SocketAddr> {
    const KIND: &'static str = "a list of IP addresses, with or without ports";

    fn write(&self) -> Option<String> {
        let texts: Vec<_> = self.iter().map(|server| quoted(&server.to_string())).collect();
        Some(format!("[{}]", texts.join(", ")))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let items = items(input, reader, Self::KIND)?;
        every(items, reader, |item, reader| {
            let text = label(item, reader)?;
            let alone = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
            match text.parse::<SocketAddr>().or_else(|_| alone()) {
                Ok(server) if server.port() == 0 => {
                    reader.illegal(item, format!("{text} has port 0, where nobody answers"))
                }
                Ok(server) => Some(server),
                Err(_) => reader
                    .illegal(item, format!("{} is no IP address, such as 10.0.0.2 or 10.0.0.2:5353", quoted(text))),
            }
        })
    }
}
