use super::*;
use crate::event::Cell;

fn query(offset: i64, row: u32) -> Query {
    let mut query = Query {
        time: EventTime::parse("2026-03-02T09:15:00.123Z").unwrap(),
        model: "adult".into(),
        model_version: "1".into(),
        request_id: "r-1".into(),
        address: Address::parse("203.0.113.7").unwrap(),
        account: "acct-42".into(),
        row: vec![Cell::number(39.0), Cell::category(2), Cell::unseen("Martian"), Cell::MISSING, Cell::UNREADABLE],
        prediction: Prediction::Probabilities { top: Cell::category(1), probability: 0.8, margin: 0.6 },
        latency_ms: Some(12.1),
        label: "yes".into(),
        extra_features: 1,
        new_names: vec!["/features/new".into()],
        provenance: Provenance { topic: "predictions".into(), partition: 3, offset, row },
        ..Query::default()
    };
    query.repairs.add(Repair::NumberNan);
    query.unknown_texts.begin(true);
    query.unknown_texts.push(2, "Martian", 5);
    query
}

fn mark() -> Mark {
    Mark {
        topic: "predictions".into(),
        partition: 3,
        watermark: Some(1_772_442_900_000_000),
        caught_up: true,
        wall: 1_772_442_901_000_000,
        sources: vec![("predictions".into(), 4)],
    }
}

/// A frame with a message of two rows, one that could not be read, and its bytes.
fn frame() -> (Vec<u8>, Query, Query) {
    let (first, second) = (query(7, 0), Query { time: EventTime::parse("2026-03-02T09:14:00Z").unwrap(), ..query(7, 1) });
    let mut writer = FrameWriter::default();
    let both = [Sent::Query(&first, 11), Sent::Query(&second, 11)];
    let original = OwnedOriginal {
        key: None,
        payload: Some(b"{}".to_vec()),
        headers: vec![("trace".into(), Some(b"\xff".as_slice().into()))],
    };
    writer.push(7, Some(first.time), both.into_iter(), Some(original));
    let caller = CallerFacts { address: first.address, model: "adult".into(), time: Some(first.time), ..CallerFacts::default() };
    let rejection = Rejection::new(RejectReason::BadFeatures, "no such shape").sent_by(caller);
    let place = Provenance { offset: 9, row: 0, ..first.provenance.clone() };
    writer.push(9, None, std::iter::once(Sent::Evidence(&place, &rejection)), None);
    (writer.finish(&mark()), first, second)
}

#[test]
fn a_frame_is_read_as_it_was_written() {
    let (bytes, first, second) = frame();
    assert!(bytes.len() < 330, "{} bytes", bytes.len());
    let (read_mark, messages) = read(&bytes).unwrap();
    assert_eq!(read_mark, mark());
    assert_eq!((messages.len(), messages[0].offset, messages[0].time, messages[1].offset), (2, 7, Some(first.time), 9));
    assert_eq!(messages[0].original.as_ref().unwrap().payload.as_deref(), Some(b"{}".as_slice()));
    for (row, wanted) in messages[0].records.iter().zip([&first, &second]) {
        let Row::Query(query, 11) = row else { panic!("{row:?}") };
        assert_eq!(format!("{query:?}"), format!("{wanted:?}"));
    }
    let Row::Evidence(place, rejection) = &messages[1].records[0] else { panic!("{:?}", messages[1]) };
    assert_eq!((place.offset, place.partition, place.topic.name()), (9, 3, "predictions"));
    assert_eq!((rejection.reason, rejection.caller.as_ref().unwrap().model.as_str()), (RejectReason::BadFeatures, "adult"));
}

#[test]
fn no_damage_of_any_byte_panics_and_no_cut_is_read() {
    let (bytes, ..) = frame();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
    let mut changed = bytes.clone();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for value in 0..=u8::MAX {
            changed[at] = value;
            refused += usize::from(read(&changed).is_err());
        }
        changed[at] = bytes[at];
    }
    assert!(refused > bytes.len() * 20, "{refused} changes were refused");
    let mut long = bytes;
    long.push(0);
    assert_eq!(read(&long).unwrap_err(), FrameError::Damaged, "nothing may follow");
}

#[test]
fn another_version_is_named() {
    let error = read(&[FORMAT + 1, 0, 0]).unwrap_err();
    assert_eq!(error, FrameError::Version(FORMAT + 1));
    assert!(error.to_string().contains("the same version"));
}

proptest::proptest! {
    /// Whatever bytes come, reading ends with a frame or an error.
    #[test]
    fn foreign_bytes_never_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = read(&bytes);
        bytes.insert(0, FORMAT);
        let _ = read(&bytes);
    }
}
