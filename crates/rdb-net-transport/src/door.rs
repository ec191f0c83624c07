//! Whom the listener begins with: how many strangers at once, how many from one address, how fast, and that members and those
//! who come alone get in while strangers crowd the door.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Limits on connections that have not said hello yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorConfig {
    /// How many accepted connections may be without a hello. Default 256; at least 1. Each holds at most some 40 KiB. At the
    /// limit one from an address that has fewer than another takes the place of that one's oldest.
    pub handshakes_max: usize,
    /// How many more there may be from addresses where a member was before. Default 64. Strangers cannot take these.
    pub handshakes_reserved: usize,
    /// How many of them may come from one address. Default 128; at least 1. An IPv6 address counts by its first 64 bits.
    pub handshakes_per_address_max: usize,
    /// How many connections may begin from one address in a second, after as many again at once. Default 500; at least 1.
    pub connections_per_address_second: u32,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            handshakes_max: 256,
            handshakes_reserved: 64,
            handshakes_per_address_max: 128,
            connections_per_address_second: 500,
        }
    }
}

/// How long an address counts as one where a member is.
const MEMBER_FOR: Duration = Duration::from_secs(3600);
/// How many addresses are told apart; all others are counted as if they were one.
const ADDRESSES_MAX: usize = 8192;
const SECOND: Duration = Duration::from_secs(1);
/// How long a stranger has its place for itself, where its address has no more of them than another would have.
const UNDISTURBED: Duration = SECOND;

/// Why a connection is closed before anything was read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// As many strangers are in their handshakes as may be.
    Full,
    /// Its address has as many as one address may have.
    AddressFull,
    /// Its address begins too many.
    AddressRate,
}

impl TurnedAway {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "handshakes_full",
            Self::AddressFull => "handshakes_address_full",
            Self::AddressRate => "handshakes_address_rate",
        }
    }
}

/// What is remembered of an address.
#[derive(Debug, Clone, Copy, Default)]
struct Visitor {
    under_way: usize,
    /// When it would have begun its last connection if it had come no faster than it may (the virtual time of a leaky bucket,
    /// ITU-T I.371).
    paced: Duration,
    member_until: Duration,
}

/// The decisions, without a clock or a socket.
#[derive(Debug)]
struct Admission {
    config: DoorConfig,
    visitors: HashMap<Option<IpAddr>, Visitor>,
    /// Strangers' places by address, of each the oldest first.
    places: HashMap<Option<IpAddr>, VecDeque<Place>>,
    strangers: usize,
    members: usize,
    /// Idle addresses are not looked for more than once in a second.
    tidy_at: Duration,
    admitted: u64,
}

/// A stranger's place.
#[derive(Debug)]
struct Place {
    number: u64,
    since: Duration,
    /// Ends the connection, where another takes its place.
    displaced: CancellationToken,
}

/// Who is counted where, until the connection's hello or end.
#[derive(Debug, Clone)]
struct Ticket {
    number: u64,
    address: Option<IpAddr>,
    is_member: bool,
    displaced: CancellationToken,
}

impl Admission {
    fn new(config: DoorConfig) -> Self {
        let (visitors, places) = (HashMap::new(), HashMap::new());
        Self { config, visitors, places, strangers: 0, members: 0, tidy_at: Duration::ZERO, admitted: 0 }
    }

    /// Whether another connection could get in, if it were a member's.
    fn has_place(&self) -> bool {
        self.strangers + self.members < self.config.handshakes_max + self.config.handshakes_reserved
    }

    fn admit(&mut self, now: Duration, address: IpAddr) -> Result<Ticket, TurnedAway> {
        let address = self.place(now, address);
        let interval = SECOND / self.config.connections_per_address_second.max(1);
        let visitor = self.visitors.entry(address).or_default();
        if visitor.under_way >= self.config.handshakes_per_address_max {
            return Err(TurnedAway::AddressFull);
        }
        let paced = visitor.paced.max(now);
        if paced > now + SECOND {
            return Err(TurnedAway::AddressRate);
        }
        // A member takes a stranger's place while there is one, so that the reserve lasts.
        let is_crowded = self.strangers >= self.config.handshakes_max;
        let is_member = is_crowded && visitor.member_until > now && self.members < self.config.handshakes_reserved;
        if is_crowded && !is_member && !self.displace(now, address) {
            return Err(TurnedAway::Full);
        }
        self.admitted += 1;
        let (number, displaced) = (self.admitted, CancellationToken::new());
        let visitor = self.visitors.entry(address).or_default();
        visitor.under_way += 1;
        visitor.paced = paced + interval;
        if is_member {
            self.members += 1;
        } else {
            self.strangers += 1;
            let place = Place { number, since: now, displaced: displaced.clone() };
            self.places.entry(address).or_default().push_back(place);
        }
        Ok(Ticket { number, address, is_member, displaced })
    }

    /// Takes a place from the address that has the most, for one that has fewer: who crowds the door crowds out himself. Its
    /// oldest connection goes, which had the most time. Returns whether there is a place now.
    fn displace(&mut self, now: Duration, newcomer: Option<IpAddr>) -> bool {
        let own = self.places.get(&newcomer).map_or(0, VecDeque::len);
        let is_stranger =
            |address| self.visitors.get(address).is_none_or(|visitor: &Visitor| visitor.member_until <= now);
        let oldest = |places: &VecDeque<Place>| places.front().map_or(now, |place| place.since);
        // As many addresses as places at most.
        let others = self.places.iter().filter(|(address, _)| is_stranger(address));
        let most = others.max_by_key(|(_, places)| (places.len(), Reverse(oldest(places))));
        let Some((address, places)) = most.map(|(address, places)| (*address, places)) else { return false };
        let had_its_time = now.saturating_sub(oldest(places)) >= UNDISTURBED;
        if places.len() <= own || (places.len() == own + 1 && !had_its_time) {
            return false;
        }
        let Some(place) = self.places.get_mut(&address).and_then(VecDeque::pop_front) else { return false };
        place.displaced.cancel();
        self.left(address, false);
        true
    }

    /// Under which address it is counted.
    fn place(&mut self, now: Duration, address: IpAddr) -> Option<IpAddr> {
        let address = Some(by_network(address));
        if self.visitors.len() >= ADDRESSES_MAX && !self.visitors.contains_key(&address) {
            if now >= self.tidy_at {
                self.tidy_at = now + SECOND;
                self.visitors
                    .retain(|_, visitor| visitor.under_way > 0 || visitor.paced > now || visitor.member_until > now);
            }
            if self.visitors.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        address
    }

    fn leave(&mut self, ticket: &Ticket) {
        if !ticket.is_member {
            let Some(places) = self.places.get_mut(&ticket.address) else { return };
            // One whose place was taken has left it already.
            let Some(index) = places.iter().position(|place| place.number == ticket.number) else { return };
            places.remove(index);
        }
        self.left(ticket.address, ticket.is_member);
    }

    fn left(&mut self, address: Option<IpAddr>, is_member: bool) {
        *if is_member { &mut self.members } else { &mut self.strangers } -= 1;
        if self.places.get(&address).is_some_and(VecDeque::is_empty) {
            self.places.remove(&address);
        }
        if let Some(visitor) = self.visitors.get_mut(&address) {
            visitor.under_way -= 1;
        }
    }

    fn was_member(&mut self, now: Duration, ticket: &Ticket) {
        if let Some(visitor) = self.visitors.get_mut(&ticket.address).filter(|_| ticket.address.is_some()) {
            visitor.member_until = now + MEMBER_FOR;
        }
    }
}

/// One customer of an IPv6 network has 64 bits of addresses.
fn by_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Debug)]
struct Shared {
    admission: Mutex<Admission>,
    left: Notify,
    clock: Clock,
}

const LOCKED: &str = "no code panics while it holds this lock";

/// The door of a listener.
#[derive(Debug)]
pub(crate) struct Door(Arc<Shared>);

impl Door {
    pub(crate) fn new(config: DoorConfig, clock: Clock) -> Self {
        Self(Arc::new(Shared { admission: Mutex::new(Admission::new(config)), left: Notify::new(), clock }))
    }

    /// Waits until another connection could get in; the others wait in the kernel.
    pub(crate) async fn has_place(&self) {
        loop {
            // One that leaves is remembered if it leaves before the wait.
            let left = self.0.left.notified();
            if self.0.admission.lock().expect(LOCKED).has_place() {
                return;
            }
            left.await;
        }
    }

    /// Begins with a connection from this address.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Visit, TurnedAway> {
        let ticket = self.0.admission.lock().expect(LOCKED).admit(self.0.clock.now(), address)?;
        Ok(Visit { door: Arc::clone(&self.0), ticket })
    }
}

/// A connection without a hello; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    door: Arc<Shared>,
    ticket: Ticket,
}

impl Visit {
    /// Is cancelled when another takes its place.
    pub(crate) fn displaced(&self) -> CancellationToken {
        self.ticket.displaced.clone()
    }

    /// It was let in.
    pub(crate) fn was_member(self) {
        let now = self.door.clock.now();
        self.door.admission.lock().expect(LOCKED).was_member(now, &self.ticket);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.door.admission.lock().expect(LOCKED).leave(&self.ticket);
        self.door.left.notify_one();
    }
}

#[cfg(test)]
mod tests;
