//! What a node answers to others' messages about keys.

use std::time::Duration;

use rdb_net_seal::{GossipKey, KeyringOffer, RotationOrder};
use rdb_net_transport::{Answer, HandlerError, Handling, Request};
use rdb_net_types::Payload;

use super::{Keys, LOCKED};

/// Behind this byte of the header an order begins; an offer has another.
const OFFER_KIND: u8 = 1;

impl Keys {
    /// Answers a member's message about keys.
    pub(crate) fn handle(&self, now: Duration, request: Request) -> Handling {
        Handling::Ready(self.answer(now, &request.into_payload().into_bytes()))
    }

    fn answer(&self, now: Duration, message: &[u8]) -> Result<Answer, HandlerError> {
        let refuse = |problem: String| HandlerError::not_started(problem);
        match message {
            [] => {
                self.make_first(now).map_err(|error| refuse(error.to_string()))?;
                let offer = KeyringOffer::encode(&self.keyring).ok_or_else(|| refuse("there is no key".to_owned()))?;
                Ok(Answer::Payload(Payload::from(offer.to_vec())))
            }
            [_, OFFER_KIND, ..] => {
                let offer = KeyringOffer::decode(message).map_err(|error| refuse(error.to_string()))?;
                self.accept(now, offer).map_err(|error| refuse(error.to_string()))?;
                Ok(Answer::Payload(Payload::from(Vec::new())))
            }
            _ => {
                let order = RotationOrder::decode(message).map_err(|error| refuse(error.to_string()))?;
                order.apply(&self.keyring).map_err(|error| refuse(error.to_string()))?;
                tracing::info!(?order, "gossip keys: an order was carried out");
                Ok(Answer::Payload(Payload::from(Vec::new())))
            }
        }
    }

    /// The first node of a cluster makes its first key, when somebody asks for it.
    fn make_first(&self, now: Duration) -> Result<(), Box<dyn std::error::Error>> {
        if self.keyring.primary().is_none() {
            let id = self.keyring.install(GossipKey::generate()?, now)?;
            tracing::info!(%id, "gossip keys: made the first one");
        }
        Ok(())
    }

    pub(super) fn accept(&self, now: Duration, offer: KeyringOffer) -> Result<(), rdb_net_seal::KeyringError> {
        let accepted = offer.accept(&self.keyring, now)?;
        self.recovery.lock().expect(LOCKED).handle_offer(accepted.is_news());
        if accepted.is_news() {
            tracing::info!(installed = accepted.installed, primary = ?self.keyring.primary(), "gossip keys: learnt");
        }
        Ok(())
    }
}
