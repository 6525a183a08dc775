//! The host as an enemy (A3): two real engines, real sockets, and in between a host that does what it likes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rdv::{
    Engine, Error, OfferOptions, RelayPolicy, ScreenName, Sink, SinkOptions, Source, SourceOptions,
    Summary, Transfer, TransferEvent,
};
use rdv_tests::hostile_host::{
    HostileHost, Leg, Letter, REQUEST_SECURE, Rule, SECURITY, honest, lose, rewrite,
};
use tempfile::TempDir;

/// What a host does to a message on its way.
type Change = fn(&mut Letter);

/// Every negotiation ends by its own timers well before this.
const END: Duration = Duration::from_secs(100);

const CONTENT: &[u8] = b"for bob's eyes only";

struct Meeting {
    host: HostileHost,
    folder: TempDir,
    /// Outcome, and how many lanes it was told of.
    sender: (Result<Summary, Error>, usize),
    receiver: (Result<Summary, Error>, usize),
}

impl Meeting {
    /// Everything in the output folder, hidden things included.
    fn arrived(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("out")) else {
            return Vec::new();
        };
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[track_caller]
    fn assert_refused_for_security(&self, what: &str) {
        for (who, (outcome, lanes)) in [("sender", &self.sender), ("receiver", &self.receiver)] {
            let refused = matches!(
                outcome,
                Err(Error::WrongCode { .. } | Error::Security { .. })
            );
            assert!(refused, "{what}: the {who} ended with {outcome:?}");
            assert_eq!(*lanes, 0, "{what}: the {who} had a lane");
        }
        assert_eq!(self.arrived(), [""; 0], "{what}");
    }

    /// Both worked, or neither did; a file that is there is the right one.
    #[track_caller]
    fn assert_agreement(&self, what: &str) {
        assert!(
            self.sender.1 <= 1 && self.receiver.1 <= 1,
            "{what}: more than one lane"
        );
        match (&self.sender.0, &self.receiver.0) {
            (Ok(_), Ok(_)) => self.assert_arrived(what),
            (Err(_), Err(_)) => assert_eq!(self.arrived(), [""; 0], "{what}"),
            other => panic!("{what}: the two do not agree: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_worked(&self, what: &str) {
        let both = (&self.sender.0, &self.receiver.0);
        assert!(matches!(both, (Ok(_), Ok(_))), "{what}: {both:?}");
        assert_eq!((self.sender.1, self.receiver.1), (1, 1), "{what}");
        self.assert_arrived(what);
    }

    #[track_caller]
    fn assert_arrived(&self, what: &str) {
        assert_eq!(self.arrived(), ["letter"], "{what}");
        assert_eq!(
            fs::read(self.folder.path().join("out/letter")).unwrap(),
            CONTENT,
            "{what}"
        );
    }
}

fn source(folder: &Path) -> Source {
    let file = folder.join("letter");
    fs::write(&file, CONTENT).unwrap();
    Source::paths(vec![file], SourceOptions::default()).unwrap()
}

/// Two who hold the same words meet at a host with that rule.
async fn meet(rule: Rule) -> Meeting {
    meet_with(rule, RelayPolicy::Never).await
}

async fn meet_with(rule: Rule, policy: RelayPolicy) -> Meeting {
    let folder = tempfile::tempdir().unwrap();
    let host = HostileHost::new(rule);
    let engine = |name| {
        Engine::builder(host.join(name))
            .host_on_this_machine(true)
            .relay_policy(policy)
            .build()
    };
    let (alice, bob) = (engine("4711"), engine("guestabcdefghij"));
    let words = rdv::new_code_words();
    let sending = alice
        .offer_with_code(words.clone(), source(folder.path()), None)
        .await
        .unwrap();
    let sink = Sink::folder(folder.path().join("out"), SinkOptions::default()).unwrap();
    let receiving = bob
        .fetch_with_code(ScreenName::new("4711").unwrap(), words, sink)
        .await
        .unwrap();
    let both = async { tokio::join!(follow(sending), follow(receiving)) };
    let (sender, receiver) = tokio::time::timeout(END, both)
        .await
        .expect("both come to an end");
    alice.close().await;
    bob.close().await;
    Meeting {
        host,
        folder,
        sender,
        receiver,
    }
}

/// Says yes to everything; returns the end and the number of lanes.
async fn follow(mut transfer: Transfer) -> (Result<Summary, Error>, usize) {
    let mut lanes = 0;
    loop {
        match transfer.next_event().await.expect("an end") {
            TransferEvent::Connected { .. } => lanes += 1,
            TransferEvent::Offered(_) => transfer.accept(),
            TransferEvent::Ended(outcome) => return (outcome, lanes),
            _ => {}
        }
    }
}

/// Letters of both legs that carry the terms.
const LEGS: [Leg; 2] = [Leg::P1, Leg::C2];

/// The types of the items that an honest meeting has in that leg.
async fn items(leg: Leg) -> Vec<u16> {
    let honest = meet(honest()).await;
    honest.assert_worked("an honest host");
    let letter = honest
        .host
        .carried()
        .into_iter()
        .find(|letter| letter.leg == leg);
    let items = letter.expect("that leg").block_items();
    assert!(items.len() >= 5, "{leg:?} has a block: {items:?}");
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_strips_the_request_for_encryption_is_found_out() {
    for leg in LEGS {
        let rule = rewrite(leg, |letter| {
            letter.edit(|params| params.retain(|(tag, _)| *tag != REQUEST_SECURE))
        });
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} without REQUEST_SECURE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_drops_the_security_block_is_found_out() {
    for leg in LEGS {
        let rule = rewrite(leg, |letter| {
            letter.edit(|params| params.retain(|(tag, _)| *tag != SECURITY))
        });
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} without the block"));
        let both = [REQUEST_SECURE, SECURITY];
        let rule = rewrite(leg, move |letter| {
            letter.edit(|params| params.retain(|(tag, _)| !both.contains(tag)))
        });
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} without both"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_changes_an_item_of_the_block_is_found_out() {
    for leg in LEGS {
        for item in items(leg).await {
            let rule = rewrite(leg, move |letter| {
                letter.edit_block(|items| {
                    let (_, value) = items
                        .iter_mut()
                        .find(|(found, _)| *found == item)
                        .expect("that item");
                    let middle = value.len() / 2;
                    value[middle] ^= 0x10;
                });
            });
            let meeting = meet(rule).await;
            let what = format!("{leg:?} with another item {item}");
            if item == 5 || item == 2 {
                // Another PAKE or protocol is refused as something that is not known; no less, no transfer.
                meeting.assert_agreement(&what);
                assert!(meeting.receiver.0.is_err(), "{what}");
            } else {
                meeting.assert_refused_for_security(&what);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_removes_an_item_of_the_block_is_found_out() {
    for leg in LEGS {
        for item in items(leg).await {
            let rule = rewrite(leg, move |letter| {
                letter.edit_block(|items| items.retain(|(found, _)| *found != item))
            });
            let meeting = meet(rule).await;
            let what = format!("{leg:?} without item {item}");
            meeting.assert_agreement(&what);
            assert!(
                meeting.receiver.0.is_err() && meeting.sender.0.is_err(),
                "{what}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_swaps_the_keys_for_its_own_is_found_out() {
    // In both directions at once, as one would who wants to stand in the middle.
    let rule: Rule = Box::new(|mut letter| {
        if LEGS.contains(&letter.leg) {
            letter.edit_block(|items| {
                for (item, value) in items.iter_mut().filter(|(item, _)| *item == 1) {
                    assert_eq!((*item, value.len()), (1, 32));
                    value.copy_from_slice(&[0x5A; 32]);
                }
            });
        }
        vec![(Duration::ZERO, letter)]
    });
    meet(rule)
        .await
        .assert_refused_for_security("keys of the host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_adds_to_the_block_or_changes_the_terms_is_found_out() {
    for leg in LEGS {
        let rule = rewrite(leg, |letter| {
            letter.edit_block(|items| items.push((0x0777, b"added".to_vec())))
        });
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} with an item more"));
        let rule = rewrite(leg, |letter| letter.edit_block(|items| items.reverse()));
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} with its items reversed"));
        // Versions that still overlap.
        let rule = rewrite(leg, |letter| {
            letter.edit(|params| {
                for (_, value) in params.iter_mut().filter(|(tag, _)| *tag == 0x0012) {
                    *value = vec![0, 9];
                }
            });
        });
        meet(rule)
            .await
            .assert_refused_for_security(&format!("{leg:?} with another version"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_sends_a_side_its_own_words_back_is_found_out() {
    // The answer is made of the proposal itself.
    let mut first: Option<Letter> = None;
    let rule: Rule = Box::new(move |mut letter| {
        match letter.leg {
            Leg::P1 => first = Some(letter.clone()),
            Leg::C2 => {
                let body = first.clone().expect("P1 comes first").body;
                // The sequence number stays that of the answer.
                let mut reflected = Letter {
                    body,
                    ..letter.clone()
                };
                let mut number = Vec::new();
                letter.edit(|params| {
                    number = params
                        .iter()
                        .find(|(tag, _)| *tag == 0x000A)
                        .expect("a number")
                        .1
                        .clone()
                });
                reflected.edit(|params| {
                    for (_, value) in params.iter_mut().filter(|(tag, _)| *tag == 0x000A) {
                        value.clone_from(&number);
                    }
                });
                letter = reflected;
            }
            _ => {}
        }
        vec![(Duration::ZERO, letter)]
    });
    meet(rule)
        .await
        .assert_refused_for_security("a reflected proposal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_also_swallows_the_refusals_gets_a_timed_end() {
    let rule: Rule = Box::new(|mut letter| {
        if letter.leg == Leg::C2 {
            letter.edit(|params| params.retain(|(tag, _)| *tag != SECURITY));
        }
        if matches!(letter.leg, Leg::Error | Leg::Other) {
            Vec::new()
        } else {
            vec![(Duration::ZERO, letter)]
        }
    });
    let meeting = meet(rule).await;
    meeting.assert_agreement("no refusal gets through");
    assert!(
        matches!(
            meeting.receiver.0,
            Err(Error::Security { .. } | Error::WrongCode { .. })
        ),
        "{:?}",
        meeting.receiver.0
    );
    assert!(meeting.sender.0.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_changes_later_proposals_gets_no_wrong_file_across() {
    let changes: [(&str, Change); 4] = [
        ("stripped", |letter| {
            letter.edit(|params| params.retain(|(tag, _)| *tag != REQUEST_SECURE))
        }),
        ("without its block", |letter| {
            letter.edit(|params| params.retain(|(tag, _)| *tag != SECURITY))
        }),
        ("with a broken seal", |letter| {
            letter.edit_block(|items| {
                for (_, value) in items.iter_mut().filter(|(item, _)| *item == 6) {
                    let last = value.len() - 1;
                    value[last] ^= 1;
                }
            });
        }),
        ("with addresses of the host", |letter| {
            letter.edit(|params| {
                params.extend([(0x0002, vec![192, 0, 2, 1]), (0x0005, vec![0x12, 0x34])])
            });
        }),
    ];
    for (what, change) in changes {
        let meeting = meet(rewrite(Leg::C3, change)).await;
        let later = |letter: &Letter| letter.leg == Leg::C3;
        assert!(meeting.host.carried().iter().any(later), "there is one");
        // The lane may be up before such a message comes; then it has no say any more.
        let what = format!("a later proposal {what}");
        meeting.assert_agreement(&what);
        for outcome in [&meeting.sender.0, &meeting.receiver.0] {
            let fits = matches!(
                outcome,
                Ok(_) | Err(Error::Security { .. } | Error::WrongCode { .. })
            );
            assert!(fits, "{what}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_repeats_everything_changes_nothing() {
    let rule: Rule = Box::new(|letter| {
        [0, 0, 5, 300]
            .map(|delay| (Duration::from_millis(delay), letter.clone()))
            .to_vec()
    });
    meet(rule).await.assert_worked("every message four times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_delays_everything_changes_nothing() {
    let rule: Rule = Box::new(|letter| vec![(Duration::from_millis(400), letter)]);
    meet(rule).await.assert_worked("400 ms late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_reorders_messages_changes_nothing() {
    // Every other message is overtaken by those that come within a quarter of a second.
    let mut odd = false;
    let rule: Rule = Box::new(move |letter| {
        odd = !odd;
        vec![(
            if odd {
                Duration::from_millis(250)
            } else {
                Duration::ZERO
            },
            letter,
        )]
    });
    meet(rule)
        .await
        .assert_worked("every other message overtaken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_plays_old_messages_again_changes_nothing() {
    // With each message all earlier ones come once more, to both sides.
    let mut old: Vec<Letter> = Vec::new();
    let rule: Rule = Box::new(move |letter| {
        old.push(letter.clone());
        let mut out = vec![(Duration::ZERO, letter)];
        for old in &old {
            out.push((Duration::ZERO, old.clone()));
            let turned = Letter {
                from: old.to.clone(),
                to: old.from.clone(),
                ..old.clone()
            };
            out.push((Duration::from_millis(20), turned));
        }
        out
    });
    meet(rule)
        .await
        .assert_agreement("all earlier messages again, to both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_messages_makes_a_timed_end_of_it_at_worst() {
    let legs = [Leg::C2, Leg::C3, Leg::Other];
    let meetings = legs.map(|leg| tokio::spawn(meet(lose(leg))));
    for (leg, meeting) in legs.into_iter().zip(meetings) {
        meeting
            .await
            .unwrap()
            .assert_agreement(&format!("{leg:?} lost"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_disorder_ends_in_one_outcome_for_both() {
    let meetings: Vec<_> = (0..16u64)
        .map(|seed| {
            let mut random = blake3::Hasher::new()
                .update(&seed.to_be_bytes())
                .finalize_xof();
            let rule: Rule = Box::new(move |letter| {
                let mut dice = [0; 4];
                random.fill(&mut dice);
                let copies = 1 + usize::from(dice[0] % 3);
                (0..copies)
                    .map(|copy| {
                        (
                            Duration::from_millis(u64::from(dice[1 + copy]) * 2),
                            letter.clone(),
                        )
                    })
                    .collect()
            });
            tokio::spawn(meet(rule))
        })
        .collect();
    for (seed, meeting) in meetings.into_iter().enumerate() {
        meeting
            .await
            .unwrap()
            .assert_worked(&format!("seed {seed}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_host_carries_tells_what_is_sent() {
    let meeting = meet(honest()).await;
    meeting.assert_worked("an honest host");
    for letter in meeting.host.carried() {
        for secret in [&b"letter"[..], CONTENT, b"127.0.0.1"] {
            assert!(
                !letter
                    .body
                    .windows(secret.len())
                    .any(|window| window == secret),
                "{letter:?}"
            );
        }
    }
}

/// Two who know each other's names only: a first contact. Returns how the sender ended, and whether the file came.
async fn meet_by_name(rule: Rule) -> (Result<Summary, Error>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let host = HostileHost::new(rule);
    let engine = |name| {
        Engine::builder(host.join(name))
            .host_on_this_machine(true)
            .build()
    };
    let (alice, bob) = (engine("alice"), engine("bob"));
    let sending = alice
        .offer(
            ScreenName::new("bob").unwrap(),
            source(folder.path()),
            OfferOptions::default(),
        )
        .await
        .unwrap();
    let out = folder.path().join("out");
    let receiving = async {
        while let Some(proposal) = bob.next_proposal().await {
            let sink = Sink::folder(&out, SinkOptions::default()).unwrap();
            if let Ok(transfer) = proposal.accept(sink).await {
                let _ = transfer.finish(|_| true).await;
            }
        }
    };
    let both = async {
        tokio::select! {
            (outcome, _) = follow(sending) => outcome,
            () = receiving => unreachable!("the engine lives"),
        }
    };
    let outcome = tokio::time::timeout(END, both).await.expect("an end");
    alice.close().await;
    bob.close().await;
    (outcome, out.join("letter").exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_contact_without_a_code_is_not_stripped_of_its_encryption_either() {
    let (outcome, came) = meet_by_name(honest()).await;
    assert!(outcome.is_ok() && came, "an honest host: {outcome:?}");
    for leg in LEGS {
        for gone in [REQUEST_SECURE, SECURITY] {
            let rule = rewrite(leg, move |letter| {
                letter.edit(|params| params.retain(|(tag, _)| *tag != gone));
            });
            let (outcome, came) = meet_by_name(rule).await;
            let what = format!("{leg:?} without {gone:#06x}");
            assert!(
                matches!(
                    outcome,
                    Err(Error::WrongCode { .. } | Error::Security { .. })
                ),
                "{what}: {outcome:?}"
            );
            assert!(!came, "{what}");
        }
        for item in [1, 7, 8] {
            let rule = rewrite(leg, move |letter| {
                letter.edit_block(|items| {
                    let found = items.iter_mut().find(|(found, _)| *found == item);
                    let (_, value) = found.expect("that item");
                    value[0] ^= 1;
                });
            });
            let (outcome, came) = meet_by_name(rule).await;
            let what = format!("{leg:?} with another item {item}");
            assert!(
                matches!(
                    outcome,
                    Err(Error::WrongCode { .. } | Error::Security { .. })
                ),
                "{what}: {outcome:?}"
            );
            assert!(!came, "{what}");
        }
    }
}
