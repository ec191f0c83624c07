//! Name servers themselves: knot, bind9 and dnsmasq, started for each test on an address of its own, and one that lies, in this process.
//! What they say is compared with what `dig` sees.
//!
//! Needs the programs `knotd`, `knotc`, `named`, `dnsmasq`, `nsupdate` and `dig`; without them a test says so and passes.

#[path = "dns/bind.rs"]
mod bind;
#[path = "dns/knot.rs"]
mod knot;
#[path = "dns/liar.rs"]
mod liar;
#[path = "dns/lies.rs"]
mod lies;
#[path = "dns/servers.rs"]
mod servers;
#[path = "dns/support.rs"]
mod support;
#[path = "dns/updates.rs"]
mod updates;

use rdb_discovery_driver::discovery_conformance;

discovery_conformance! {
    conformance: knot::Zones;
}
