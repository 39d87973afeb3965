//! Accounts: rows of one account are compared with each other wherever they come from, so that a client that changes its address
//! continues the same chain of edits.

use super::Sender;
use crate::judge::client::rows::OwnRows;
use crate::judge::client::{Client, Key};
use crate::window::clients::{SlotRef, Table};
use crate::window::history::{History, RowId};

/// What is remembered of an account.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Account {
    /// The client, if there is only one: then its rows are the account's, and are not kept twice.
    only: Option<SlotRef>,
    rows: OwnRows,
}

/// The accounts of one model, by the hash of their names; 0 is none.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Accounts(Table<u64, Account>);

// === impl Accounts ===

impl Accounts {
    /// Room for as many accounts as clients.
    pub(super) fn new(max_clients: usize) -> Self {
        Self(Table::new(max_clients))
    }

    /// Prefetches an account.
    pub(super) fn prefetch(&self, at: SlotRef) {
        self.0.prefetch(at);
    }

    /// Calls `each` with the last rows that other clients of the sender's account sent.
    #[inline]
    pub(super) fn rows_of_others(&self, sender: Sender, clients: &Table<Key, Client>, history: &History, each: impl FnMut(RowId)) {
        if sender.account == 0 {
            return;
        }
        let known_at = clients.get(sender.at).map_or(SlotRef::default(), |c| c.structure.account);
        let account = self.0.get(known_at).or_else(|| self.0.find(&sender.account).and_then(|at| self.0.get(at)));
        let Some(account) = account else { return };
        match account.only {
            Some(client) if client == sender.at => {}
            Some(other) => clients.get(other).iter().flat_map(|c| c.structure.own.rows(history)).for_each(each),
            None => account.rows.rows(history).for_each(each),
        }
    }

    /// Remembers a row. While only one client uses an account, that client's own rows are the account's.
    pub(super) fn remember(&mut self, sender: Sender, row: RowId, clients: &mut Table<Key, Client>) {
        if sender.account == 0 {
            return;
        }
        let place = self.place(sender, clients);
        let Some(state) = self.0.get_mut(place) else { return };
        if let Some(other) = state.only {
            if other == sender.at {
                return;
            }
            state.only = None;
            state.rows = clients.get(other).map(|c| c.structure.own.clone()).unwrap_or_default();
        }
        state.rows.push(row);
    }

    /// Where the sender's account is remembered, made if it is new. The client keeps the place, so that it is seldom looked up.
    fn place(&mut self, sender: Sender, clients: &mut Table<Key, Client>) -> SlotRef {
        let known_at = clients.get(sender.at).map_or(SlotRef::default(), |c| c.structure.account);
        if self.0.get(known_at).is_some() {
            self.0.refresh(known_at);
            return known_at;
        }
        let (place, _, _) = self.0.touch(&sender.account, || Account { only: Some(sender.at), rows: OwnRows::default() });
        if let Some(client) = clients.get_mut(sender.at) {
            client.structure.account = place;
        }
        place
    }
}
