//! A table of users.

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:100:101:web:/srv:/bin/false\n";
const GROUP: &str = "root:x:0:\nweb:x:101:\nlogs:x:200:web,other\n";

#[test]
fn resolves_users() {
    for (user, gid, strict, want) in [
        ("", None, false, (0, 0, vec![0, 7], "/root")),
        ("web", None, false, (100, 101, vec![101, 7, 200], "/srv")),
        ("100", None, false, (100, 101, vec![101, 7, 200], "/srv")),
        ("web", None, true, (100, 101, vec![101, 7], "/srv")),
        ("1234", None, false, (1234, 0, vec![0, 7], "/")),
        ("1234:logs", None, false, (1234, 200, vec![200, 7], "/")),
        ("1234:55", None, false, (1234, 55, vec![55, 7], "/")),
        ("web:root", Some(9), false, (100, 9, vec![9, 7, 200], "/srv")),
    ] {
        let spec = UserSpec { user: user.into(), gid, supplemental: vec![7], strict };
        let got = resolve(&spec, PASSWD, GROUP).expect(user);
        assert_eq!((got.uid, got.gid, got.groups, got.home.as_str()), want, "{user} {gid:?}");
    }
    let missing = UserSpec { user: "ghost".into(), ..Default::default() };
    assert!(resolve(&missing, PASSWD, GROUP).unwrap_err().contains("ghost"));
}
