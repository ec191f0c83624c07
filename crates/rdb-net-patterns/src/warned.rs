//! What a test's own thread has logged.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the fields of each event, in words.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").expect("memory takes it");
    }
}

impl Subscriber for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.lock().expect("nobody panics while he holds it").push(words.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The events of this thread while it does something that have this in their words.
pub(crate) fn warned_of(part: &str, act: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), act);
    let mut events = std::mem::take(&mut *kept.0.lock().expect("nobody panics while he holds it"));
    events.retain(|event| event.contains(part));
    events
}
