//! Nothing set up, two terminals on one machine.

use std::fs;
use std::time::{Duration, Instant};

use rdv_tests::files::{Tree, assert_same_tree, tree};

use crate::desk::{person, small_file, text};

#[test]
fn a_file_goes_by_the_one_line_that_a_pipe_gets() {
    let (alice, bob) = (person(), person());
    let file = small_file(&alice, "letter.txt");
    let mut sender = alice.run(["send", text(&file)]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes", "-o", "out"])
        .finish()
        .expect_code(0);
    let sent = sender.finish().expect_code(0);
    assert_eq!(
        sent.out,
        format!("{code}\n"),
        "exactly one line on standard output"
    );
    assert!(
        code.contains('@'),
        "the long form, which works without multicast: {code}"
    );
    assert_eq!(
        fs::read(bob.path("out/letter.txt")).unwrap(),
        fs::read(file).unwrap()
    );
    assert_eq!(
        tree(&bob.path("out")).len(),
        1,
        "no part file or record stays behind"
    );
}

#[test]
fn a_folder_goes_with_its_name() {
    let (alice, bob) = (person(), person());
    let folder = alice.path("photos");
    rdv_tests::files::write_many(&folder, 40);
    let mut sender = alice.run(["send", text(&folder)]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes", "--keep-exec", "-o", "out"])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    assert_same_tree(&tree(&folder), &tree(&bob.path("out/photos")));
}

#[test]
fn several_things_go_together() {
    let (alice, bob) = (person(), person());
    let first = small_file(&alice, "first");
    fs::create_dir_all(alice.path("inner")).unwrap();
    let second = small_file(&alice, "inner/second");
    fs::create_dir_all(alice.path("nothing in it")).unwrap();
    let mut sender = alice.run(["send", text(&first), text(&second), "nothing in it"]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes", "-o", "out"])
        .finish()
        .expect_code(0);
    sender.finish().expect_code(0);
    let names: Vec<_> = tree(&bob.path("out"))
        .into_keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(names, ["first", "nothing in it", "second"]);
}

#[test]
fn a_text_comes_out_on_standard_output() {
    let (alice, bob) = (person(), person());
    let mut sender = alice.run(["send", "--text", "see you at nine, Zoë"]);
    let code = sender.code();
    let received = bob.run(["receive", &code, "--yes"]).finish().expect_code(0);
    sender.finish().expect_code(0);
    assert_eq!(received.out.trim_end_matches('\n'), "see you at nine, Zoë");
    assert!(
        !tree(bob.home())
            .keys()
            .any(|path| !path.starts_with(".local") && !path.starts_with(".config")),
        "no file is made"
    );
}

#[test]
fn an_empty_file_arrives() {
    let (alice, bob) = (person(), person());
    fs::write(alice.path("empty"), "").unwrap();
    let mut sender = alice.run(["send", "empty"]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes"]).finish().expect_code(0);
    sender.finish().expect_code(0);
    assert_eq!(fs::read(bob.path("empty")).unwrap(), b"");
}

#[test]
fn programs_get_objects_from_hello_to_result() {
    let (alice, bob) = (person(), person());
    let file = small_file(&alice, "data");
    let mut sender = alice.run(["send", "--json", text(&file)]);
    let code = sender.event("code")["code"]
        .as_str()
        .expect("the code is a string")
        .to_owned();
    let received = bob
        .run(["receive", "--json", "--yes", "-o", "out", &code])
        .finish()
        .expect_code(0);
    let sent = sender.finish().expect_code(0);
    for ended in [&sent, &received] {
        let events = ended.events();
        assert_eq!(
            events.len(),
            ended.out.lines().count(),
            "every line is an object: {}",
            ended.out
        );
        assert_eq!(events[0]["event"], "hello");
        let result = ended.result();
        assert_eq!(result["ok"], true);
        assert_eq!(result["exit"], 0);
        assert!(result["reason"].is_null());
        assert_eq!(result["path"], "direct");
        assert_eq!(result["security"], "verified");
    }
}

#[test]
fn programs_are_told_of_a_failure_too() {
    let alice = person();
    let ended = alice
        .run(["send", "--json", "no such file"])
        .finish()
        .expect_code(8);
    let result = ended.result();
    assert_eq!(ended.events()[0]["event"], "hello");
    assert_eq!(result["ok"], false);
    assert_eq!(result["exit"], 8);
    assert!(
        result["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("no such file")),
        "{result}"
    );
}

#[test]
fn the_code_is_there_within_a_second() {
    let alice = person();
    // The machine may be busy with other tests: the best of three counts.
    let took = (0..3).map(|_| {
        let began = Instant::now();
        alice.run(["send", "--text", "x"]).code();
        began.elapsed()
    });
    assert!(took.min().unwrap() < Duration::from_secs(1));
}

#[test]
fn the_code_alone_means_receive_and_case_does_not_matter() {
    let (alice, bob) = (person(), person());
    small_file(&alice, "a");
    let mut sender = alice.run(["tx", "a"]);
    let code = sender.code();
    let (words, address) = code.split_once('@').expect("a long form");
    bob.run([
        format!("{}@{address}", words.to_uppercase()).as_str(),
        "--yes",
    ])
    .finish()
    .expect_code(0);
    sender.finish().expect_code(0);
    assert!(bob.path("a").exists());
}

#[test]
fn the_code_can_come_from_a_file_the_environment_or_standard_input() {
    for way in 0..3 {
        let (alice, mut bob) = (person(), person());
        small_file(&alice, "a");
        let mut sender = alice.run(["send", "a"]);
        let code = sender.code();
        let receiver = match way {
            0 => {
                fs::write(bob.path("code"), format!("{code}\n")).unwrap();
                bob.run(["receive", "--yes", "-o", "out", "--code-file", "code"])
            }
            1 => {
                bob = bob.with_env("RDV_CODE", &code);
                bob.run(["receive", "--yes", "-o", "out"])
            }
            _ => bob.run_with_input(["receive", "--yes", "-o", "out"], &format!("{code}\n")),
        };
        receiver.finish().expect_code(0);
        sender.finish().expect_code(0);
        assert!(bob.path("out/a").exists());
    }
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let expected = [
        ("rename", 0, "mine"),
        ("skip", 0, "mine"),
        ("fail", 8, "mine"),
        ("overwrite", 0, "this is a\n"),
    ];
    for (what, exit, content) in expected {
        let (alice, bob) = (person(), person());
        small_file(&alice, "a");
        fs::create_dir(bob.path("out")).unwrap();
        fs::write(bob.path("out/a"), "mine").unwrap();
        let mut sender = alice.run(["send", "a"]);
        let code = sender.code();
        let received = bob
            .run(["receive", &code, "--yes", "--if-exists", what, "-o", "out"])
            .finish();
        let received = received.expect_code(exit);
        let sent = sender.finish();
        assert_eq!(sent.code == Some(0), exit == 0, "{what}: {sent:?}");
        assert_eq!(
            fs::read_to_string(bob.path("out/a")).unwrap(),
            content,
            "{what}: {received:?}"
        );
        let names: Vec<_> = tree(&bob.path("out"))
            .into_keys()
            .map(|path| path.display().to_string())
            .collect();
        if what == "rename" {
            assert_eq!(names, ["a", "a (1)"]);
            assert_eq!(
                fs::read_to_string(bob.path("out/a (1)")).unwrap(),
                "this is a\n"
            );
        } else {
            assert_eq!(names, ["a"], "{what}");
        }
    }
}

#[test]
fn execute_bits_stay_behind_unless_kept() {
    use std::os::unix::fs::PermissionsExt;
    let (alice, bob) = (person(), person());
    let script = small_file(&alice, "run.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4755)).unwrap();
    let mut sender = alice.run(["send", "run.sh"]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes"]).finish().expect_code(0);
    sender.finish().expect_code(0);
    let mode = fs::metadata(bob.path("run.sh"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7111, 0, "no execute bit, no setuid: {mode:o}");
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn links_inside_a_folder_are_not_followed() {
    let (alice, bob) = (person(), person());
    fs::create_dir(alice.path("folder")).unwrap();
    small_file(&alice, "folder/a");
    small_file(&alice, "secret");
    std::os::unix::fs::symlink(alice.path("secret"), alice.path("folder/link")).unwrap();
    let mut sender = alice.run(["send", "folder"]);
    let code = sender.code();
    bob.run(["receive", &code, "--yes"]).finish().expect_code(0);
    sender.finish().expect_code(0);
    let arrived: Tree = tree(&bob.path("folder"));
    assert_eq!(
        arrived
            .keys()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>(),
        ["a"]
    );
}
