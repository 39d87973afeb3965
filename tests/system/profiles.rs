//! `tripline fit` and `tripline reference` at a terminal, and the profiles that are shipped.

use std::path::{Path, PathBuf};

use tripline::cli::describe;
use tripline::dataset::{self, ReadOptions};
use tripline::reference::{FitOptions, Reference, fit, require_signature, sign};

use super::support::data::text;
use super::support::program::{self, Ended, run_with};

/// Shipped profiles, with the recording whose baseline each was made from.
const SHIPPED: [(&str, &str); 3] =
    [("adult", "01_stable_adult"), ("flights", "02_stable_flights_mobile"), ("magic", "23_uniform_heavy")];
/// Largest size of a shipped profile in bytes: a program may load several, and the repository keeps every version.
const SHIPPED_LIMIT: usize = 1_500_000;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shipped(model: &str) -> Reference {
    let path = repository("models").join(model).join("reference.json");
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() < SHIPPED_LIMIT, "{}: {} bytes", path.display(), bytes.len());
    Reference::from_json(&bytes).unwrap_or_else(|e| panic!("{e}; `make models` makes the profiles anew"))
}

/// A training file of 200 rows.
fn training() -> String {
    let row = |i: u32| format!("{i},{},{}\n", ["a", "b", "c"][(i % 3) as usize], f64::from(i) / 200.0);
    "x,kind,prediction\n".to_owned() + &(0..200).map(row).collect::<String>()
}

/// Fits `input` (standard input) into a file of the folder, with more arguments.
fn fit_input(folder: &Path, input: &str, more: &[&str]) -> Ended {
    let out = folder.join("out.json");
    let args = [&["fit", "-", "--model", "m", "-o", text(&out)], more].concat();
    run_with(&args, input.as_bytes())
}

#[test]
fn shipped_profiles_are_those_that_the_committed_baselines_give() {
    for (model, baseline) in SHIPPED {
        let path = repository("tests/data").join(baseline).join("baseline.csv.zst");
        let loaded = dataset::read(&path, &ReadOptions::default(), &|_| ()).unwrap();
        let fresh = fit(&loaded.dataset, &FitOptions { model: model.into(), ..FitOptions::default() }).unwrap();
        assert_eq!(fresh.digest, shipped(model).digest, "models/{model} is stale; run `make models`");
    }
}

#[test]
fn shipped_profiles_carry_the_signature_of_the_shipped_key() {
    let trusted = sign::verifying_keys(&std::fs::read_to_string(repository("models/signing.pub")).unwrap()).unwrap();
    for (model, _) in SHIPPED {
        require_signature(&shipped(model), &trusted).unwrap_or_else(|e| panic!("{e}; `make models` signs the profiles"));
    }
}

#[test]
fn the_summary_in_each_card_is_that_of_the_profile() {
    for (model, _) in SHIPPED {
        let card = std::fs::read_to_string(repository(&format!("models/{model}/CARD.md"))).unwrap();
        let summary = describe::markdown(&shipped(model));
        assert!(card.contains(&summary), "models/{model}/CARD.md is stale; run `make models`. It should hold:\n{summary}");
    }
}

#[test]
fn model_files_agree_with_their_profiles() {
    for (model, baseline) in SHIPPED {
        let file = std::fs::read_to_string(repository(&format!("models/{model}/model.toml"))).unwrap();
        let facts: toml::Table = file.parse().unwrap();
        let profile = shipped(model);
        assert_eq!(facts["name"].as_str(), Some(profile.model.as_str()));
        assert_eq!(facts["prediction"]["threshold"].as_float(), profile.prediction.threshold);
        let named: Vec<&str> = facts["features"].as_table().unwrap().keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = profile.features.iter().map(|f| f.name.as_str()).collect();
        expected.sort_unstable();
        let mut sorted = named;
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        let source = facts["data"]["baseline"].as_str().unwrap();
        assert!(source.contains(baseline) && repository(source).exists(), "{source}");
        let card = std::fs::read_to_string(repository(&format!("models/{model}/CARD.md"))).unwrap();
        assert!(card.contains("creativecommons.org"), "the card names the licence");
    }
}

#[test]
fn fit_says_what_it_understood_and_the_profile_passes_verify() {
    let folder = tempfile::tempdir().unwrap();
    let ended = fit_input(folder.path(), &training(), &[]);
    ended.must_succeed();
    for words in [
        "model      m",
        "x        continuous     10       0%  0 to 199",
        "kind     categorical     3",
        "a 34%",
        "counts the rows",
        "standard input (CSV)",
    ] {
        assert!(ended.out.contains(words), "'{words}' is not in:\n{}", ended.out);
    }
    assert_eq!(ended.err, "", "no bar without a terminal");
    let profile = folder.path().join("out.json");
    let verified = program::run(&["reference", "verify", text(&profile)]);
    assert!(verified.must_succeed().out.contains("whole and unchanged"), "{}", verified.out);
    let json = program::run(&["reference", "show", "--json", text(&profile)]);
    let json: serde_json::Value = serde_json::from_str(&json.must_succeed().out).unwrap();
    assert_eq!((json["rows"].as_u64(), json["features"][1]["values"][0]["value"].as_str()), (Some(200), Some("a")));
}

#[test]
fn the_options_of_fit_reach_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--drop", "kind", "--kind", "x=categorical", "--threshold", "0.25", "--sample-rows", "120", "--missing", "7"];
    fit_input(folder.path(), &training(), &more).must_succeed();
    let profile = Reference::from_json(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(profile.features.len(), 1);
    assert_eq!((profile.features[0].values.len(), profile.sample.len()), (199, 120));
    assert_eq!(profile.prediction.threshold, Some(0.25));
    let labels = fit_input(folder.path(), &training(), &["--prediction", "kind", "--prediction-kind", "label"]);
    assert!(labels.must_succeed().out.contains("label of 3 classes: a 34%"), "{}", labels.out);
}

#[test]
fn every_mistake_of_fit_has_its_code_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |input: &str, more: &[&str], code: i32, words: &[&str]| {
        fit_input(folder.path(), input, more).must_fail(code, words);
        assert!(!folder.path().join("out.json").exists(), "a failure leaves no profile");
    };
    let good = training();
    fails(&good, &["--prediction", "score"], 64, &["standard input", "no column 'score'", "x, kind, prediction"]);
    fails(&good, &["--kind", "x=number"], 64, &["'number' is none of continuous, discrete, boolean, categorical"]);
    fails(&good, &["--kind", "y=discrete"], 64, &["no column 'y'"]);
    fails(&good, &["--kind", "kind=discrete"], 65, &["line 2", "row 1, column 'kind'", "'a' is not a number"]);
    fails(&good, &["--drop", "prediction"], 64, &["is the prediction"]);
    fails(&good, &["--drop", "y"], 64, &["no column 'y' to leave out"]);
    fails(&good, &["--sample-rows", "5"], 64, &["from 100 to 200000"]);
    fails(&good, &["--prediction-kind", "probabilities"], 65, &["single values"]);
    fails(&format!("{good}1,2\n"), &[], 65, &["line 202", "2 fields where the header has 3"]);
    fails(&format!("{good}forty,a,0.5\n"), &[], 65, &["line 202", "'forty'", "--missing 'forty'"]);
    fails(&format!("{good}1,a,high\n"), &["--prediction-kind", "score"], 65, &["line 202", "'high' is not a finite number"]);
    fails("x,prediction\n1,2\n", &[], 65, &["1 rows are too few"]);
    fails("", &[], 65, &["the file is empty"]);
    fails("PAR1....", &[], 64, &["not a pipe"]);
    program::run(&["fit", "/nonexistent.csv", "--model", "m"]).must_fail(66, &["/nonexistent.csv: there is no such file"]);
    program::run(&["fit", "/nonexistent.csv", "--model", "../m"]).must_fail(64, &["-o FILE"]);
    let damaged = folder.path().join("t.parquet");
    std::fs::write(&damaged, b"PAR1 and nothing else").unwrap();
    program::run(&["fit", text(&damaged), "--model", "m"]).must_fail(65, &["not readable as Parquet"]);
}

#[test]
fn an_unwritable_place_ends_with_74_and_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let out = blocked.join("out.json");
    run_with(&["fit", "-", "--model", "m", "-o", text(&out)], training().as_bytes()).must_fail(74, &[text(&out)]);
}

#[test]
fn keys_sign_verify_and_refuse_at_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fit_input(folder.path(), &training(), &[]).must_succeed();
    let profile = path("out.json");
    let openssl = |args: &[&str]| {
        let made = std::process::Command::new("openssl").args(args).status();
        assert!(made.expect("openssl is needed (`make setup` installs it)").success());
    };
    for key in ["ours", "theirs"] {
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &path(key)]);
        openssl(&["pkey", "-pubout", "-in", &path(key), "-out", &path(&format!("{key}.pub"))]);
    }
    let verify = |key: &str| program::run(&["reference", "verify", &profile, "--public-key", &path(key)]);
    verify("ours.pub").must_fail(65, &["it is not signed"]);
    let signed = program::run(&["reference", "sign", &profile, "--key", &path("ours")]);
    signed.must_succeed();
    let secret = std::fs::read_to_string(path("ours")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    assert!(!signed.out.contains(secret) && !signed.err.contains(secret));
    assert!(verify("ours.pub").must_succeed().out.contains("signed by the trusted key SHA256:"));
    verify("theirs.pub").must_fail(65, &["not a trusted one"]);
    verify("ours").must_fail(64, &["this is a private key"]);
    program::run(&["reference", "sign", &profile, "--key", &path("ours.pub")]).must_fail(64, &["this is a public key"]);
    program::run(&["reference", "sign", &profile, "--key", &path("nothing")]).must_fail(66, &["there is no such file"]);
    program::run(&["reference", "sign", &profile]).must_fail(64, &["TRIPLINE_SIGNING_KEY"]);

    let whole = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, whole.replace("\"rows\":200", "\"rows\":201")).unwrap();
    verify("ours.pub").must_fail(65, &["counts 200 rows of 201"]);
    std::fs::write(&profile, whole.replace("\"p01\":", "\"p01\":0.5,\"was\":")).unwrap();
    verify("ours.pub").must_fail(65, &["not a reference profile", "unknown field"]);
    std::fs::write(&profile, whole.replace("\"model\":\"m\"", "\"model\":\"n\"")).unwrap();
    verify("ours.pub").must_fail(65, &["its digest does not match"]);
    std::fs::write(&profile, whole.replace("\"schema\":1", "\"schema\":9")).unwrap();
    verify("ours.pub").must_fail(65, &["schema 9, this program reads schema 1; fit it again"]);
}
