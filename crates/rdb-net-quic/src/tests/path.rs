//! What a connection knows of its path.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Scene, beside, listen, pair, soon};
use crate::QuicConfig;

#[tokio::test]
async fn both_ends_tell_how_their_path_is_doing_until_it_ends() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    let (mut dialed, mut accepted) = pair(&a, &mut listener, &address).await;
    let mut read = vec![0; 200_000];
    dialed.write_all(&[0; 200_000]).await.expect("it fits the window");
    beside(&mut dialed, accepted.read_exact(&mut read)).await.expect("carried");
    for end in [&dialed, &accepted] {
        let path = end.path().expect("it lives");
        assert!(path.smoothed_rtt > Duration::ZERO && path.smoothed_rtt < Duration::from_secs(1), "{path:?}");
        assert!(path.congestion_window_bytes >= 2 * 1200, "{path:?}");
        assert!((1200..=8952).contains(&path.packet_bytes_max), "{path:?}");
    }
    let probe = dialed.path_probe().expect("it has one");
    drop((dialed, accepted));
    soon("the end", async {
        while probe.statistics().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn packets_grow_to_what_is_configured_where_the_link_carries_it() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    let (mut dialed, mut accepted) = pair(&a, &mut listener, &address).await;
    // Loopback carries 65,536.
    let path = dialed.path_probe().expect("it has one");
    let mut read = vec![0; 10_000];
    soon("jumbo frames", async {
        while path.statistics().expect("it lives").packet_bytes_max < 8900 {
            dialed.write_all(&[0; 10_000]).await.expect("it lives");
            beside(&mut dialed, accepted.read_exact(&mut read)).await.expect("carried");
        }
    })
    .await;
}
