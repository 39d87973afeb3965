//! Structure evidence on a shipped profile: what is found, linked and named, and what is not.

use super::links::LEAD;
use super::thresholds::Neighbour;
use super::*;
use crate::event::{Address, Cell};
use crate::hash::mix2;
use crate::signal::quantise::Quantised;
use crate::signal::similarity::PreparedRow;
use crate::window::clients::SlotRef;

const HISTORY: usize = 8_192;
const HORIZON: u64 = (HISTORY / REMEMBERED) as u64;

/// Structure evidence on a shipped profile, with callers that send rows that nobody else sends.
struct World {
    reference: Reference,
    coder: Coder,
    codes: Codes,
    structure: Structure,
    clients: Table<Key, Client>,
    detections: Vec<Detection>,
    sent: u64,
}

impl World {
    fn new() -> Self {
        Self::of("adult")
    }

    fn of(model: &str) -> Self {
        let path = format!("{}/models/{model}/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let settings = StructureSettings { alarms_per_client_day: 1e-4, salt: 7, max_clients: 1_000, max_history: HISTORY };
        let coder = Coder::new(&reference);
        let structure = Structure::new(&reference, &coder, settings);
        Self { structure, reference, coder, codes: Codes::default(), clients: Table::new(1_000), detections: Vec::new(), sent: 0 }
    }

    /// The same, with three hundred callers that sent two rows each.
    fn among_others() -> Self {
        let mut world = Self::new();
        for i in 0..600 {
            let row = world.mixed(i);
            world.send(i % 300, row);
        }
        world
    }

    /// A row whose columns come from different rows of the sample.
    fn mixed(&self, seed: u64) -> Vec<Cell> {
        let sample = &self.reference.sample;
        (0..self.reference.features.len()).map(|j| sample[mix2(seed, j as u64) as usize % sample.len()][j]).collect()
    }

    /// Sends a row; whether it was linked to one that stood alone.
    fn send(&mut self, caller: u64, row: Vec<Cell>) -> bool {
        self.send_as(caller, row, false)
    }

    /// The same of a caller with a past, if it is `established`; the warm-up is over.
    fn send_as(&mut self, caller: u64, row: Vec<Cell>, established: bool) -> bool {
        let before = self.structure.components.len();
        self.detections.clear();
        self.sent += 1;
        let address = address_of(caller);
        let query = Query { row, address, time: crate::event::EARLIEST.plus_seconds(self.sent as i64), ..Query::default() };
        let (at, ..) = self.clients.touch(&Key { address, account: 0 }, || Client::new(&query, query.time));
        self.coder.encode(&query.row, &mut self.codes);
        let sender = Sender::new(at, address, 0).established(established);
        let prepared = self.structure.prepare(&query, &self.codes, sender, &self.clients);
        self.structure.note_values(&prepared, at, false, &self.reference);
        self.structure.step(prepared, &mut self.clients, &mut self.detections);
        self.structure.components.len() > before
    }

    fn client(&self, caller: u64) -> (SlotRef, &Client) {
        let address = address_of(caller);
        self.clients.iter().find(|(_, key, _)| key.address == address).map(|(at, _, client)| (at, client)).unwrap()
    }

    /// Sends a row, others' rows, and then an edit of the first row by somebody else, or by its sender; whether that was linked.
    fn edited_after(&mut self, others: u64, by: u64) -> bool {
        let row = self.mixed(1_000_000 + self.sent);
        self.send(900, row.clone());
        for i in 0..others {
            let other = self.mixed(self.sent);
            self.send(i % 800, other);
        }
        let edited = Cell::number(if row[0].value() < 60.0 { row[0].value() + 9.0 } else { row[0].value() - 9.0 });
        self.send(by, std::iter::once(edited).chain(row.into_iter().skip(1)).collect())
    }
}

fn address_of(caller: u64) -> Address {
    Address::parse(&format!("10.0.{}.{}", caller / 250, caller % 250)).unwrap()
}

#[test]
fn a_strangers_row_is_found_within_the_horizon_and_an_own_row_beyond_it() {
    let mut world = World::new();
    assert!(world.edited_after(HORIZON / 2, 901), "a stranger's, soon");
    assert!(!world.edited_after(3 * HORIZON, 901), "a stranger's, late");
    assert!(world.edited_after(3 * HORIZON, 900), "an own one, late");
}

/// When the log holds no accounts, a person whose network gives each request another address looks like as many callers, each of which
/// continues the others' rows.
#[test]
fn a_person_behind_a_pool_of_addresses_is_no_campaign() {
    let mut world = World::among_others();
    for person in 0..8_u64 {
        let case = world.mixed(3_000_000 + person);
        for edit in 0..25 {
            let random = |n: u64| mix2(person << 32 | edit, n) as usize;
            let mut row = case.clone();
            let j = random(1) % row.len();
            row[j] = world.reference.sample[random(2) % world.reference.sample.len()][j];
            world.send(500 + 4 * person + random(3) as u64 % 4, row);
            assert_eq!(world.detections, [], "person {person}, edit {edit}");
        }
    }
}

#[test]
fn a_field_that_is_no_longer_filled_in_starts_no_chain_of_edits() {
    let mut world = World::new();
    let hours = world.reference.features.iter().position(|f| f.name == "hours_per_week").unwrap();
    let forgotten = |world: &mut World, caller: u64| {
        let mut row = world.mixed(2_000_000 + world.sent);
        world.send(caller, row.clone());
        row[hours] = Cell::MISSING;
        world.send(caller + 1, row)
    };
    assert!(forgotten(&mut world, 10), "an edit like any other");
    world.structure.drifted(&[hours]);
    assert!(!forgotten(&mut world, 20), "the same row, once the world stops to fill the field");
    assert!(world.edited_after(5, 901), "other edits of the row are edits");
}

#[test]
fn a_value_that_the_reference_does_not_know_is_left_out_of_the_comparison_with_it() {
    let mut world = World::new();
    let at = |name: &str| world.reference.features.iter().position(|f| f.name == name).unwrap();
    let usual = world.reference.sample.iter().find(|row| ["workclass", "race", "sex"].iter().all(|f| row[at(f)].value() > 0.0));
    let mut row = usual.unwrap().clone();
    // Somebody counts in months, and is otherwise, but for a list's choice, as one of the reference's people.
    row[at("age")] = Cell::number(row[at("age")].value() * 12.0);
    row[at("sex")] = Cell::category(0);
    let mut earlier = row.clone();
    ["workclass", "race", "native_country"].iter().for_each(|f| earlier[at(f)] = Cell::category(0));
    world.send(900, earlier);
    let query = Query { row, ..Query::default() };
    let structure = &mut world.structure;
    world.coder.encode(&query.row, &mut world.codes);
    let sender = Sender::new(SlotRef::default(), query.address, 0);
    let PreparedQuery { encoded, .. } = structure.prepare(&query, &world.codes, sender, &world.clients);
    let prepared = structure.prepared(&encoded.quantised.codes, PreparedRow::default());
    let (comparison, log_p) = structure.similarity.assess(&prepared, structure.history.row(0), 0.0);
    let own = Neighbour { row: 0, comparison, log_p, own: true };
    assert!(!own.is_edit(), "{comparison:?}");
    let reference = structure.nearest_reference(&encoded, &prepared);
    assert!(log_p > reference - LEAD, "its own row does not win by the months: {log_p} {reference}");
}

#[test]
fn rows_in_another_unit_are_not_similar_for_that() {
    let world = World::new();
    let gain = world.reference.features.iter().position(|f| f.name == "fnlwgt").unwrap();
    let alike = |factor: f64| {
        let (mut a, mut b) = (world.mixed(1), world.mixed(2));
        (a[gain], b[gain]) = (Cell::number(300_000.0 * factor), Cell::number(300_000.0 * factor));
        let structure = &world.structure;
        let codes = |row: &[Cell]| {
            let mut quantised = Quantised::default();
            structure.quantiser.encode(row, &mut quantised);
            quantised.codes
        };
        let (a, b) = (codes(&a), codes(&b));
        let prepared = structure.prepared(&a, PreparedRow::default());
        structure.similarity.compare(&prepared, &b).g
    };
    assert!(alike(1.0) > alike(100.0) + 3.0, "where no row of the reference is, all are at the end of the grid");
}

#[test]
fn edits_in_a_row_count_as_one_won_test() {
    let mut world = World::among_others();
    let form = world.mixed(4_000_000);
    let age = world.reference.features.iter().position(|f| f.name == "age").unwrap();
    world.send(900, form.clone());
    let mut evidence = Vec::new();
    for step in 1..=8 {
        let mut row = form.clone();
        row[age] = Cell::number(form[age].value() + 4.0 * f64::from(step));
        world.send(900, row);
        let key = Key { address: Address::parse("10.0.3.150").unwrap(), account: 0 };
        let state = &world.clients.get(world.clients.find(&key).unwrap()).unwrap().structure;
        evidence.push((state.nearest_neighbour, state.nearest_neighbour_by_session));
    }
    assert!(evidence[0].0 > 0.0 && (evidence[0].0 - evidence[0].1).abs() < 1e-12, "{evidence:?}");
    assert!(evidence.windows(2).all(|pair| pair[1].0 > pair[0].0 && pair[1].1 <= pair[0].1), "{evidence:?}");
}

#[test]
fn a_row_takes_room_for_codes_sender_and_a_quarter_of_its_entries() {
    let mut world = World::new();
    for i in 0..2 * HISTORY as u64 {
        let row = world.mixed(i);
        world.send(i % 800, row);
    }
    let (rows, bytes) = world.structure.memory();
    let (codes, remainders) = world.structure.quantiser.widths();
    let entries = world.structure.hasher.keys_per_row() * 4 * 4 / 3;
    let expected = 2 * codes + 32 + (2 * remainders + entries) / REMEMBERED;
    assert_eq!(rows, HISTORY);
    assert!(bytes <= rows * (expected + 2), "{} bytes a row, {expected} expected", bytes / rows);
}

/// Edits of one row in its first column.
fn edit(row: &[Cell], nth: u64) -> Vec<Cell> {
    std::iter::once(Cell::number(20.0 + nth as f64)).chain(row[1..].iter().copied()).collect()
}

/// Sixty-four callers with a past, of which `near` sent an edit of the row last.
fn callers_with_a_past(world: &mut World, row: &[Cell], near: u64) {
    for caller in 0..64 {
        let sent = if caller < near { edit(row, caller) } else { world.mixed(7_000_000 + caller) };
        world.send_as(caller, sent, true);
    }
}

#[test]
fn a_row_that_is_near_to_those_of_many_callers_with_a_past_is_linked_to_nothing() {
    let own_links = |near: u64| {
        let mut world = World::among_others();
        let row = world.mixed(5_000_000);
        callers_with_a_past(&mut world, &row, near);
        (40..44).for_each(|nth| _ = world.send(900, edit(&row, nth)));
        world.client(900).1.structure.own_links
    };
    assert!(own_links(0) >= 2 && own_links(3) >= 2, "edits of an own row");
    assert_eq!(own_links(12), 0, "a fifth of the callers sends such rows");
}

#[test]
fn evidence_is_explained_when_the_rows_of_many_others_turn_out_to_be_as_near() {
    let mut world = World::among_others();
    let row = world.mixed(5_000_000);
    callers_with_a_past(&mut world, &row, 0);
    (40..44).for_each(|nth| _ = world.send(900, edit(&row, nth)));
    let explained = |world: &World| {
        let (at, client) = world.client(900);
        world.structure.is_explained_now(client, at, crate::event::EARLIEST)
    };
    assert!(!explained(&world));
    callers_with_a_past(&mut world, &row, 12);
    assert!(explained(&world));
}

#[test]
fn a_link_says_less_the_nearer_rows_of_many_callers_with_a_past_are() {
    // So few callers that no range of values is frequent. Their rows are near, and no two the same.
    let nearness = |near: u64| {
        let mut world = World::of("magic");
        let row = world.mixed(5_000_001);
        let moved = |nth: u64| row.iter().map(|cell| Cell::number(cell.value() * (1.0 + 0.015 * nth as f64))).collect();
        for caller in 0..64 {
            let sent = if caller < near { moved(caller) } else { world.mixed(7_000_000 + caller) };
            world.send_as(caller, sent, true);
        }
        let mut quantised = Quantised::default();
        world.structure.quantiser.encode(&moved(4), &mut quantised);
        let prepared = world.structure.prepared(&quantised.codes, PreparedRow::default());
        world.structure.common_nearness(&prepared, &mut world.structure.log_p_of_callers(&prepared, SlotRef::default()))
    };
    let (none, few, many) = (nearness(0), nearness(3), nearness(8));
    assert!(none < 0.5 && few < 0.5 && many > 1.5, "{none} {few} {many}");
}

/// Rows that share the first columns with a row; the others are mixed anew.
fn sharing(world: &World, row: &[Cell], columns: usize, seed: u64) -> Vec<Cell> {
    row[..columns].iter().copied().chain(world.mixed(seed).into_iter().skip(columns)).collect()
}

#[test]
fn own_links_that_would_not_be_made_any_more_explain_the_evidence_and_others_do_not() {
    let explained = |own: usize, others: usize| {
        let mut world = World::among_others();
        let row = world.mixed(5_000_000);
        for nth in 0..6 {
            let sent = sharing(&world, &row, own, 8_000_000 + nth);
            world.send(900, sent);
        }
        let links = world.client(900).1.structure.own_links;
        for caller in 0..64 {
            let sent = sharing(&world, &row, if caller < 16 { others } else { 0 }, 7_000_000 + caller);
            world.send_as(caller, sent, true);
        }
        let (at, client) = world.client(900);
        (links > 0, world.structure.own_links_are_explained(client, at, crate::event::EARLIEST))
    };
    let columns = World::new().reference.features.len();
    assert_eq!(explained(columns - 4, columns - 4), (true, true), "as near as the callers of a release");
    assert_eq!(explained(columns - 4, 0), (true, false), "nobody else is near");
    assert_eq!(explained(columns - 1, 4), (true, false), "far nearer than what many callers share");
}

#[test]
fn evidence_rests_on_writing_if_most_rows_hold_unknown_values_in_the_same_column() {
    let rests = |unknown: u64, column: fn(usize) -> usize| {
        let mut world = World::among_others();
        let numbers: Vec<usize> =
            (0..world.reference.features.len()).filter(|&j| world.reference.features[j].is_numeric()).collect();
        for nth in 0..5 {
            let mut sent = world.mixed(5_000_000 + nth);
            if nth < unknown {
                sent[numbers[column(nth as usize)]] = Cell::number(1e9);
            }
            world.send(900, sent);
        }
        let (_, client) = world.client(900);
        world.structure.rests_on_writing(client, crate::event::EARLIEST)
    };
    assert!(rests(4, |_| 0) && !rests(2, |_| 0));
    assert!(!rests(5, |nth| nth), "one column after the other");
}
