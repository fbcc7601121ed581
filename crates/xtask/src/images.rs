//! Test images, made from Debian's busybox-static: a `docker save` archive with one layer.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The image's name.
pub const BUSYBOX: &str = "corten.test/busybox:1";

/// Makes the archive in `dir`.
pub fn busybox(dir: &Path) -> Result<PathBuf, String> {
    make(&dir.join("busybox.tar"), 0, r#"["sh"]"#)
}

/// The same with so many random bytes: a fresh image that takes a moment to pull.
pub fn with_ballast(dir: &Path, bytes: u64) -> Result<PathBuf, String> {
    make(&dir.join("ballast.tar"), bytes, r#"["sh"]"#)
}

/// The same with a command that goes on for ever, as the sandbox of other runtimes.
pub fn pause(dir: &Path) -> Result<PathBuf, String> {
    make(&dir.join("pause.tar"), 0, r#"["sleep", "2147483647"]"#)
}

fn make(archive: &Path, ballast: u64, command: &str) -> Result<PathBuf, String> {
    let script = r#"
import hashlib, io, json, os, sys, tarfile
out, name, ballast, command = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
def add(t, path, data=b"", kind=tarfile.REGTYPE, mode=0o755, link=""):
    i = tarfile.TarInfo(path); i.type = kind; i.mode = mode; i.size = len(data); i.linkname = link
    t.addfile(i, io.BytesIO(data) if data else None)
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as t:
    for d in ["bin", "etc", "tmp", "root", "var", "var/run", "www", "dev", "proc", "sys"]:
        add(t, d, kind=tarfile.DIRTYPE)
    add(t, "bin/busybox", open("/bin/busybox", "rb").read())
    for applet in os.popen("/bin/busybox --list").read().split():
        if applet != "busybox":
            add(t, "bin/" + applet, kind=tarfile.SYMTYPE, link="/bin/busybox")
    add(t, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", mode=0o644)
    add(t, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
    if ballast:
        add(t, "ballast", os.urandom(ballast), mode=0o644)
layer = layer.getvalue()
digest = hashlib.sha256(layer).hexdigest()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": command}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}).encode()
cid = hashlib.sha256(config).hexdigest()
with tarfile.open(out, "w") as t:
    add(t, cid + ".json", config, mode=0o644)
    add(t, digest + "/layer.tar", layer, mode=0o644)
    add(t, "manifest.json", json.dumps([{"Config": cid + ".json", "RepoTags": [name], "Layers": [digest + "/layer.tar"]}]).encode(), mode=0o644)
"#;
    crate::run::output(
        Command::new("python3").arg("-c").arg(script).arg(archive).arg(BUSYBOX).arg(ballast.to_string()).arg(command),
    )?;
    Ok(archive.to_path_buf())
}
