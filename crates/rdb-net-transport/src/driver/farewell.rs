//! The end of a connection: its farewell leaves, and is seen taken.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rdb_net_session::{CloseReason, Event, Loss};

use super::{Driver, Progress, READS_PER_PASS};
use crate::backend::Connection;

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is not near.
    Open,
    /// The session has ended. Its farewell leaves, where the socket lives.
    Farewell { socket_lives: bool },
    /// Everything was written, and the other side told so. What it still sends is thrown away: a socket that closes over
    /// unread bytes resets the connection, and the farewell with it.
    Lingering,
}

impl Driver {
    /// A pass that writes the farewell and sees it taken, for a limited time. Ready when nothing more is to be done.
    pub(super) fn end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.begin_apart(context);
        let ended = self.say_farewell(context);
        self.end_apart(context);
        ended
    }

    fn say_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if let Ending::Farewell { socket_lives } = self.ending {
            let written = std::task::ready!(self.write(context));
            if written == Progress::More || self.writing.is_some() || self.writes_apart() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let io: Pin<&mut dyn Connection> = Pin::new(&mut *self.io);
            // An error here changes nothing any more.
            let _ended = std::task::ready!(io.poll_shutdown(context));
            if !socket_lives {
                return Poll::Ready(());
            }
            self.ending = Ending::Lingering;
        }
        for _ in 0..READS_PER_PASS {
            match std::task::ready!(self.input.poll_discard(Pin::new(&mut *self.io), context)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// A task that is cut off, or panicked, still gives everybody an outcome.
    fn drop(&mut self) {
        let mut core = self.link.lock();
        self.link.forget_task(&mut core);
        if self.ending != Ending::Open {
            return;
        }
        if std::thread::panicking() {
            tracing::error!(link = self.link.number, "a connection's task panicked");
            core.session.handle_lost(Loss::Io);
        } else {
            core.session.close(CloseReason::Local);
        }
        let closed = std::iter::from_fn(|| core.session.poll_event()).find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        });
        self.link.collect(&mut core, self.now);
        core.take_ended(&mut self.ended);
        core.take_blocked(&mut self.wakers);
        core.end_all_handlers();
        drop(core);
        self.link.deliver(&mut self.ended);
        self.wakers.drain(..).for_each(Waker::wake);
        self.owner.closed(&self.link, closed.unwrap_or(CloseReason::Local));
    }
}
