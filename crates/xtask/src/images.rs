//! Test images, each a `docker save` archive with one layer: Debian's busybox-static, and our small web server.

use crate::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the image with a shell and its tools.
pub const BUSYBOX: &str = "corten.test/busybox:1";
/// The name of the image with nothing but the web server of `bin/web.rs`.
pub const WEB: &str = "corten.test/web:1";

/// Makes the archive of [`BUSYBOX`] in `dir`.
pub fn busybox(dir: &Path) -> Result<PathBuf, String> {
    archive(&dir.join("busybox.tar"), BUSYBOX, "busybox", Path::new("/bin/busybox"), r#"["sh"]"#)
}

/// Makes the archive of [`WEB`] in `dir`.
pub fn web(dir: &Path) -> Result<PathBuf, String> {
    let binary = run::built(&["--package", "xtask", "--bin", "web"])?;
    archive(&dir.join("web.tar"), WEB, "web", &binary, r#"["/bin/web"]"#)
}

/// An archive with one program in `/bin`, under its own name and those that `--list` of busybox gives.
fn archive(out: &Path, name: &str, program: &str, binary: &Path, command: &str) -> Result<PathBuf, String> {
    let script = r#"
import hashlib, io, json, os, sys, tarfile
out, name, program, binary, command = sys.argv[1:]
def add(t, path, data=b"", kind=tarfile.REGTYPE, mode=0o755, link=""):
    i = tarfile.TarInfo(path); i.type = kind; i.mode = mode; i.size = len(data); i.linkname = link
    t.addfile(i, io.BytesIO(data) if data else None)
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as t:
    for d in ["bin", "etc", "tmp", "root", "var", "var/run", "www", "dev", "proc", "sys"]:
        add(t, d, kind=tarfile.DIRTYPE)
    add(t, "bin/" + program, open(binary, "rb").read())
    if program == "busybox":
        for applet in os.popen(binary + " --list").read().split():
            if applet != "busybox":
                add(t, "bin/" + applet, kind=tarfile.SYMTYPE, link="/bin/busybox")
    add(t, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", mode=0o644)
    add(t, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
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
    run::output(Command::new("python3").arg("-c").arg(script).arg(out).args([name, program]).arg(binary).arg(command))?;
    Ok(out.to_path_buf())
}
