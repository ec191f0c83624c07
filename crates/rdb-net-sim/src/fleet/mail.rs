//! Packets under way. Their buffers are used again, so that a run allocates for as many as are under way at once.

/// A packet under way.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Packets by place.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    packets: Vec<Packet>,
    free: Vec<u32>,
}

impl Mail {
    /// An empty packet, for [`Mail::post`] or [`Mail::give_back`].
    pub(crate) fn blank(&mut self) -> Vec<u8> {
        self.free.last().and_then(|place| self.packets.get_mut(*place as usize)).map_or_else(Vec::new, |packet| {
            let mut bytes = std::mem::take(&mut packet.bytes);
            bytes.clear();
            bytes
        })
    }

    /// Keeps the packet until it arrives, and gives its place.
    pub(crate) fn post(&mut self, packet: Packet) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.packets[place as usize] = packet;
                place
            }
            None => {
                self.packets.push(packet);
                (self.packets.len() - 1) as u32
            }
        }
    }

    /// Takes the packet out; its place is free once its buffer is given back.
    pub(crate) fn take(&mut self, place: u32) -> Packet {
        self.packets.get_mut(place as usize).map(std::mem::take).unwrap_or_default()
    }

    /// Frees the place.
    pub(crate) fn give_back(&mut self, place: u32, bytes: Vec<u8>) {
        if let Some(packet) = self.packets.get_mut(place as usize) {
            packet.bytes = bytes;
            self.free.push(place);
        }
    }

    /// How many packets there is room for: the most that were under way at once.
    pub(crate) fn places(&self) -> usize {
        self.packets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_came_back_is_used_again() {
        let mut mail = Mail::default();
        let place = mail.post(Packet { from: 1, to: 2, bytes: Vec::with_capacity(500) });
        let arrived = mail.take(place);
        mail.give_back(place, arrived.bytes);
        let blank = mail.blank();
        assert!(blank.is_empty() && blank.capacity() >= 500);
        assert_eq!(mail.post(Packet { from: 3, to: 4, bytes: blank }), place);
        assert_eq!(mail.places(), 1);
    }
}
