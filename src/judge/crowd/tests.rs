//! Strangers of a made-up model hour: what a crowd is, whom it names, and when it is over. Codes are those of a shipped profile.

use super::inflation::USUAL_ROWS;
use super::row_tests::TESTS;
use super::*;
use crate::hash::mix2;
use crate::signal::codes::Coder;

/// ln of p-values. Ordinary rows are as surprising as most of the reference's; impossible ones are far beyond all of them; rare ones teach.
const ORDINARY: f32 = -0.3;
const RARE: f32 = -5.0;
const IMPOSSIBLE: f32 = -40.0;

/// Fisher's statistic of three p-values.
fn fisher(nth: u64) -> f32 {
    (1..4).map(|score| -((mix2(nth, score) >> 40) as f32 / 16_777_216.0).max(1e-7).ln()).sum()
}

/// A caller with a past.
fn caller(nth: u32) -> SlotRef {
    SlotRef { slot: nth, generation: 7 }
}

/// Strangers, each with an address of its own.
#[derive(Clone)]
struct Strangers {
    crowd: Crowd,
    arrivals: Arrivals,
    /// Codes of the reference's rows, none of which is near to the boundary.
    sample: Vec<Vec<u8>>,
    now: EventTime,
    sent: u32,
}

impl Strangers {
    fn new() -> Self {
        let path = format!("{}/models/adult/reference.json", env!("CARGO_MANIFEST_DIR"));
        let reference = Reference::from_json(&std::fs::read(path).unwrap()).unwrap();
        let coded = Coder::new(&reference).sample(&reference).into_iter();
        let sample = coded.map(|codes| [codes.coarse, vec![nearness_code(0.7)]].concat()).collect();
        let now = EventTime::from_micros(1_772_409_600_000_000);
        Self { crowd: Crowd::new(&reference), arrivals: Arrivals::default(), sample, now, sent: 0 }
    }

    /// Four hours in which so many newcomers come in each quarter of an hour.
    fn with_usual_arrivals(mut self, in_a_quarter: u32) -> Self {
        for _ in 0..16 {
            (0..in_a_quarter).for_each(|_| {
                self.arrivals.note(self.now, true);
            });
            self.now = self.now.plus_seconds(900);
        }
        self.arrivals.note(self.now, false);
        self
    }

    /// A row of a stranger that nobody saw before.
    fn row(&mut self, codes: Vec<u8>, log_p: f32) -> StrangersRow {
        self.sent += 1;
        StrangersRow {
            at: SlotRef { slot: self.sent, generation: 0 },
            sent: self.now,
            codes: codes.into(),
            surprise: Surprise { nats: if log_p > RARE { fisher(u64::from(self.sent)) } else { 3.0 - log_p }, log_p: [log_p; 2] },
            is_odd: log_p <= RARE,
            is_new: true,
            is_first: true,
            in_campaign: false,
            reviewed: [0; 2],
        }
    }

    /// A row like the reference's.
    fn any_row(&mut self, log_p: f32) -> StrangersRow {
        let codes = self.sample[(mix2(u64::from(self.sent), 3) % self.sample.len() as u64) as usize].clone();
        self.row(codes, log_p)
    }

    /// A row around one row: all of it but one column.
    fn row_around_one(&mut self, log_p: f32) -> StrangersRow {
        let mut codes = self.sample[40].clone();
        let nth = u64::from(self.sent);
        let at = (mix2(nth, 1) % (codes.len() as u64 - 1)) as usize;
        codes[at] = self.sample[(mix2(nth, 2) % self.sample.len() as u64) as usize][at];
        self.row(codes, log_p)
    }

    /// Notes a row for each, a second apart.
    fn come(&mut self, number: u32, log_p: f32) {
        for _ in 0..number {
            let row = self.any_row(log_p);
            self.crowd.note(row);
            self.now = self.now.plus_seconds(1);
        }
    }

    /// Rows of callers with a past, and how many of them are odd.
    fn established(&mut self, rows: u32, odd: u32) {
        (0..rows).for_each(|nth| self.crowd.note_established(caller(nth), nth < odd, false));
    }

    /// As many callers with a past as the classifier waits for, with ordinary rows.
    fn keep_established(&mut self) {
        for nth in 0..WAIT_CALLERS {
            let row = self.any_row(ORDINARY);
            self.crowd.keep_established(caller(nth), row.codes, row.surprise);
        }
    }

    fn decide(&mut self) -> bool {
        self.crowd.decide(&self.arrivals, self.now)
    }

    /// A crowd that stands, of which it is known what its rows have in common, among ordinary strangers.
    fn around_one_row(crowd: u32, ordinary: u32) -> Self {
        let mut strangers = Self::new();
        for nth in 0..crowd + ordinary {
            let row = if nth < crowd { strangers.row_around_one(RARE) } else { strangers.any_row(ORDINARY) };
            strangers.crowd.note(row);
        }
        strangers.established(400, 0);
        strangers.keep_established();
        assert!(strangers.decide() && strangers.crowd.is_due());
        strangers.rank();
        strangers
    }

    /// Ranks the reference's rows. Their surprise is distributed as Fisher's statistic of three p-values.
    fn log_p(&self, row: &StrangersRow) -> f64 {
        self.crowd.raised(row, &self.crowd.test_row(row))
    }

    fn rank(&mut self) {
        let rows = self.sample.iter().map(Vec::as_slice);
        self.crowd.rank(self.now, rows.zip((0..).map(fisher)));
    }

    /// Reviews, with a second opinion if one is wanted. `votes` are the rows of a stranger.
    fn review(&mut self, after: i64, ends: bool, votes: impl Fn(SlotRef) -> Option<u32>) -> Vec<Named> {
        let now = self.now.plus_seconds(after);
        let mut named = self.crowd.review(now, ends, &votes);
        if self.crowd.needs_second_opinion(now, ends) {
            self.rank();
            named.extend(self.crowd.review(now, ends, &votes));
        }
        named
    }
}

#[test]
fn a_crowd_stands_when_callers_with_a_past_do_not_share_the_oddity() {
    let mut strangers = Strangers::new();
    strangers.come(FEWEST_ODD - 1, RARE);
    strangers.established(60, 0);
    assert!(!strangers.decide(), "too few odd rows");
    strangers.come(20, RARE);
    assert!(strangers.decide() && strangers.crowd.stands());
    assert!(!strangers.decide(), "it begins once");
    let (theirs, others) = strangers.crowd.odd_shares();
    assert!((theirs - 1.0).abs() < 1e-12 && others.abs() < 1e-12);
    assert_eq!((strangers.crowd.strangers(), strangers.crowd.odd().count()), (FEWEST_ODD + 19, FEWEST_ODD as usize + 19));
}

#[test]
fn a_change_that_reaches_callers_with_a_past_is_no_crowd() {
    let mut strangers = Strangers::new().with_usual_arrivals(2);
    strangers.come(200, RARE);
    strangers.established(60, 30);
    assert!(!strangers.decide(), "however many strangers come");
}

#[test]
fn without_callers_with_a_past_and_without_usual_arrivals_nothing_is_said() {
    let mut strangers = Strangers::new();
    strangers.come(200, RARE);
    assert!(!strangers.decide());
}

#[test]
fn ordinary_newcomers_are_no_crowd_however_many_come_at_once() {
    let mut strangers = Strangers::new().with_usual_arrivals(2);
    strangers.come(800, ORDINARY);
    strangers.come(8, RARE);
    assert!(!strangers.decide(), "one row in a hundred is odd");
    strangers.established(400, 4);
    assert!(!strangers.decide(), "as of callers with a past");
}

#[test]
fn strangers_far_beyond_the_busiest_quarter_are_a_crowd_if_they_are_odd() {
    // The largest usual number is 2 × 10 a quarter of an hour.
    let of = |come: u32| {
        let mut strangers = Strangers::new().with_usual_arrivals(10);
        strangers.come(come, RARE);
        strangers
    };
    assert!(!of(20).decide(), "as many as come at other times");
    assert!(of(80).decide());
    let mut known = of(80);
    known.established(8, 8);
    assert!(!known.decide(), "callers with a past are odd as well");
    let mut long = of(80);
    long.now = long.now.plus_seconds(3_600);
    assert!(!long.decide(), "the busiest quarter says nothing of half a day");
}

#[test]
fn a_row_that_somebody_sent_before_is_nobodys_evidence() {
    let mut strangers = Strangers::new();
    for _ in 0..200 {
        let row = strangers.any_row(RARE);
        strangers.crowd.note(StrangersRow { is_new: false, ..row });
    }
    strangers.established(60, 0);
    assert!(!strangers.decide());
    assert_eq!(strangers.crowd.strangers(), 0);
}

#[test]
fn an_impossible_row_names_its_sender_at_once_and_an_ordinary_one_never() {
    let mut strangers = Strangers::new();
    strangers.come(8, RARE);
    strangers.come(100, ORDINARY);
    strangers.established(400, 0);
    assert!(strangers.decide());
    assert_eq!(strangers.crowd.name_newest(strangers.now), None, "an ordinary row");
    strangers.come(1, RARE);
    assert_eq!(strangers.crowd.name_newest(strangers.now), None, "one honest stranger in a hundred sends such a row");
    strangers.come(1, IMPOSSIBLE);
    let named = strangers.crowd.name_newest(strangers.now).unwrap();
    assert_eq!((named.at.slot, strangers.crowd.named()), (strangers.sent, 1));
    assert!((named.log_p - (f64::from(IMPOSSIBLE) + TESTS.ln())).abs() < 1e-4, "{}", named.log_p);
}

#[test]
fn a_review_names_strangers_around_one_row_and_spares_the_others() {
    let mut strangers = Strangers::around_one_row(120, 80);
    // The 121st stranger sent one such row, and two others of which the crowd knows nothing.
    let row = strangers.row_around_one(RARE);
    let spared = row.at;
    strangers.crowd.note(row);
    let votes = |at| Some(if at == spared { 3 } else { 1 });
    let named = strangers.clone().review(900, false, votes);
    let theirs = named.iter().filter(|named| named.at.slot <= 120).count();
    assert!(theirs >= 100, "{theirs} of 120");
    assert_eq!(theirs, named.len(), "an ordinary stranger is named");
    let without_past = strangers.clone().review(900, false, |_| Some(1));
    assert_eq!(without_past.len(), named.len() + 1, "it was spared for its other rows");
    assert!(strangers.clone().review(900, false, |_| None).is_empty(), "all are named, or forgotten");
    let shifts = strangers.crowd.shifts();
    assert!(shifts.len() > 5 && shifts.iter().all(|shift| shift.psi > shift.critical));
}

#[test]
fn nobody_is_reviewed_before_it_has_settled_unless_the_input_has_ended() {
    let mut strangers = Strangers::around_one_row(120, 0);
    let at = |seconds| strangers.now.plus_seconds(seconds);
    assert!(!strangers.crowd.is_review_due(at(299)) && strangers.crowd.is_review_due(at(300)));
    assert!(strangers.clone().review(599, false, |_| Some(1)).is_empty());
    assert!(strangers.clone().review(1, true, |_| Some(1)).len() >= 100, "nobody sends anything more");
    let later = at(300);
    strangers.crowd.review(later, false, |_| Some(1));
    assert!(!strangers.crowd.is_review_due(later.plus_seconds(299)) && strangers.crowd.is_review_due(later.plus_seconds(300)));
}

#[test]
fn a_review_expects_few_honest_strangers_among_those_that_it_names() {
    // The same rows at the same p-values: among many honest strangers the level is stricter.
    let level = |ordinary| {
        let strangers = Strangers::around_one_row(120, ordinary);
        let log_p: Vec<f64> = strangers.crowd.rows.iter().map(|row| strangers.log_p(row)).collect();
        level_of_review(&log_p, 2.0 * f64::from(ordinary), (NAMED_BY_CHANCE, HONEST_SHARE))
    };
    let (alone, among_many) = (level(0), level(2_000));
    assert!(alone > among_many + 3.0, "{alone} {among_many}");
    let honest = 1.0 + 2.0 * 2_000.0;
    assert!(honest * among_many.exp() <= HONEST_SHARE * 120.0, "{among_many}");
}

#[test]
fn a_crowd_that_is_over_is_forgotten_and_the_last_rows_stay() {
    let mut strangers = Strangers::around_one_row(120, 20);
    assert!(strangers.crowd.since().is_some());
    strangers.crowd.forget();
    let crowd = &strangers.crowd;
    assert!(!crowd.stands() && crowd.since().is_none() && crowd.shifts().is_empty() && !crowd.is_due());
    assert_eq!((crowd.rows.len(), crowd.strangers(), crowd.named()), (LEAD, 0, 0));
    assert!(!strangers.decide(), "nothing is left to decide on");
    strangers.established(60, 0);
    assert_eq!(strangers.crowd.established, Tally::default(), "callers with a past are compared with a crowd alone");
}

#[test]
fn rows_before_the_evidence_are_judged_with_the_crowd() {
    let mut strangers = Strangers::new();
    for _ in 0..100 {
        let row = strangers.any_row(RARE);
        strangers.crowd.note_lead(row);
    }
    assert_eq!((strangers.crowd.rows.len(), strangers.crowd.strangers()), (LEAD, 0));
    strangers.come(1, RARE);
    assert_eq!((strangers.crowd.rows.len(), strangers.crowd.content.rows as usize), (LEAD + 1, LEAD + 1));
}

#[test]
fn rows_are_bounded() {
    let mut strangers = Strangers::new();
    strangers.come(ROWS as u32 + 9, ORDINARY);
    assert_eq!((strangers.crowd.rows.len(), strangers.crowd.strangers()), (ROWS, ROWS as u32 + 9));
    assert!(strangers.crowd.bytes() < 9 << 18, "{}", strangers.crowd.bytes());
}

#[test]
fn where_usual_strangers_have_small_p_values_p_is_raised_by_the_same_factor() {
    let mut strangers = Strangers::new();
    let row = strangers.any_row(IMPOSSIBLE);
    let before = strangers.log_p(&row);
    // One in ten is below one in a hundred (with the factor for two tests), and none is below one in a thousand.
    let rare = Surprise { nats: 9.0, log_p: [-5.6; 2] };
    let ordinary = Surprise { nats: 1.0, log_p: [ORDINARY; 2] };
    (0..1_000).for_each(|nth| strangers.crowd.note_usual(if nth % 10 == 0 { &rare } else { &ordinary }));
    let raised = strangers.log_p(&row) - before;
    assert!((raised - 10_f64.ln()).abs() < 1e-9, "{raised}");
}

#[test]
fn strangers_that_were_no_crowd_are_usual_and_those_of_a_crowd_are_not() {
    let of = |odd: u32| {
        let mut strangers = Strangers::new();
        strangers.come(200, -6.0);
        strangers.established(60, odd);
        strangers.decide();
        strangers.crowd.forget();
        strangers.crowd.usual.rows
    };
    assert!((of(60) - 200.0).abs() < 1e-12);
    assert!(of(0) < 201.0, "rows before the decision may be counted");
    let mut counted = Usual::default();
    (0..10).for_each(|_| counted.add(&Usual { rows: 4_000.0, below: [40.0, 4.0, 0.4] }));
    assert!(counted.rows <= USUAL_ROWS && (counted.inflation() - 1.0).abs() < 1e-9);
}

#[test]
fn a_row_of_a_campaign_counts_as_much_as_callers_with_a_past_are_rarely_linked() {
    let mut strangers = Strangers::new();
    strangers.come(1, RARE);
    (0..99).for_each(|nth| strangers.crowd.note_established(caller(nth), false, nth < 9));
    let row = strangers.any_row(RARE);
    let linked = StrangersRow { in_campaign: true, ..row.clone() };
    let gained = strangers.log_p(&linked) - strangers.log_p(&row);
    assert!((gained - 0.1_f64.ln()).abs() < 1e-9, "{gained}");
}

#[test]
fn a_crowd_goes_on_for_half_an_hour_after_the_last_row_that_it_alone_explains() {
    let mut strangers = Strangers::new();
    strangers.come(8, RARE);
    strangers.established(60, 0);
    assert!(strangers.decide());
    strangers.come(1, ORDINARY);
    strangers.crowd.name_newest(strangers.now);
    assert!(!strangers.crowd.goes_on(strangers.now), "no such row yet");
    strangers.come(1, IMPOSSIBLE);
    let now = strangers.now;
    strangers.crowd.name_newest(now);
    assert!(strangers.crowd.goes_on(now.plus_seconds(1_799)) && !strangers.crowd.goes_on(now.plus_seconds(1_800)));
    strangers.crowd.forget();
    assert!(!strangers.crowd.goes_on(now));
}

#[test]
fn a_caller_with_a_past_outvotes_no_others_however_much_it_sends() {
    let mut strangers = Strangers::new();
    strangers.come(40, RARE);
    strangers.established(60, 30);
    (0..10_000).for_each(|_| strangers.crowd.note_established(caller(59), false, true));
    // What is linked to a campaign counts as odd.
    let more = ROWS_OF_CALLER - 1;
    let counted = Tally { rows: 60 + more, odd: 30 + more };
    assert_eq!((strangers.crowd.established, strangers.crowd.established_linked), (counted, more));
    assert!(!strangers.decide(), "callers with a past are odd as well");
}

#[test]
fn strangers_that_are_odd_no_more_often_than_chance_explains_are_no_crowd() {
    let mut strangers = Strangers::new();
    strangers.come(4, RARE);
    strangers.come(12, ORDINARY);
    strangers.established(110, 3);
    assert!(!strangers.decide(), "a third of the callers was released anew: 4 of 16 and 3 of 110");
    strangers.come(40, RARE);
    assert!(strangers.decide(), "44 of 56");
}

#[test]
fn what_many_callers_with_a_past_show_far_in_the_tail_names_nobody() {
    let named = |alike: u32| {
        let mut strangers = Strangers::around_one_row(120, 20);
        for nth in 0..100 {
            let log_p = if nth < alike { IMPOSSIBLE } else { ORDINARY };
            let row = strangers.row_around_one(log_p);
            let row = if nth < alike { row } else { strangers.any_row(ORDINARY) };
            strangers.crowd.keep_established(caller(nth), row.codes, row.surprise);
        }
        strangers.rank();
        let row = strangers.row_around_one(IMPOSSIBLE);
        strangers.crowd.note(row);
        strangers.crowd.name_newest(strangers.now).is_some()
    };
    assert!(named(0) && named(2), "two of a hundred may be chance");
    assert!(!named(7), "seven of a hundred");
}

#[test]
fn by_the_classifier_a_review_names_nobody_before_a_second_fit_agrees() {
    let mut strangers = Strangers::around_one_row(120, 80);
    // Without what single values say.
    strangers.crowd.content.clear();
    let now = strangers.now;
    assert!(strangers.crowd.review(now.plus_seconds(600), false, |_| Some(1)).is_empty());
    assert!(!strangers.crowd.needs_second_opinion(now.plus_seconds(899), false), "the first fit is young");
    assert!(strangers.crowd.needs_second_opinion(now.plus_seconds(900), false));
    assert!(strangers.crowd.needs_second_opinion(now.plus_seconds(600), true), "the crowd is over");
    assert!(strangers.crowd.review(now.plus_seconds(605), false, |_| Some(1)).is_empty(), "the same fit agrees with itself");
    strangers.rank();
    let named = strangers.crowd.review(now.plus_seconds(610), false, |_| Some(1));
    assert!(named.len() >= 100 && named.iter().all(|named| named.at.slot <= 120), "{}", named.len());
}

#[test]
fn a_row_that_fails_a_review_is_asked_twice_again() {
    let mut strangers = Strangers::new();
    let mut row = strangers.any_row(RARE);
    assert!(!row.pass(true, 3) && !row.pass(true, 3) && row.pass(true, 4) && row.pass(true, 4));
    assert!(!row.pass(false, 5) && !row.pass(true, 6) && row.pass(true, 7));
    assert!(!row.pass(false, 20) && !row.pass(true, 21) && !row.pass(true, 22), "it was asked by sixteen fits after the first");
    let mut early = strangers.any_row(RARE);
    assert!(early.pass(true, 0), "nothing was learned: there is one opinion");
}

#[test]
fn a_campaign_of_strangers_is_a_crowd_though_their_rows_are_usual() {
    let mut strangers = Strangers::new();
    for nth in 0..FEWEST_ODD {
        assert!(!strangers.crowd.has_campaign(), "{nth}");
        let row = strangers.any_row(ORDINARY);
        strangers.crowd.note(StrangersRow { in_campaign: true, ..row });
    }
    assert!(strangers.crowd.has_campaign());
    let now = strangers.now;
    assert!(strangers.crowd.goes_on(now.plus_seconds(1_799)) && !strangers.crowd.goes_on(now.plus_seconds(1_800)));
    strangers.established(60, 0);
    assert!(strangers.decide());
}

#[test]
fn a_segment_that_had_come_before_raises_p_values() {
    let raised = |had_come: u64| {
        let mut strangers = Strangers::new();
        let of_segment = |strangers: &mut Strangers| {
            let mut row = strangers.any_row(ORDINARY);
            // A country that the reference hardly has.
            row.codes[13] = 0;
            row
        };
        for nth in 0..1_000 {
            let row = if nth < had_come { of_segment(&mut strangers) } else { strangers.any_row(ORDINARY) };
            strangers.crowd.note_lead(row);
        }
        strangers.now = strangers.now.plus_seconds(7_200);
        for nth in 0..300 {
            let row = match nth % 3 {
                0 => of_segment(&mut strangers),
                1 => strangers.any_row(ORDINARY),
                _ => strangers.row_around_one(RARE),
            };
            strangers.crowd.note(row);
        }
        strangers.established(400, 0);
        strangers.keep_established();
        assert!(strangers.decide() && strangers.crowd.is_due());
        strangers.rank();
        strangers.crowd.inflation_before
    };
    let (none, few, many) = (raised(0), raised(10), raised(400));
    assert!(none < 3.0 && few < 4.0 && many > 5.0, "{none} {few} {many}");
}

#[test]
fn the_classifier_waits_for_callers_with_a_past_or_half_an_hour() {
    let with = |callers: u32, minutes: i64| {
        let mut strangers = Strangers::new();
        strangers.come(100, RARE);
        for nth in 0..callers {
            let row = strangers.any_row(ORDINARY);
            strangers.crowd.keep_established(caller(nth), row.codes, row.surprise);
        }
        strangers.now = strangers.now.plus_seconds(60 * minutes);
        strangers.come(1, RARE);
        strangers.crowd.is_classifier_due()
    };
    assert!(!with(15, 0) && with(16, 0));
    assert!(!with(0, 28) && with(0, 29));
}

#[test]
fn rows_that_a_former_crowd_left_are_reviewed_as_if_for_the_first_time() {
    let mut strangers = Strangers::around_one_row(120, 20);
    strangers.review(900, false, |_| None);
    strangers.rank();
    strangers.crowd.forget();
    assert!(strangers.crowd.rows.iter().all(|row| row.reviewed == [0; 2]));
    for _ in 0..120 {
        let row = strangers.row_around_one(RARE);
        strangers.crowd.note(row);
    }
    strangers.established(400, 0);
    strangers.keep_established();
    assert!(strangers.decide());
    strangers.rank();
    assert!(strangers.review(900, true, |_| Some(1)).len() >= 100);
}
