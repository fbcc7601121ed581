//! Services' addresses and node ports.
//!
//! An address is an `IPAddress` object made in the same commit as the service, so two servers cannot give it twice. Node
//! ports are found free in the cache while this server gives one at a time.
//!
//! Source: `pkg/registry/core/service/storage/alloc.go`, `pkg/registry/core/service/ipallocator`.

use super::{Registry, encode};
use api::errors::{FieldErrors, Path};
use api::{Status, Value, f, value::object};
use std::net::Ipv4Addr;
use store::Change;

const ADDRESS_PREFIX: &str = "/registry/ipaddresses";

fn wants_address(spec: &Value) -> bool {
    spec.at(f::type_).str() != "ExternalName" && spec.at(f::clusterIP).str() != "None"
}

fn wants_ports(spec: &Value) -> bool {
    match spec.at(f::type_).str() {
        "NodePort" => true,
        "LoadBalancer" => !matches!(spec.at(f::allocateLoadBalancerNodePorts), Value::Bool(false)),
        _ => false,
    }
}

impl Registry {
    /// Gives a service what it needs; answers the changes that go into its commit.
    pub(crate) fn allocate(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        _dry_run: bool,
    ) -> Result<Vec<Change>, Status> {
        let old_spec = old.map(|o| o.at(f::spec).clone()).unwrap_or_default();
        if old.is_some()
            && wants_address(&old_spec)
            && service.at(f::spec).at(f::clusterIP).str().is_empty()
            && wants_address(service.at(f::spec))
        {
            let spec = service.entry(f::spec);
            for key in [f::clusterIP, f::clusterIPs] {
                spec.set(key, old_spec.at(key).clone());
            }
        }
        if old.is_some() {
            for key in [f::ipFamilies, f::ipFamilyPolicy] {
                if !service.at(f::spec).has(key) && old_spec.has(key) {
                    service.entry(f::spec).set(key, old_spec.at(key).clone());
                }
            }
        }
        let mut changes = Vec::new();
        self.families(service);
        let name = service.at(f::metadata).at(f::name).str().to_string();
        let namespace = service.at(f::metadata).at(f::namespace).str().to_string();
        let had = old_spec.at(f::clusterIP).str().to_string();
        let spec = service.entry(f::spec);
        if wants_address(spec) {
            let asked = spec.at(f::clusterIP).str().to_string();
            if asked.is_empty() || asked != had {
                let ip = self.address(&asked, &name)?;
                spec.set(f::clusterIP, ip.to_string());
                spec.set(f::clusterIPs, vec![ip.to_string().into()]);
                changes.push(self.address_object(ip, &namespace, &name));
            } else if spec.at(f::clusterIPs).is_zero() {
                spec.set(f::clusterIPs, vec![asked.into()]);
            }
        } else if spec.at(f::clusterIP).str() == "None" {
            spec.set(f::clusterIPs, vec!["None".into()]);
        } else {
            for key in [f::clusterIP, f::clusterIPs, f::ipFamilies, f::ipFamilyPolicy] {
                spec.remove(key);
            }
            if !had.is_empty() && had != "None" {
                changes.push(Change::delete(format!("{ADDRESS_PREFIX}/{had}")));
            }
        }
        self.node_ports(service, &old_spec)?;
        Ok(changes)
    }

    fn families(&self, service: &mut Value) {
        let spec = service.entry(f::spec);
        if spec.at(f::type_).str() == "ExternalName" {
            return;
        }
        let bare = spec.at(f::clusterIP).str() == "None" && spec.at(f::selector).is_zero();
        if spec.at(f::ipFamilies).is_zero() {
            let mut families = vec![Value::from("IPv4")];
            if bare && !spec.has(f::ipFamilyPolicy) {
                families.push("IPv6".into());
            }
            spec.set(f::ipFamilies, families);
        }
        if !spec.has(f::ipFamilyPolicy) {
            spec.set(f::ipFamilyPolicy, if bare { "RequireDualStack" } else { "SingleStack" });
        }
    }

    fn address(&self, asked: &str, name: &str) -> Result<Ipv4Addr, Status> {
        let (network, bits) = self.settings.service_cidr;
        let size = 1_u64 << (32 - u32::from(bits.min(32)));
        let base = u64::from(u32::from(network));
        let taken = |ip: Ipv4Addr| {
            self.cache_of("networking.k8s.io", "ipaddresses")
                .is_some_and(|c| c.get(&format!("{ADDRESS_PREFIX}/{ip}")).is_some())
        };
        let invalid = |detail: String| {
            let mut errs = FieldErrors::new();
            let root = Path::Root;
            let spec = root.child("spec");
            let list = spec.child("clusterIPs");
            let shown = Value::List(vec![asked.into()]);
            errs.invalid(&list, &shown, detail);
            Status::invalid("", "Service", name, &errs)
        };
        if !asked.is_empty() {
            let ip: Ipv4Addr = asked
                .parse()
                .map_err(|_| invalid(format!("failed to allocate IP {asked}: the provided IP is not valid")))?;
            let offset = u64::from(u32::from(ip)).wrapping_sub(base);
            if offset == 0 || offset >= size - 1 {
                return Err(invalid(format!(
                    "failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of valid IPs is {network}/{bits}"
                )));
            }
            return if taken(ip) {
                Err(invalid(format!("failed to allocate IP {asked}: provided IP is already allocated")))
            } else {
                Ok(ip)
            };
        }
        // The lower part of the range is left to those who choose their address themselves.
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        let span = size.saturating_sub(reserved + 1).max(1);
        let first = self.random(span);
        let upper = (0..span).map(|i| reserved + (first + i) % span);
        let ip = upper.chain(1..reserved).map(|o| Ipv4Addr::from((base + o) as u32)).find(|ip| !taken(*ip));
        ip.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
    }

    fn address_object(&self, ip: Ipv4Addr, namespace: &str, name: &str) -> Change {
        let r = kinds::by_path("networking.k8s.io", "v1", "ipaddresses")
            .unwrap_or_else(|| unreachable!("ipaddresses are in the table"));
        let parent = object([("resource", "services".into()), ("namespace", namespace.into()), ("name", name.into())]);
        let labels = object([
            ("ipaddress.kubernetes.io/ip-family", "IPv4".into()),
            ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io".into()),
        ]);
        let mut v = object([("spec", object([("parentRef", parent)]))]);
        let m = v.entry(f::metadata);
        for (key, value) in [
            (f::name, Value::from(ip.to_string())),
            (f::uid, self.uuid().into()),
            (f::creationTimestamp, self.now().into()),
            (f::labels, labels),
        ] {
            m.set(key, value);
        }
        let (text, rv_at) = encode::store_text(&mut v, r);
        Change::put(format!("{ADDRESS_PREFIX}/{ip}"), text, rv_at)
    }

    /// What goes with a service that is removed.
    pub(crate) fn release(&self, service: &Value) -> Vec<Change> {
        let ip = service.at(f::spec).at(f::clusterIP).str();
        let key = format!("{ADDRESS_PREFIX}/{ip}");
        let exists = self.cache_of("networking.k8s.io", "ipaddresses").is_some_and(|c| c.get(&key).is_some());
        if exists { vec![Change::delete(key)] } else { Vec::new() }
    }

    /// Node ports of all other services, with their protocols.
    fn taken_ports(&self, namespace: &str, name: &str) -> Vec<(i64, String)> {
        let mut taken: Vec<(i64, String)> = Vec::new();
        for s in self.all("", "services", "") {
            let m = s.at(f::metadata);
            if m.at(f::name).str() == name && m.at(f::namespace).str() == namespace {
                continue;
            }
            taken.extend(
                s.at(f::spec)
                    .at(f::ports)
                    .items()
                    .iter()
                    .map(|p| (p.at(f::nodePort).int(), p.at(f::protocol).str().to_string())),
            );
            taken.push((s.at(f::spec).at(f::healthCheckNodePort).int(), "TCP".into()));
        }
        taken
    }

    fn node_ports(&self, service: &mut Value, old: &Value) -> Result<(), Status> {
        let name = service.at(f::metadata).at(f::name).str().to_string();
        let namespace = service.at(f::metadata).at(f::namespace).str().to_string();
        let spec = service.entry(f::spec);
        let wants = wants_ports(spec);
        let automatic = !wants && spec.at(f::type_).str() == "ClusterIP";
        let mut taken = if wants { self.taken_ports(&namespace, &name) } else { Vec::new() };
        let (first, last) = (i64::from(self.settings.node_ports.0), i64::from(self.settings.node_ports.1));
        let old_ports = old.at(f::ports).items();
        for (i, p) in spec.get_mut(f::ports).and_then(Value::as_list_mut).into_iter().flatten().enumerate() {
            let protocol = p.at(f::protocol).str().to_string();
            let asked = p.at(f::nodePort).int();
            if !wants {
                if automatic && asked != 0 {
                    p.remove(f::nodePort);
                }
                continue;
            }
            let kept = old_ports
                .iter()
                .find(|o| o.at(f::port) == p.at(f::port) && o.at(f::protocol) == p.at(f::protocol))
                .map_or(0, |o| o.at(f::nodePort).int());
            let chosen = if asked != 0 { asked } else { kept };
            if chosen != 0 {
                let refuse = |detail: String| {
                    let mut errs = FieldErrors::new();
                    let root = Path::Root;
                    let spec = root.child("spec");
                    let ports = spec.child("ports");
                    let at = ports.index(i);
                    errs.invalid(&at.child("nodePort"), chosen, detail);
                    Status::invalid("", "Service", &name, &errs)
                };
                if chosen != kept && !(first..=last).contains(&chosen) {
                    return Err(refuse(format!(
                        "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                    )));
                }
                if taken.contains(&(chosen, protocol.clone())) {
                    return Err(refuse("provided port is already allocated".into()));
                }
                p.set(f::nodePort, chosen);
                taken.push((chosen, protocol));
                continue;
            }
            // One number for all protocols of a port, from the part that is not left to those who choose themselves.
            let span = (last - first + 1) as u64;
            let reserved = (span / 32).clamp(16, 128).min(span / 2);
            let start = self.random(span - reserved);
            let free = (0..span - reserved)
                .map(|n| first + (reserved + (start + n) % (span - reserved)) as i64)
                .find(|n| !taken.iter().any(|(t, _)| t == n));
            let Some(port) = free.or_else(|| (first..=last).find(|n| !taken.iter().any(|(t, _)| t == n))) else {
                return Err(Status::internal("failed to allocate a nodePort: range is full"));
            };
            p.set(f::nodePort, port);
            taken.push((port, protocol));
        }
        Ok(())
    }
}
