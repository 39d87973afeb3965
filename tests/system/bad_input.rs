//! Bad input, item by item: each ends in a clear message or a dead letter with a reason and a count; never a panic, never
//! silence.

use super::support::program;

#[test]
fn a_training_file_that_is_not_text_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("garbage.csv");
    std::fs::write(&file, b"a,prediction\n\xff\xfe\x00,1\n").unwrap();
    program::run(&["fit", file.to_str().unwrap(), "--model", "m"]).must_fail(65, &["garbage.csv, line 2, column 'a'", "UTF-8"]);
}
