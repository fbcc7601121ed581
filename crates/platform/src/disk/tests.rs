//! Both disks keep the same promises; the simulated one breaks only what it may.
use super::*;
use std::sync::Arc;

async fn promises(disk: Arc<dyn Disk>) {
    let file = disk.open("a", true).await.expect("open");
    file.write(0, b"hello world".to_vec(), true).await.expect("write");
    assert_eq!(file.read(6, 100).await.expect("read"), b"world");
    file.truncate(5).await.expect("truncate");
    assert_eq!(file.len().await.expect("len"), 5);
    disk.rename("a", "b").await.expect("rename");
    disk.sync_dir().await.expect("sync");
    assert_eq!(disk.list().await.expect("list"), ["b"]);
    assert_eq!(disk.open("a", false).await.err().map(|e| e.kind), Some(DiskErrorKind::NotFound));
    let guard = disk.lock().await.expect("lock");
    assert_eq!(disk.lock().await.err().map(|e| e.kind), Some(DiskErrorKind::Locked));
    drop(guard);
    disk.remove("b").await.expect("remove");
    assert!(disk.lock().await.is_ok());
}

#[tokio::test]
async fn system() {
    let dir = std::env::temp_dir().join(format!("corten-disk-{}", std::process::id()));
    promises(Arc::new(SystemDisk::new(&dir).expect("make"))).await;
    std::fs::remove_dir_all(dir).expect("clean up");
}

#[tokio::test(start_paused = true)]
async fn simulated() {
    promises(Arc::new(SimDisk::new("d", 1, DiskFaults { latency_us: 100, ..DiskFaults::default() }))).await;
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_keeps_what_was_synced_and_tears_the_rest() {
    let mut torn = 0;
    for seed in 0..50 {
        let disk = SimDisk::new("d", seed, DiskFaults::default());
        let file = disk.open("a", true).await.expect("open");
        disk.sync_dir().await.expect("sync dir");
        file.write(0, vec![1; 1000], true).await.expect("write");
        file.write(1000, vec![2; 3000], false).await.expect("write");
        let _ = disk.open("new", true).await.expect("open");
        disk.power_cut();
        let file = disk.open("a", false).await.expect("the name was synced");
        let content = file.read(0, 9000).await.expect("read");
        assert!(content.len() >= 1000 && content[..1000].iter().all(|b| *b == 1));
        torn += usize::from(content.len() > 1000 && content[1000..].contains(&0));
    }
    assert!(torn > 5, "{torn}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_says_so() {
    let disk = SimDisk::new("d", 1, DiskFaults { capacity: 100, ..DiskFaults::default() });
    let file = disk.open("a", true).await.expect("open");
    assert_eq!(file.write(0, vec![1; 101], true).await.err().map(|e| e.kind), Some(DiskErrorKind::Full));
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_sync_lost_no_later_one_brings_back() {
    let disk = SimDisk::new("d", 1, DiskFaults::default());
    let file = disk.open("a", true).await.expect("open");
    disk.sync_dir().await.expect("sync dir");
    disk.set_faults(DiskFaults { sync_fails_percent: 100, ..DiskFaults::default() });
    assert!(file.write(0, vec![1; 600], true).await.is_err());
    disk.set_faults(DiskFaults::default());
    assert_eq!(file.read(0, 600).await.expect("read"), vec![1; 600], "it still reads as written");
    file.write(600, vec![2; 10], true).await.expect("write");
    disk.power_cut();
    let file = disk.open("a", false).await.expect("open");
    assert_eq!(file.read(0, 610).await.expect("read"), [vec![0; 600], vec![2; 10]].concat());
}
