//! What files are called: F-1, F-2, T-12, L-23.

use super::*;

#[test]
fn l_23_a_single_file_goes_by_the_name_that_was_accepted() {
    for parts in [
        &["fox.txt"][..],
        &["some", "folder", "fox.txt"],
        &["FOX.TXT"],
        &["..", "fox.txt "],
    ] {
        let mut receiver = OftReceive::new(terms());
        assert_eq!(
            offered(&mut receiver, &named(parts)).path.as_str(),
            "fox.txt",
            "{parts:?}"
        );
    }
    let mut receiver = OftReceive::new(ReceiveTerms {
        name: "a/b\\c:d.txt".into(),
        ..terms()
    });
    assert_eq!(
        offered(&mut receiver, &named(&["a/b\\c:d.txt"]))
            .path
            .as_str(),
        "a_b_c_d.txt"
    );
}

#[test]
fn s_13_another_file_than_the_accepted_one_closes() {
    for parts in [&["evil.exe"][..], &["fox.txt", "evil.exe"], &["fox"], &[]] {
        assert_eq!(
            OftReceive::new(terms()).handle(&named(parts)),
            Err(OftFault::AnotherFile),
            "{parts:?}"
        );
    }
    let long = "n".repeat(100) + ".txt";
    let mut receiver = OftReceive::new(ReceiveTerms {
        name: long.clone(),
        ..terms()
    });
    let cut = named(&[&long[..63]]);
    assert_eq!(
        offered(&mut receiver, &cut).path.as_str(),
        long,
        "a name that was cut to fit"
    );
}

#[test]
fn a_folder_is_the_one_of_the_proposal_whether_headers_repeat_it_or_not() {
    for (parts, expected) in [
        (&["photos", "fox.txt"][..], "photos/fox.txt"),
        (&["fox.txt"], "photos/fox.txt"),
        (&["Photos", "fox.txt"], "photos/fox.txt"),
        (&["photos", "photos", "fox.txt"], "photos/photos/fox.txt"),
        (&["photos"], "photos/photos"),
        (&["new", "fox.txt"], "photos/new/fox.txt"),
        (&["..", "..", "fox.txt"], "photos/fox.txt"),
        (&["/etc/passwd"], "photos/_etc_passwd"),
        (&[], "photos/unnamed"),
    ] {
        let mut receiver = OftReceive::new(of_folder(1, 43));
        assert_eq!(
            offered(&mut receiver, &named(parts)).path.as_str(),
            expected,
            "{parts:?}"
        );
    }
}

#[test]
fn f_2_the_later_of_two_names_that_are_one_gets_a_number() {
    let mut receiver = OftReceive::new(of_folder(9, 43 * 9));
    let cases: [(&[&str], &str); 9] = [
        (&["a.txt"], "photos/a.txt"),
        (&["A.TXT"], "photos/A (1).TXT"),
        (&["a.txt"], "photos/a (2).txt"),
        (&["d"], "photos/d"),
        (&["d", "x"], "photos/d (1)/x"),
        (&["d", "y"], "photos/d (1)/y"),
        (&["e", "x"], "photos/e/x"),
        (&["e"], "photos/e (1)"),
        (&["E", "X"], "photos/E/X (1)"),
    ];
    for (index, (parts, expected)) in cases.into_iter().enumerate() {
        let left = u16::try_from(9 - index).unwrap();
        let prompt = Header {
            total_files: 9,
            files_left: left,
            total_size: 43 * 9,
            ..named(parts)
        };
        assert_eq!(offered(&mut receiver, &prompt).path.as_str(), expected);
        receiver.have_it();
    }
}

#[test]
fn t_12_names_are_cleaned_before_anybody_uses_them() {
    for (parts, expected) in [
        (&["a", "b"][..], "a/b"),
        (&["", "a", ""], "a"),
        (&[".", "..", "..."], "unnamed"),
        (&[], "unnamed"),
        (&["a/b\\c:d"], "a_b_c_d"),
        (&["<>\"|?*"], "______"),
        (&["a\0b\u{1b}\u{7f}\u{85}"], "a_b___"),
        (&["a\u{2028}b\u{200B}c\u{E0041}"], "a_b_c_"),
        (&["exe.\u{202E}txt\u{2066}\u{200F}"], "exe.txt"),
        (&["a. . "], "a"),
        (&["\u{202E}. "], "unnamed"),
        (&["CON", "nul.txt", "Com1.a.b"], "_CON/_nul.txt/_Com1.a.b"),
        (&["con\u{202E}"], "_con"),
        (&["e\u{301}"], "é"),
        (&[".x.rdv-part", "x.RDV-PART"], ".x_rdv-part/x_RDV-PART"),
        (&["C:\\x"], "C__x"),
        (&["~", "-rf", ".bashrc"], "~/-rf/.bashrc"),
    ] {
        let path = clean_path(parts);
        assert_eq!(path.as_str(), expected, "{parts:?}");
        assert_eq!(clean_path(path.parts()), path);
    }
}

#[test]
fn f_1_names_are_cut_to_the_limits() {
    let long = "é".repeat(200) + ".tar.gz";
    let path = clean_path([&long]);
    assert_eq!(
        path.as_str(),
        "é".repeat(126) + ".gz",
        "255 bytes with the extension"
    );
    assert_eq!(clean_path(["x".repeat(300)]).as_str().len(), 255);
    let deep: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let path = clean_path(&deep);
    assert_eq!(
        (path.parts().count(), path.top(), path.file_name()),
        (32, "0", "39")
    );
    let wide = vec!["w".repeat(250); 30];
    let path = clean_path(&wide);
    assert!(path.as_str().len() <= 4_096 && path.parts().count() == 16);
    let dotted = "x".repeat(254) + ". y";
    assert_eq!(clean_path([&dotted]).as_str(), "x".repeat(252) + ". y");
}

#[test]
fn the_question_shows_the_name_that_the_file_gets() {
    assert_eq!(proposed_name("photos\\*", true).as_str(), "photos");
    assert_eq!(proposed_name("photos", true).as_str(), "photos");
    assert_eq!(proposed_name("photos\\*", false).as_str(), "photos__");
    assert_eq!(proposed_name("a\u{1}b.txt", false).as_str(), "b.txt");
    assert_eq!(proposed_name("\\*", true).as_str(), "unnamed");
    assert_eq!(proposed_name("../../x", false).as_str(), ".._.._x");
}

#[test]
fn a_name_that_one_of_the_two_character_sets_cannot_say_is_the_same() {
    let heard = |proposed: &str, named: &str| {
        let name = proposed.to_owned();
        let mut receiver = OftReceive::new(ReceiveTerms { name, ..terms() });
        let heard = receiver.handle(&super::named(&[named]));
        match heard {
            Ok(ReceivedEvent::Offered(incoming)) => Some(incoming.path.as_str().to_owned()),
            _ => None,
        }
    };
    for (proposed, named) in [
        ("日本.bin", "????.bin"),
        ("na?ve.txt", "naïve.txt"),
        ("na\u{FFFD}ve.txt", "naïve.txt"),
    ] {
        let saved = clean_path([proposed]).as_str().to_owned();
        assert_eq!(heard(proposed, named), Some(saved), "{proposed:?}");
    }
    for (proposed, named) in [
        ("日本.bin", "????.exe"),
        ("日本", "файл"),
        ("naive.txt", "nave.txt"),
    ] {
        assert_eq!(heard(proposed, named), None, "{proposed:?}");
    }
}
