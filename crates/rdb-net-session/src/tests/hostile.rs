//! What a peer of any intention, an unlucky order or a former version must not bring about.

use rdb_net_types::Lane;
use rdb_net_wire::Prepared;

use super::pair::{Pair, message};
use crate::Config;

#[test]
fn a_large_message_is_sent_though_small_ones_behind_it_have_overdrawn_the_credits() {
    let mut pair = Pair::up(Config::default());
    let mut large = Prepared::new(&message(20_000));
    pair.dialer.session.one_way_prepared(Lane::Bulk, &mut large).expect("credits");
    for _ in 0..2 {
        // The second overdraws them, as the last one may.
        pair.dialer.session.one_way(Lane::Bulk, &message(200_000)).expect("credits");
    }
    pair.drive();
    let arrived: Vec<_> = pair.acceptor.pop_all().iter().map(|inbound| inbound.body.len()).collect();
    assert_eq!(arrived, [20_000, 200_000, 200_000], "{} bytes are stuck", pair.dialer.session.queued_bytes());
}
