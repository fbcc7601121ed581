//! What names mean, as a table.

use super::*;
use serde_json::json;

fn index() -> Index {
    let mut index = Index::new("cluster.local");
    let services = [
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}),
        json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}}),
        json!({"metadata": {"name": "empty", "namespace": "default"}, "spec": {"clusterIP": "None"}}),
        json!({"metadata": {"name": "out", "namespace": "other"}, "spec": {"type": "ExternalName", "externalName": "example.org."}}),
    ];
    for service in services {
        let service: Service = serde_json::from_value(service).unwrap();
        index.set_service(&service.metadata.namespace.clone(), &service.metadata.name.clone(), Some(&service));
    }
    let slice = json!({"metadata": {"name": "db-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}},
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.0.5"], "hostname": "db-0"}, {"addresses": ["10.244.0.6"]},
            {"addresses": ["10.244.0.9"], "conditions": {"ready": false}}]});
    index.set_slice("default", "db-1", Some(serde_json::from_value(slice).unwrap()));
    index
}

fn ask(index: &Index, name: &str, kind: Kind) -> String {
    let labels: Vec<String> = name.split('.').map(String::from).collect();
    match index.find(&labels, kind) {
        Found::Elsewhere => "elsewhere".into(),
        Found::NoName => "nxdomain".into(),
        Found::NoData => "nodata".into(),
        Found::Records(records, extra) => {
            let mut text: Vec<String> = records
                .iter()
                .map(|r| match r {
                    Data::Address(a) => a.to_string(),
                    Data::Alias(n) => format!("={n}"),
                    Data::Service { weight, port, target } => {
                        format!("{weight}:{port}:{}", target.trim_end_matches(".svc.cluster.local"))
                    }
                    Data::Pointer(n) | Data::Text(n) | Data::NameServer(n) => n.clone(),
                    Data::Authority => "soa".into(),
                })
                .collect();
            text.extend(extra.iter().map(|(_, a)| format!("+{a}")));
            text.join(" ")
        }
    }
}

#[test]
fn names() {
    let index = index();
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local", Kind::A, "10.96.0.7"),
        ("web.default.svc.cluster.local", Kind::Aaaa, "fd00::7"),
        ("web.default.svc.cluster.local", Kind::Txt, "nodata"),
        ("web.default.svc.cluster.local", Kind::Srv, "50:80:web.default 50:53:web.default +10.96.0.7 +fd00::7"),
        ("_http._tcp.web.default.svc.cluster.local", Kind::Srv, "100:80:web.default +10.96.0.7 +fd00::7"),
        ("_http._tcp.web.default.svc.cluster.local", Kind::A, "nodata"),
        ("_http._udp.web.default.svc.cluster.local", Kind::Srv, "nxdomain"),
        ("_tcp.web.default.svc.cluster.local", Kind::A, "nodata"),
        ("db.default.svc.cluster.local", Kind::A, "10.244.0.5 10.244.0.6"),
        ("db.default.svc.cluster.local", Kind::Aaaa, "nodata"),
        ("db-0.db.default.svc.cluster.local", Kind::A, "10.244.0.5"),
        ("10-244-0-6.db.default.svc.cluster.local", Kind::A, "10.244.0.6"),
        ("10-244-0-9.db.default.svc.cluster.local", Kind::A, "nxdomain"),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            Kind::Srv,
            "50:5432:db-0.db.default 50:5432:10-244-0-6.db.default +10.244.0.5 +10.244.0.6",
        ),
        ("empty.default.svc.cluster.local", Kind::A, "nxdomain"),
        ("out.other.svc.cluster.local", Kind::A, "=example.org"),
        ("10-244-0-5.default.pod.cluster.local", Kind::A, "10.244.0.5"),
        ("x.default.pod.cluster.local", Kind::A, "nxdomain"),
        ("default.svc.cluster.local", Kind::A, "nodata"),
        ("nowhere.svc.cluster.local", Kind::A, "nxdomain"),
        ("svc.cluster.local", Kind::A, "nodata"),
        ("cluster.local", Kind::Soa, "soa"),
        ("cluster.local", Kind::A, "nodata"),
        ("dns-version.cluster.local", Kind::Txt, "1.1.0"),
        ("example.org.cluster.local", Kind::A, "nxdomain"),
        ("7.0.96.10.in-addr.arpa", Kind::Ptr, "web.default.svc.cluster.local"),
        ("5.0.244.10.in-addr.arpa", Kind::Ptr, "db-0.db.default.svc.cluster.local"),
        ("8.8.8.8.in-addr.arpa", Kind::Ptr, "elsewhere"),
        ("example.org", Kind::A, "elsewhere"),
    ] {
        assert_eq!(ask(&index, name, kind), expected, "{name} {kind:?}");
    }
}

#[test]
fn what_goes_is_forgotten() {
    let mut index = index();
    index.set_slice("default", "db-1", None);
    assert_eq!(ask(&index, "db.default.svc.cluster.local", Kind::A), "nxdomain");
    assert_eq!(ask(&index, "5.0.244.10.in-addr.arpa", Kind::Ptr), "elsewhere");
    index.set_service("default", "web", None);
    assert_eq!(ask(&index, "7.0.96.10.in-addr.arpa", Kind::Ptr), "elsewhere");
    index.set_service("other", "out", None);
    assert_eq!(ask(&index, "other.svc.cluster.local", Kind::A), "nxdomain");
    assert_eq!(index.known().0.len(), 2);
}
