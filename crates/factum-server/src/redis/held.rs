//! What connections hold in memory (requests that have not arrived whole or are not carried out yet, and answers that nobody has read),
//! all of them together, and who has to go when that is too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::clients::{Client, Clients, Ending};

/// Less than this, one way or the other, is not told to the others, so that small requests cost nothing here.
const NOTED_BYTES_MIN: usize = 16 << 10;

/// What all connections hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: AtomicUsize,
    /// How much it may be; 0 is as much as comes.
    bytes_max: AtomicUsize,
    /// One at a time looks for who has to go.
    choosing: Mutex<()>,
}

impl Held {
    /// How much it is, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Allows so much from now on.
    pub(crate) fn allow(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    fn is_too_much(&self) -> bool {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        bytes_max > 0 && self.bytes() > bytes_max
    }

    /// Ends those who hold most, until the rest is no longer too much.
    fn relieve(&self, clients: &Clients) {
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut staying: Vec<(usize, Arc<Client>)> =
            clients.all().into_iter().filter(|client| !client.is_ending()).map(|client| (client.held_bytes(), client)).collect();
        let mut bytes: usize = staying.iter().map(|(bytes, _)| bytes).sum();
        staying.sort_by_key(|(bytes, _)| *bytes);
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        while bytes_max > 0
            && bytes > bytes_max
            && let Some((most, client)) = staying.pop()
        {
            bytes -= most;
            client.end(Ending::HoldsMost(most));
        }
    }
}

/// What one connection holds of one sort. Dropping it takes it off.
#[derive(Debug)]
pub(crate) struct Share {
    clients: Arc<Clients>,
    client: Arc<Client>,
    noted: usize,
}

impl Share {
    /// Nothing yet.
    pub(crate) fn new(clients: Arc<Clients>, client: Arc<Client>) -> Self {
        Self { clients, client, noted: 0 }
    }

    /// Notes how much it is now. Where all hold too much together then, those who hold most are ended.
    pub(crate) fn note(&mut self, bytes: usize) {
        if bytes.abs_diff(self.noted) < NOTED_BYTES_MIN && (bytes > 0 || self.noted == 0) {
            return;
        }
        let before = std::mem::replace(&mut self.noted, bytes);
        for count in [&self.clients.held.bytes, self.client.held()] {
            if bytes > before {
                count.fetch_add(bytes - before, Ordering::Relaxed);
            } else {
                count.fetch_sub(before - bytes, Ordering::Relaxed);
            }
        }
        if bytes > before && self.clients.held.is_too_much() {
            self.clients.held.relieve(&self.clients);
        }
    }

    /// Whether the connection is to end, for holding most or otherwise.
    pub(crate) fn is_ending(&self) -> bool {
        self.client.is_ending()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.note(0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn who_holds_most_goes_when_all_hold_too_much() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let clients = Arc::new(Clients::default());
        clients.held.allow(1 << 20);
        let enter = || clients.enter(address, address);
        let (modest, greedy, idle) = (enter(), enter(), enter());
        let share = |client: &Arc<Client>| Share::new(Arc::clone(&clients), Arc::clone(client));
        let (mut of_modest, mut of_greedy) = (share(&modest), share(&greedy));
        of_modest.note(400 << 10);
        of_greedy.note(600 << 10);
        assert_eq!(clients.held.bytes(), 1000 << 10);
        assert!(!modest.is_ending() && !greedy.is_ending());
        of_greedy.note(700 << 10);
        assert!(greedy.is_ending() && !modest.is_ending() && !idle.is_ending());
        // While it is on its way out, others are not ended for what it holds.
        of_modest.note(500 << 10);
        assert!(!modest.is_ending());
        drop((of_greedy, of_modest));
        assert_eq!(clients.held.bytes(), 0);
    }
}
