//! Lists in pages: sorted by one value, cut at a limit, continued by a cursor.
//!
//! A cursor names the last item of a page by its value and its id, not by its number, so that what is added or removed meanwhile neither
//! repeats nor skips items that stay. It is opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::access::problem::Problem;

/// Items of a page, unless asked for otherwise.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
pub const MAX_LIMIT: u32 = 200;

/// A page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub next: Option<String>,
}

/// Where an item stands: the value that is sorted by, and its id among equals.
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    /// What is sorted by; text is sorted by its id alone.
    pub value: f64,
    /// Id of the item.
    pub id: String,
}

/// Which page is wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    limit: usize,
    after: Option<Place>,
    descending: bool,
}

// === impl Wanted ===

impl Wanted {
    /// Reads what a client asked for.
    ///
    /// # Errors
    /// A problem if the limit is out of range, or the cursor is none of ours.
    pub fn read(limit: Option<u32>, cursor: Option<&str>, descending: bool) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        let after =
            cursor.map(|cursor| Place::decode(cursor).ok_or_else(|| Problem::bad_request("the cursor is none of this service")));
        Ok(Self { limit: limit as usize, after: after.transpose()?, descending })
    }

    /// The page of these items, in the order of their places.
    pub fn cut<T>(&self, items: Vec<T>, place: impl Fn(&T) -> Place) -> Page<T> {
        let mut items: Vec<(Place, T)> = items.into_iter().map(|item| (place(&item), item)).collect();
        let order = |a: &Place, b: &Place| {
            let by_value = if self.descending { b.value.total_cmp(&a.value) } else { a.value.total_cmp(&b.value) };
            by_value.then_with(|| a.id.cmp(&b.id))
        };
        items.sort_by(|(a, _), (b, _)| order(a, b));
        if let Some(after) = &self.after {
            items.retain(|(place, _)| order(place, after).is_gt());
        }
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|(place, _)| place.encode());
        Page { items: items.into_iter().map(|(_, item)| item).collect(), next }
    }
}

// === impl Place ===

impl Place {
    /// The place of an item that is sorted by its name.
    pub fn by_name(id: impl Into<String>) -> Self {
        Self { value: 0.0, id: id.into() }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(self.value, &self.id)).unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (value, id): (f64, String) = serde_json::from_slice(&bytes).ok()?;
        Some(Self { value, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(item: &(f64, &str)) -> Place {
        Place { value: item.0, id: item.1.into() }
    }

    #[test]
    fn pages_hold_every_item_once_in_order() {
        let items = vec![(1.0, "a"), (3.0, "c"), (3.0, "b"), (2.0, "d"), (f64::MAX, "e")];
        for descending in [false, true] {
            let (mut cursor, mut seen) = (None, Vec::new());
            loop {
                let page = Wanted::read(Some(2), cursor.as_deref(), descending).unwrap().cut(items.clone(), place);
                seen.extend(page.items.iter().map(|item| item.1));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, if descending { ["e", "b", "c", "d", "a"] } else { ["a", "d", "b", "c", "e"] });
        }
    }

    #[test]
    fn what_comes_or_goes_between_two_pages_moves_nothing_else() {
        let first = Wanted::read(Some(2), None, false).unwrap().cut(vec![(1.0, "a"), (2.0, "b"), (3.0, "c")], place);
        let later = Wanted::read(Some(2), first.next.as_deref(), false).unwrap();
        let second = later.cut(vec![(0.5, "new"), (1.0, "a"), (3.0, "c"), (4.0, "d")], place);
        assert_eq!(second.items, [(3.0, "c"), (4.0, "d")]);
        assert_eq!(second.next, None);
    }

    #[test]
    fn limits_and_cursors_of_others_are_refused() {
        for (limit, cursor) in
            [(Some(0), None), (Some(MAX_LIMIT + 1), None), (None, Some("x")), (None, Some("bnVsbA")), (None, Some(""))]
        {
            assert!(Wanted::read(limit, cursor, false).is_err(), "{limit:?} {cursor:?}");
        }
    }
}
