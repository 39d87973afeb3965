//! The table of changes: one line each, with its family, what it says, and on which columns.
//!
//! A line is data and a small function of one value, one name or one row ([`Edit`]). Everything about extents, callers and time is
//! in [`rewriter`](super::rewriter).

use super::columns::{Column, Columns};
use super::edits;
use super::row::Row;
use super::scene::Scene;

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ChangeFamily {
    /// Other spellings of the same text.
    Text,
    /// Other spellings of the names of fields.
    Names,
    /// Categories that are new, gone or exchanged.
    Categories,
    /// Other units, scales and precisions of numbers.
    Numbers,
    /// Values that are missing, and what stands in for them.
    Missing,
    /// Columns that are exchanged, added or copied.
    Shape,
    /// Values that no longer move with the request.
    Stuck,
    /// Small errors of measurement.
    Noise,
}

/// The columns that a change takes where none is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// Every column.
    Every,
    /// Every column of text.
    EveryText,
    /// The first column of text with three categories or more, else the first of text.
    FirstText,
    /// The last column of text.
    LastText,
    /// Every column of numbers.
    EveryNumber,
    /// Every column of numbers with a spread.
    EverySpread,
    /// Every column whose numbers have decimals.
    EveryFraction,
    /// The column with most distinct numbers.
    Widest,
    /// The column with a spread and fewest distinct numbers.
    Narrowest,
    /// The two columns with most distinct numbers.
    TwoWidest,
}

/// How a change edits a row. Where it takes a value, it is called for each of its columns.
#[derive(Clone, Copy)]
pub enum Edit {
    /// Other text for a text; none leaves it.
    Text(fn(&str, &Column) -> Option<String>),
    /// Other JSON for a number; none leaves it.
    Number(fn(f64, &Column) -> Option<String>),
    /// Another name for a field.
    Name(fn(&str) -> String),
    /// This JSON in place of any value.
    Value(&'static str),
    /// Anything else.
    Row(fn(&mut Row, &mut Scene<'_>)),
}

/// One kind of change.
pub struct ChangeKind {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it is about.
    pub family: ChangeFamily,
    /// What happens, as a person says it.
    pub words: &'static str,
    /// Whether it is so small that nobody has to notice it.
    pub small: bool,
    /// Whether it is kept aside: constants of the judge are chosen without looking at what it says of these.
    pub held_out: bool,
    /// Its columns.
    pub aim: Aim,
    /// What it does.
    pub edit: Edit,
}

/// Every change. A third is held out: constants of the judge are chosen without looking at those, so that they show how it does
/// on changes that nobody thought of. `drill --changes=development` and `--changes=held-out` run one part.
pub static KINDS: [ChangeKind; 48] = {
    use Aim::{Every, EveryFraction, EveryNumber, EverySpread, EveryText, FirstText, LastText, Narrowest, TwoWidest, Widest};
    use ChangeFamily::{Categories, Missing, Names, Noise, Numbers, Shape, Stuck, Text};
    [
        seen("space_before_text", Text, "a space before every text", EveryText, Edit::Text(edits::space_before)),
        aside("space_after_text", Text, "a space after every text", EveryText, Edit::Text(edits::space_after)),
        seen("text_in_lower_case", Text, "every text in lower case", EveryText, Edit::Text(edits::lower)),
        aside("text_in_upper_case", Text, "every text in upper case", EveryText, Edit::Text(edits::upper)),
        seen("text_in_title_case", Text, "every word begins with a capital", EveryText, Edit::Text(edits::title)),
        seen("quotes_around_text", Text, "quotation marks within every text", EveryText, Edit::Text(edits::quotes)),
        aside(
            "text_in_other_unicode",
            Text,
            "accents apart, typographic hyphens and spaces",
            EveryText,
            Edit::Text(edits::unicode),
        ),
        seen("prefix_before_text", Text, "cat_ before every text", EveryText, Edit::Text(edits::prefix)),
        seen("text_cut_short", Text, "every text cut after four characters", EveryText, Edit::Text(edits::cut)),
        seen("text_as_codes", Text, "numbers in place of every text", EveryText, Edit::Row(edits::codes)),
        aside("text_hashed", Text, "a hash in place of every text", EveryText, Edit::Text(edits::hashed)),
        seen("key_spelling", Names, "dashes in the names of fields", Every, Edit::Name(edits::dashes)),
        aside("keys_in_camel_case", Names, "names of fields in camelCase", Every, Edit::Name(edits::camel)),
        seen("prefix_before_keys", Names, "f_ before the names of fields", Every, Edit::Name(edits::key_prefix)),
        aside("keys_in_upper_case", Names, "names of fields in upper case", Every, Edit::Name(edits::key_upper)),
        small(seen(
            "new_category_2_percent",
            Categories,
            "a new category in 2 % of the rows",
            FirstText,
            Edit::Row(edits::newcomer_2),
        )),
        seen("new_category_20_percent", Categories, "a new category in 20 % of the rows", LastText, Edit::Row(edits::newcomer_20)),
        aside("categories_merged", Categories, "all but the commonest category become Other", FirstText, Edit::Text(edits::merged)),
        seen("category_renamed", Categories, "the commonest category has another name", FirstText, Edit::Text(edits::renamed)),
        aside(
            "categories_swapped",
            Categories,
            "the commonest and the rarest category exchanged",
            FirstText,
            Edit::Text(edits::exchanged),
        ),
        seen("one_unit", Numbers, "one column times 12", Widest, Edit::Number(edits::by_12)),
        seen("one_unit_thousandth", Numbers, "one column by a thousand", Widest, Edit::Number(edits::by_thousandth)),
        seen("everything_by_100", Numbers, "every number by a hundred", EveryNumber, Edit::Number(edits::by_hundredth)),
        aside("logarithm", Numbers, "one column as its logarithm", Widest, Edit::Number(edits::logarithm)),
        seen(
            "standardised",
            Numbers,
            "every number less its mean, by its deviation",
            EveryNumber,
            Edit::Number(edits::standardised),
        ),
        aside("sign_flipped", Numbers, "one column with the other sign", Widest, Edit::Number(edits::flipped)),
        seen("offset", Numbers, "one column moved by its usual range", Widest, Edit::Number(edits::offset)),
        small(seen("rounded", Numbers, "numbers rounded to two digits", EverySpread, Edit::Number(edits::two_digits))),
        small(seen(
            "single_precision",
            Numbers,
            "numbers after a computation in single precision",
            EverySpread,
            Edit::Number(edits::single),
        )),
        seen("cut_to_integers", Numbers, "decimals cut off", EveryFraction, Edit::Number(edits::integers)),
        small(aside(
            "clipped",
            Numbers,
            "numbers held between their first and last percentile",
            EverySpread,
            Edit::Number(edits::clipped),
        )),
        small(seen("numbers_as_text", Numbers, "every number in quotation marks", EveryNumber, Edit::Number(edits::as_text))),
        seen("decimal_comma", Numbers, "numbers as text with a decimal comma", EveryFraction, Edit::Number(edits::comma)),
        aside("min_max_scaled", Numbers, "every number scaled to 0 to 1", EveryNumber, Edit::Number(edits::min_max)),
        seen("field_gone", Missing, "one field gone", Widest, Edit::Row(edits::gone)),
        seen("field_null", Missing, "one field always null", Narrowest, Edit::Value("null")),
        seen("default_zero", Missing, "one field always 0", Widest, Edit::Value("0")),
        aside("default_minus_999", Missing, "one field always -999", Widest, Edit::Value("-999")),
        seen("empty_text", Missing, "one text always empty", FirstText, Edit::Value("\"\"")),
        aside("mean_imputed", Missing, "the mean in place of one column, in 30 % of the rows", Widest, Edit::Row(edits::imputed)),
        seen("nan_text", Missing, "the text NaN in place of one number", Widest, Edit::Value("\"NaN\"")),
        seen("swapped_columns", Shape, "two columns exchanged", TwoWidest, Edit::Row(edits::shifted)),
        seen("shifted_columns", Shape, "every column has the value of the column before", Every, Edit::Row(edits::shifted)),
        small(seen("extra_field", Shape, "a field that the model does not know", Every, Edit::Row(edits::extra))),
        aside("duplicated_column", Shape, "a second column has the values of the first", TwoWidest, Edit::Row(edits::duplicated)),
        seen("constant_column", Stuck, "one column keeps the first value it had", Widest, Edit::Row(edits::constant)),
        small(aside("stale_by_one", Stuck, "one column has the value of the row before", Widest, Edit::Row(edits::stale))),
        small(seen("jitter_1_percent", Noise, "numbers off by up to 1 %", EverySpread, Edit::Row(edits::jitter))),
    ]
};

const fn seen(name: &'static str, family: ChangeFamily, words: &'static str, aim: Aim, edit: Edit) -> ChangeKind {
    ChangeKind { name, family, words, small: false, held_out: false, aim, edit }
}

const fn aside(name: &'static str, family: ChangeFamily, words: &'static str, aim: Aim, edit: Edit) -> ChangeKind {
    ChangeKind { held_out: true, ..seen(name, family, words, aim, edit) }
}

const fn small(kind: ChangeKind) -> ChangeKind {
    ChangeKind { small: true, ..kind }
}

// === impl ChangeFamily ===

impl ChangeFamily {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Names => "names",
            Self::Categories => "categories",
            Self::Numbers => "numbers",
            Self::Missing => "missing",
            Self::Shape => "shape",
            Self::Stuck => "stuck",
            Self::Noise => "noise",
        }
    }
}

// === impl Aim ===

impl Aim {
    /// The columns, or why there are none.
    fn targets(self, columns: &Columns) -> Result<Vec<usize>, &'static str> {
        let wide = &columns.wide;
        let fractions = || columns.numbers.iter().copied().filter(|&at| columns.all[at].decimals > 0);
        let (found, missing) = match self {
            Self::Every => ((0..columns.all.len()).collect(), "the model has no columns"),
            Self::EveryText => (columns.text.clone(), "the model has no text"),
            Self::FirstText => {
                let several = columns.text.iter().find(|&&at| columns.all[at].categories.len() > 2);
                (several.or(columns.text.first()).copied().into_iter().collect(), "the model has no text")
            }
            Self::LastText => (columns.text.last().copied().into_iter().collect(), "the model has no text"),
            Self::EveryNumber => (columns.numbers.clone(), "the model has no numbers"),
            Self::EverySpread => (wide.clone(), "the model has no numbers"),
            Self::EveryFraction => (fractions().collect(), "no number of the model has decimals"),
            Self::Widest => (wide.first().copied().into_iter().collect(), "the model has no numbers"),
            Self::Narrowest => (wide.last().copied().into_iter().collect(), "the model has no numbers"),
            Self::TwoWidest if wide.len() > 1 => (wide[..2].to_vec(), ""),
            Self::TwoWidest => (Vec::new(), "the model has no two columns of numbers"),
        };
        if found.is_empty() { Err(missing) } else { Ok(found) }
    }

    /// Whether it takes text alone, or numbers alone.
    const fn takes(self) -> Option<bool> {
        match self {
            Self::Every => None,
            Self::EveryText | Self::FirstText | Self::LastText => Some(true),
            _ => Some(false),
        }
    }
}

// === impl ChangeKind ===

impl ChangeKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The columns that it takes in this model: `column` if one is named, else its own choice.
    ///
    /// # Errors
    /// Why it changes nothing here, in words.
    pub fn targets(&self, columns: &Columns, column: Option<&str>) -> Result<Vec<usize>, String> {
        let targets = match column {
            None => self.aim.targets(columns)?,
            Some(name) => vec![self.named_target(columns, name)?],
        };
        if self.aim == Aim::TwoWidest && targets.len() < 2 {
            return Ok(columns.wide.iter().copied().find(|at| !targets.contains(at)).into_iter().fold(targets, |mut all, at| {
                all.push(at);
                all
            }));
        }
        let column = |at: &usize| &columns.all[*at];
        let does_something = match self.edit {
            Edit::Text(edit) => targets
                .iter()
                .map(column)
                .any(|column| column.categories.iter().any(|text| edit(text, column).is_some_and(|other| other != *text))),
            Edit::Name(edit) => targets.iter().map(column).any(|column| edit(&column.name) != column.name),
            _ => true,
        };
        if does_something { Ok(targets) } else { Err("it would change nothing that this model knows".to_owned()) }
    }

    fn named_target(&self, columns: &Columns, name: &str) -> Result<usize, String> {
        let names = |all: &mut dyn Iterator<Item = &Column>| all.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(at) = columns.position(name) else {
            return Err(format!("there is no column '{name}'; columns are {}", names(&mut columns.all.iter())));
        };
        let (wanted, which) = match self.aim.takes() {
            Some(true) => ("text", &columns.text),
            Some(false) => ("numbers", &columns.numbers),
            None => return Ok(at),
        };
        if which.contains(&at) {
            return Ok(at);
        }
        let fit = names(&mut which.iter().map(|&at| &columns.all[at]));
        Err(format!("the column '{name}' does not hold {wanted}; columns that do are {fit}"))
    }

    /// Edits a row.
    pub fn edit(&self, row: &mut Row, scene: &mut Scene<'_>) {
        let Scene { columns, targets, .. } = *scene;
        match self.edit {
            Edit::Text(edit) => {
                for &at in targets {
                    let text = row.field(at).and_then(super::row::Field::text);
                    if let Some(text) = text.and_then(|text| edit(&text, &columns.all[at])) {
                        row.set_text(at, &text);
                    }
                }
            }
            Edit::Number(edit) => {
                for &at in targets {
                    let number = row.field(at).and_then(super::row::Field::number);
                    if let Some(json) = number.and_then(|number| edit(number, &columns.all[at])) {
                        row.set_json(at, &json);
                    }
                }
            }
            Edit::Name(edit) => row.rename(targets, edit),
            Edit::Value(json) => targets.iter().for_each(|&at| row.set_json(at, json)),
            Edit::Row(edit) => edit(row, scene),
        }
    }
}

impl std::fmt::Debug for ChangeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ChangeKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
