//! What every command gives a person at a terminal: help with examples, a message for each mistake, documented exit codes.

use super::support::program;

const COMMANDS: [&str; 10] = ["fit", "reference", "replay", "run", "check", "demo", "simulate", "drill", "audit", "cases"];

#[test]
fn help_lists_every_command() {
    let help = program::run(&["--help"]);
    help.must_succeed();
    for command in COMMANDS {
        assert!(help.out.contains(&format!("  {command}")), "{command} is not in:\n{}", help.out);
    }
}

#[test]
fn every_command_shows_examples_in_its_help() {
    for command in COMMANDS {
        let help = program::run(&[command, "--help"]);
        help.must_succeed();
        assert!(help.out.contains(&format!("tripline {command}")), "{command}: no example in:\n{}", help.out);
        assert!(help.out.to_lowercase().contains("example"), "{command}: no example in:\n{}", help.out);
    }
}

#[test]
fn wrong_usage_ends_with_64_and_says_what_is_right() {
    program::run(&[]).must_fail(64, &["Usage"]);
    program::run(&["frobnicate"]).must_fail(64, &["frobnicate", "Usage"]);
    program::run(&["fit", "--no-such-option"]).must_fail(64, &["--no-such-option"]);
}

#[test]
fn a_missing_input_ends_with_66_and_names_the_file() {
    program::run(&["fit", "/nowhere/training.csv", "--model", "m"]).must_fail(66, &["/nowhere/training.csv"]);
}

#[test]
fn the_demo_ends_by_itself_in_good_order() {
    // A few seconds only. Other tests show that attacks are found; this one shows that the demo runs and ends.
    let demo = program::run(&["demo", "--for", "8s", "--port", "0"]);
    demo.must_succeed();
    assert!(
        demo.out.contains("http://127.0.0.1:") || demo.err.contains("http://127.0.0.1:"),
        "no address of the page:\n{}{}",
        demo.out,
        demo.err
    );
}
