//! Detection and conversions; limits are tested as root (tests/root.rs).

use super::*;

#[test]
fn detects_layouts() {
    let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
        cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    let found = Cgroups::from_mounts(hybrid);
    assert!(!found.is_v2());
    assert_eq!(found.v1["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    assert_eq!(found.directories("/a/b").len(), 4);
    let pure = Cgroups::from_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
    assert!(pure.is_v2());
    assert_eq!(pure.directories("/a"), [Path::new("/sys/fs/cgroup/a")]);
}

#[test]
fn converts_shares() {
    for (shares, weight) in [(0, 0), (2, 1), (1024, 39), (262_144, 10_000), (1, 1)] {
        assert_eq!(shares_to_weight(shares), weight, "{shares}");
    }
}
