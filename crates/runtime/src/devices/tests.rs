//! The v1 texts; the program runs in tests/root.rs.

use super::*;

#[test]
fn writes_v1_rules() {
    let texts: Vec<String> = defaults().iter().map(ToString::to_string).collect();
    assert!(texts.contains(&"c *:* m".to_string()));
    assert!(texts.contains(&"c 1:3 rwm".to_string()));
    assert!(texts.contains(&"c 136:* rwm".to_string()));
    assert_eq!(everything()[0].to_string(), "a");
}

#[test]
fn failing_tests_jump_behind_their_block() {
    for (i, (code, _, offset, _)) in program(&defaults()).iter().enumerate() {
        if *code == 0x55 {
            let target = i + 1 + *offset as usize;
            assert_eq!(program(&defaults())[target - 1].0, 0x95, "jump at {i} lands behind an exit");
        }
    }
}
