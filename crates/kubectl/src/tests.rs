//! Tests of finding the command among the arguments.

use super::*;

fn found(line: &str) -> (String, String) {
    let args: Vec<String> = line.split(' ').map(String::from).collect();
    let (command, words, rest) = find(&args);
    (if command.is_some() { words.join(" ") } else { format!("?{}", words.join(" ")) }, rest.join(" "))
}

#[test]
fn commands_are_found() {
    for (line, words, rest) in [
        ("get pods", "get", "pods"),
        ("-n kube-system get pods -o wide", "get", "-n kube-system pods -o wide"),
        ("--namespace=a get pods", "get", "--namespace=a pods"),
        ("rollout status deployment/x", "rollout status", "deployment/x"),
        ("rollout -n x status deployment/x", "rollout status", "-n x deployment/x"),
        ("create deployment web --image=x", "create deployment", "web --image=x"),
        ("create -f x.yaml", "create", "-f x.yaml"),
        ("create deploy web", "create deploy", "web"),
        ("exec -it web -- get pods", "exec", "-it web -- get pods"),
        ("nope x", "?", "nope x"),
        ("rollout nope", "?rollout", "nope"),
    ] {
        assert_eq!(found(line), (words.to_string(), rest.to_string()), "{line}");
    }
}

#[test]
fn no_two_commands_share_a_name_and_no_two_flags_a_letter() {
    let mut names = std::collections::BTreeSet::new();
    for command in COMMANDS {
        command.names.iter().for_each(|n| assert!(names.insert(*n), "{n}"));
        let mut seen = std::collections::BTreeSet::new();
        for flag in GLOBAL.iter().chain(command.flags.iter().flat_map(|s| s.iter())) {
            assert!(seen.insert(flag.name.to_string()), "{}: --{}", command.names[0], flag.name);
            if flag.short != '\0' {
                assert!(seen.insert(format!("-{}", flag.short)), "{}: -{}", command.names[0], flag.short);
            }
        }
    }
}
