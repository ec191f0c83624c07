//! Whom the listener begins with: how many strangers at once, how many from one address, how fast, and that members get in
//! while strangers crowd the door.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;

/// Limits on connections that have not said hello yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorConfig {
    /// How many accepted connections may be without a hello. Default 256; at least 1. Each holds at most some 40 KiB.
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
    strangers: usize,
    members: usize,
    /// Idle addresses are not looked for more than once in a second.
    tidy_at: Duration,
}

/// Who is counted where, until the connection's hello or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    address: Option<IpAddr>,
    is_member: bool,
}

impl Admission {
    fn new(config: DoorConfig) -> Self {
        Self { config, visitors: HashMap::new(), strangers: 0, members: 0, tidy_at: Duration::ZERO }
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
        if is_crowded && !is_member {
            return Err(TurnedAway::Full);
        }
        visitor.under_way += 1;
        visitor.paced = paced + interval;
        *if is_member { &mut self.members } else { &mut self.strangers } += 1;
        Ok(Ticket { address, is_member })
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

    fn leave(&mut self, ticket: Ticket) {
        *if ticket.is_member { &mut self.members } else { &mut self.strangers } -= 1;
        if let Some(visitor) = self.visitors.get_mut(&ticket.address) {
            visitor.under_way -= 1;
        }
    }

    fn was_member(&mut self, now: Duration, ticket: Ticket) {
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
    /// It was let in.
    pub(crate) fn was_member(self) {
        let now = self.door.clock.now();
        self.door.admission.lock().expect(LOCKED).was_member(now, self.ticket);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.door.admission.lock().expect(LOCKED).leave(self.ticket);
        self.door.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: DoorConfig = DoorConfig {
        handshakes_max: 4,
        handshakes_reserved: 2,
        handshakes_per_address_max: 3,
        connections_per_address_second: 10,
    };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn host(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn strangers_that_crowd_the_door_leave_members_their_places() {
        let mut door = Admission::new(CONFIG);
        let member = door.admit(at(0), host(1)).expect("there is a place");
        door.was_member(at(0), member);
        door.leave(member);
        let strangers: Vec<Ticket> = (2..6).map(|number| door.admit(at(1), host(number)).expect("a place")).collect();
        assert_eq!(door.admit(at(2), host(7)), Err(TurnedAway::Full));
        assert!(door.has_place(), "for members");
        let members: Vec<Ticket> = (0..2).map(|_| door.admit(at(2), host(1)).expect("a reserved place")).collect();
        assert!(!door.has_place());
        assert_eq!(door.admit(at(2), host(1)), Err(TurnedAway::Full));
        strangers.into_iter().chain(members).for_each(|ticket| door.leave(ticket));
        assert_eq!((door.strangers, door.members), (0, 0));
        assert!(door.visitors.values().all(|visitor| visitor.under_way == 0));
    }

    #[test]
    fn a_member_is_a_stranger_again_after_an_hour_of_silence() {
        let mut door = Admission::new(CONFIG);
        let member = door.admit(at(0), host(1)).expect("there is a place");
        door.was_member(at(0), member);
        for number in 2..5 {
            door.admit(at(1), host(number)).expect("a place");
        }
        assert_eq!(door.admit(at(3_600_000), host(1)), Err(TurnedAway::Full));
        assert!(door.admit(at(3_599_999), host(1)).is_ok());
    }

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let mut door = Admission::new(CONFIG);
        let tickets: Vec<Ticket> = (0..3).map(|_| door.admit(at(0), host(1)).expect("its share")).collect();
        assert_eq!(door.admit(at(0), host(1)), Err(TurnedAway::AddressFull));
        assert!(door.admit(at(0), host(2)).is_ok(), "another address");
        door.leave(tickets[0]);
        assert!(door.admit(at(0), host(1)).is_ok());
    }

    #[test]
    fn one_address_begins_no_faster_than_it_may() {
        let mut door = Admission::new(CONFIG);
        let mut begun = 0;
        for ms in 0..5_000 {
            match door.admit(at(ms), host(1)) {
                Ok(ticket) => {
                    door.leave(ticket);
                    begun += 1;
                }
                Err(turned_away) => assert_eq!(turned_away, TurnedAway::AddressRate),
            }
        }
        assert!((59..=61).contains(&begun), "{begun} in 5 s, of 10 at once and 10 a second");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let mut door = Admission::new(CONFIG);
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for last in 0..3 {
            door.admit(at(0), address(last)).expect("its share");
        }
        assert_eq!(door.admit(at(0), address(9)), Err(TurnedAway::AddressFull));
        assert!(door.admit(at(0), IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])).is_ok());
    }

    #[test]
    fn a_crowd_of_addresses_takes_bounded_memory_and_forgets_no_member() {
        let mut door = Admission::new(CONFIG);
        let member = door.admit(at(0), host(1)).expect("there is a place");
        door.was_member(at(0), member);
        door.leave(member);
        for number in 0..100_000_u32 {
            let address = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            if let Ok(ticket) = door.admit(at(u64::from(number) / 100), address) {
                door.leave(ticket);
            }
            assert!(door.visitors.len() <= ADDRESSES_MAX + 1);
        }
        assert!(door.visitors[&Some(host(1))].member_until > at(1_000));
    }
}
