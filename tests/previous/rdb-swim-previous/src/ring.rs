//! A list of members in random order: one pass visits each once, and every operation is O(1).
//!
//! SWIM (DSN 2002), section 4.3: probing in a shuffled round robin bounds the time until a given member is probed. The shuffle
//! here is an incremental Fisher–Yates, one swap a pick, so that no pass starts with an O(n) stall.

use rdb_net_types::SeededRandom;

use crate::table::Slot;

const ABSENT: u32 = u32::MAX;

/// Members in random order. The first `cursor` of them have been visited in this pass.
///
/// Whoever is in the ring throughout any `2n − 1` consecutive picks is picked at least once among them, where `n` counts all
/// who were in it meanwhile: at most `n − 1` others follow in its pass, and at most `n − 1` come before it in the next.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    order: Vec<Slot>,
    cursor: usize,
    positions: Vec<u32>,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        self.positions.get(slot as usize).filter(|at| **at != ABSENT).map(|at| *at as usize)
    }

    /// Adds a member at a random place of the pass: its turn may be over, so that newcomers cannot keep a pass from ending.
    pub(crate) fn insert(&mut self, slot: Slot, random: &mut SeededRandom) {
        if self.position(slot).is_some() {
            return;
        }
        while self.positions.len() <= slot as usize {
            push_tight(&mut self.positions, ABSENT);
        }
        push_tight(&mut self.order, slot);
        let last = self.order.len() - 1;
        self.positions[slot as usize] = last as u32;
        if random.index(last + 1) < self.cursor {
            self.swap(last, self.cursor);
            self.cursor += 1;
        }
    }

    /// Makes room for slots below this number.
    pub(crate) fn reserve(&mut self, slots: usize) {
        self.order.reserve_exact(slots.saturating_sub(self.order.len()));
        self.positions.reserve_exact(slots.saturating_sub(self.positions.len()));
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let Some(mut at) = self.position(slot) else { return };
        if at < self.cursor {
            self.cursor -= 1;
            self.swap(at, self.cursor);
            at = self.cursor;
        }
        self.swap(at, self.order.len() - 1);
        self.order.pop();
        self.positions[slot as usize] = ABSENT;
    }

    /// The next of this pass; the first of a fresh one once all have been visited.
    pub(crate) fn pick(&mut self, random: &mut SeededRandom) -> Option<Slot> {
        if self.cursor >= self.order.len() {
            self.cursor = 0;
        }
        let left = self.order.len() - self.cursor;
        if left == 0 {
            return None;
        }
        self.swap(self.cursor, self.cursor + random.index(left));
        self.cursor += 1;
        Some(self.order[self.cursor - 1])
    }

    /// Up to `count` different members other than the excluded ones, in O(count²) (Floyd's sampling).
    pub(crate) fn sample(&self, count: usize, excluded: &[Slot], random: &mut SeededRandom) -> Vec<Slot> {
        let draw = (count + excluded.len()).min(self.order.len());
        let mut chosen: Vec<usize> = Vec::with_capacity(draw);
        for top in self.order.len() - draw..self.order.len() {
            let at = random.index(top + 1);
            chosen.push(if chosen.contains(&at) { top } else { at });
        }
        // Floyd's set is uniform, its order is not: without the shuffle the cut below would favour some.
        random.shuffle(&mut chosen);
        let members = chosen.into_iter().map(|at| self.order[at]);
        members.filter(|slot| !excluded.contains(slot)).take(count).collect()
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.positions[self.order[a] as usize] = a as u32;
        self.positions[self.order[b] as usize] = b as u32;
    }
}

/// Appends, growing by an eighth instead of to the double: still O(1) on the whole, and what is held for nothing stays small.
pub(crate) fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 4);
    }
    list.push(item);
}
