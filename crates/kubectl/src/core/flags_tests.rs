//! Tests of flag syntax.

use super::*;

const FLAGS: &[Flag] = &[
    short("stdin", 'i', Takes::Bool, "", ""),
    short("tty", 't', Takes::Bool, "", ""),
    short("namespace", 'n', Takes::Text, "", ""),
    short("filename", 'f', Takes::List, "", ""),
    flag("tail", Takes::Text, "-1", ""),
    flag("dry-run", Takes::Optional("unchanged"), "none", ""),
];

fn parsed(line: &str) -> Result<Given, String> {
    parse(&line.split(' ').map(String::from).collect::<Vec<_>>(), &[FLAGS])
}

#[test]
fn forms() {
    let given = parsed("pod/a -it -nkube --filename=a,b -f c x --tail 5 --dry-run -- sh -c -i").unwrap();
    assert_eq!(given.args, ["pod/a", "x", "sh", "-c", "-i"]);
    assert_eq!(given.dash, Some(2));
    assert!(given.on("stdin") && given.on("tty"));
    assert_eq!((given.text("namespace"), given.int("tail"), given.text("dry-run")), ("kube", 5, "unchanged"));
    assert_eq!(given.list("filename"), ["a", "b", "c"]);
    assert_eq!(parsed("x").unwrap().int("tail"), -1);
    assert!(!parsed("--stdin=false").unwrap().on("stdin"));
    assert_eq!(parsed("-n=x").unwrap().text("namespace"), "x");
    assert_eq!(parsed("-f -").unwrap().list("filename"), ["-"]);
}

#[test]
fn complaints() {
    for (line, expected) in [
        ("--foo", "unknown flag: --foo"),
        ("-ix", "unknown shorthand flag: 'x' in -ix"),
        ("--namespace", "flag needs an argument: --namespace"),
        ("-n", "flag needs an argument: 'n' in -n"),
        ("--tail=x", "invalid argument \"x\" for \"--tail\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("--tty=x", "invalid argument \"x\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"x\": invalid syntax"),
    ] {
        assert_eq!(parsed(line).unwrap_err(), expected);
    }
}
