//! Test images, each a `docker save` archive with one layer: Debian's busybox-static, and in one of them our small web server.

use crate::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the image with a shell and its tools.
pub const BUSYBOX: &str = "corten.test/busybox:1";
/// The name of the image that also has the web server of `bin/web.rs`, which it runs.
pub const WEB: &str = "corten.test/web:1";

/// Makes the archive of [`BUSYBOX`] in `dir`.
pub fn busybox(dir: &Path) -> Result<PathBuf, String> {
    Image::default().archive(&dir.join("busybox.tar"))
}

/// The same with so many random bytes: a fresh image that takes a moment to pull.
pub fn with_ballast(dir: &Path, bytes: u64) -> Result<PathBuf, String> {
    Image { ballast: bytes, ..Image::default() }.archive(&dir.join("ballast.tar"))
}

/// The same with a command that goes on for ever, as the sandbox of other runtimes.
pub fn pause(dir: &Path) -> Result<PathBuf, String> {
    Image { command: r#"["sleep", "2147483647"]"#, ..Image::default() }.archive(&dir.join("pause.tar"))
}

/// Makes the archive of [`WEB`] in `dir`.
pub fn web(dir: &Path) -> Result<PathBuf, String> {
    let server = run::built(&["--package", "xtask", "--bin", "web"])?;
    Image { name: WEB, command: r#"["/bin/web"]"#, server: Some(server), ..Image::default() }
        .archive(&dir.join("web.tar"))
}

/// What is in an image besides busybox.
struct Image {
    name: &'static str,
    /// As JSON.
    command: &'static str,
    /// The web server's binary.
    server: Option<PathBuf>,
    /// Number of random bytes.
    ballast: u64,
}

impl Default for Image {
    fn default() -> Image {
        Image { name: BUSYBOX, command: r#"["sh"]"#, server: None, ballast: 0 }
    }
}

impl Image {
    fn archive(&self, out: &Path) -> Result<PathBuf, String> {
        let script = r#"
import hashlib, io, json, os, sys, tarfile
out, name, command, server, ballast = sys.argv[1:]
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
    if server:
        add(t, "bin/web", open(server, "rb").read())
    if int(ballast):
        add(t, "ballast", os.urandom(int(ballast)), mode=0o644)
layer = layer.getvalue()
digest = hashlib.sha256(layer).hexdigest()
config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": json.loads(command)}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}
config = json.dumps(config).encode()
cid = hashlib.sha256(config).hexdigest()
with tarfile.open(out, "w") as t:
    add(t, cid + ".json", config, mode=0o644)
    add(t, digest + "/layer.tar", layer, mode=0o644)
    add(t, "manifest.json", json.dumps([{"Config": cid + ".json", "RepoTags": [name], "Layers": [digest + "/layer.tar"]}]).encode(), mode=0o644)
"#;
        let server = self.server.as_ref().map(|s| s.display().to_string()).unwrap_or_default();
        let mut make = Command::new("python3");
        make.arg("-c").arg(script).arg(out).args([self.name, self.command, &server, &self.ballast.to_string()]);
        run::output(&mut make)?;
        Ok(out.to_path_buf())
    }
}
