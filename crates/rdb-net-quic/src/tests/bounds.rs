//! Every option is kept in its range, and nothing is left without a bound.

use std::time::Duration;

use crate::QuicConfig;

#[test]
fn the_defaults_are_in_their_ranges() {
    assert_eq!(QuicConfig::default().bounded(), QuicConfig::default());
}

#[test]
fn what_is_out_of_its_range_is_put_at_the_ranges_end() {
    let wild = QuicConfig {
        idle_timeout: Duration::MAX,
        keep_alive_interval: Duration::MAX,
        lane_window_bytes: u32::MAX,
        mtu_bytes_max: u16::MAX,
        initial_rtt: Duration::ZERO,
        ..QuicConfig::default()
    };
    let bounded = wild.bounded();
    assert_eq!(bounded.idle_timeout, Duration::from_secs(3600));
    assert_eq!(bounded.keep_alive_interval, Duration::from_secs(1200));
    assert_eq!(bounded.lane_window_bytes, 64 * 1024 * 1024);
    assert_eq!(bounded.mtu_bytes_max, 65_527);
    assert_eq!(bounded.initial_rtt, Duration::from_millis(1));
}

#[test]
fn a_connection_has_no_window_or_count_of_the_librarys_own_choice() {
    let described = format!("{:?}", QuicConfig::default().transport(false, None));
    for bound in [
        "max_concurrent_bidi_streams: 4",
        "max_concurrent_uni_streams: 0",
        "stream_receive_window: 4194304",
        "receive_window: 16777216",
        "send_window: 16777216",
        "max_idle_timeout: Some(15000)",
        "crypto_buffer_size: 16384",
        "datagram_send_buffer_size: 65536",
        "datagram_receive_buffer_size: Some(65536)",
    ] {
        assert!(described.contains(bound), "{bound} is not in {described}");
    }
    let dials = format!("{:?}", QuicConfig::default().transport(true, None));
    assert!(dials.contains("max_concurrent_bidi_streams: 0"), "who is dialled opens nothing: {dials}");
}
