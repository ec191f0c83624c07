//! Who is let in, who is turned away, and who has to go for another.

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

/// S12: places for members.
#[test]
fn strangers_that_crowd_the_door_leave_members_their_places() {
    let mut door = Admission::new(CONFIG);
    let member = door.admit(at(0), host(1)).expect("there is a place");
    door.was_member(at(0), &member);
    door.leave(&member);
    let strangers: Vec<Ticket> = (2..6).map(|number| door.admit(at(1), host(number)).expect("a place")).collect();
    assert_eq!(door.admit(at(2), host(7)).err(), Some(TurnedAway::Full));
    assert!(door.has_place(), "for members");
    let members: Vec<Ticket> = (0..2).map(|_| door.admit(at(2), host(1)).expect("a reserved place")).collect();
    assert!(!door.has_place());
    assert_eq!(door.admit(at(2), host(1)).err(), Some(TurnedAway::Full));
    strangers.into_iter().chain(members).for_each(|ticket| door.leave(&ticket));
    assert_eq!((door.strangers, door.members), (0, 0));
    assert!(door.visitors.values().all(|visitor| visitor.under_way == 0));
}

#[test]
fn a_member_is_a_stranger_again_after_an_hour_of_silence() {
    let mut door = Admission::new(CONFIG);
    let member = door.admit(at(0), host(1)).expect("there is a place");
    door.was_member(at(0), &member);
    for number in 2..5 {
        door.admit(at(1), host(number)).expect("a place");
    }
    assert_eq!(door.admit(at(3_600_000), host(1)).err(), Some(TurnedAway::Full));
    assert!(door.admit(at(3_599_999), host(1)).is_ok());
}

/// S12: a share for each address.
#[test]
fn one_address_has_its_share_and_no_more() {
    let mut door = Admission::new(CONFIG);
    let tickets: Vec<Ticket> = (0..3).map(|_| door.admit(at(0), host(1)).expect("its share")).collect();
    assert_eq!(door.admit(at(0), host(1)).err(), Some(TurnedAway::AddressFull));
    assert!(door.admit(at(0), host(2)).is_ok(), "another address");
    door.leave(&tickets[0]);
    assert!(door.admit(at(0), host(1)).is_ok());
}

/// S12: a pace for each address.
#[test]
fn one_address_begins_no_faster_than_it_may() {
    let mut door = Admission::new(CONFIG);
    let mut begun = 0;
    for ms in 0..5_000 {
        match door.admit(at(ms), host(1)) {
            Ok(ticket) => {
                door.leave(&ticket);
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
    assert_eq!(door.admit(at(0), address(9)).err(), Some(TurnedAway::AddressFull));
    assert!(door.admit(at(0), IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])).is_ok());
}

#[test]
fn a_crowd_of_addresses_takes_bounded_memory_and_forgets_no_member() {
    let mut door = Admission::new(CONFIG);
    let member = door.admit(at(0), host(1)).expect("there is a place");
    door.was_member(at(0), &member);
    door.leave(&member);
    for number in 0..100_000_u32 {
        let address = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        if let Ok(ticket) = door.admit(at(u64::from(number) / 100), address) {
            door.leave(&ticket);
        }
        assert!(door.visitors.len() <= ADDRESSES_MAX + 1);
    }
    assert!(door.visitors[&Some(host(1))].member_until > at(1_000));
}

#[test]
fn who_comes_alone_takes_the_place_of_the_oldest_of_those_who_come_in_crowds() {
    let mut door = Admission::new(CONFIG);
    let crowd: Vec<Ticket> = (0..3).map(|ms| door.admit(at(ms), host(1)).expect("its share")).collect();
    let other = door.admit(at(3), host(2)).expect("the last place");
    let newcomer = door.admit(at(4), host(3)).expect("the place of the oldest of the crowd");
    assert!(crowd[0].displaced.is_cancelled() && !crowd[1].displaced.is_cancelled());
    assert_eq!((door.strangers, door.visitors[&Some(host(1))].under_way), (4, 2));
    // What has lost its place leaves none behind.
    door.leave(&crowd[0]);
    assert_eq!((door.strangers, door.visitors[&Some(host(1))].under_way), (4, 2));
    assert_eq!(door.admit(at(5), host(1)).err(), Some(TurnedAway::Full), "the crowd gets none of it back");
    assert_eq!(door.admit(at(5), host(2)).err(), Some(TurnedAway::Full), "nor does one who would be no fewer");
    door.admit(at(6), host(4)).expect("another who comes alone");
    assert!(crowd[1].displaced.is_cancelled());
    for ticket in crowd.iter().chain([&other, &newcomer]) {
        door.leave(ticket);
    }
    assert_eq!((door.strangers, door.places.len()), (1, 1));
}

#[test]
fn one_of_as_many_addresses_as_places_goes_when_it_has_had_its_time() {
    let mut door = Admission::new(CONFIG);
    let all: Vec<Ticket> = (1..5).map(|number| door.admit(at(number), host(number as u8)).expect("a place")).collect();
    assert_eq!(door.admit(at(1000), host(9)).err(), Some(TurnedAway::Full));
    door.admit(at(1001), host(9)).expect("the oldest has had a second");
    let gone: Vec<bool> = all.iter().map(|ticket| ticket.displaced.is_cancelled()).collect();
    assert_eq!(gone, [true, false, false, false]);
}

#[test]
fn a_members_address_is_not_displaced() {
    let mut door = Admission::new(CONFIG);
    let member = door.admit(at(0), host(1)).expect("there is a place");
    door.was_member(at(0), &member);
    door.leave(&member);
    let members: Vec<Ticket> = (0..3).map(|_| door.admit(at(1), host(1)).expect("its share")).collect();
    door.admit(at(1), host(2)).expect("the last place");
    assert_eq!(door.admit(at(2), host(3)).err(), Some(TurnedAway::Full));
    assert!(members.iter().all(|ticket| !ticket.displaced.is_cancelled()));
}
