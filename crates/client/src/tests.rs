//! Tests of informers, the runner and HTTPS, over the API in memory and over a real TLS socket.
use super::*;
use crate::fake::FakeApi;
use platform::{Env, WallTime};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn env() -> Env {
    Env::simulated("test", 1, WallTime::from_unix(1_000, 0))
}

#[tokio::test(start_paused = true)]
async fn informers_follow_resume_and_relist() {
    let (env, api) = (env(), FakeApi::default());
    let client = Client::new(Arc::new(api.clone()), "test");
    for name in ["a", "b"] {
        client.create(&resources::PODS, "default", json!({"metadata": {"name": name}})).await.expect("create");
    }
    let pods: Informer<Partial> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    pods.index("name", |p| vec![p.metadata.name.clone()]);
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = changes.clone();
    pods.on_change(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    pods.synced().await;
    assert_eq!(pods.len(), 2);
    client.create(&resources::PODS, "other", json!({"metadata": {"name": "c"}})).await.expect("create");
    pods.until(|p| p.len() == 3).await;
    let b = At { resource: &resources::PODS, namespace: "default", name: "b" };
    client.delete(b, &DeleteOptions::default()).await.expect("delete");
    pods.until(|p| p.get("default", "b").is_none()).await;
    assert_eq!(
        (pods.in_namespace("default").len(), pods.by_index("name", "c").len(), pods.by_index("name", "b").len()),
        (1, 1, 0)
    );
    assert_eq!(changes.load(Ordering::SeqCst), 4);
}

struct Mirror {
    maps: Informer<Partial>,
    secrets: Informer<Partial>,
    runs: Arc<AtomicUsize>,
}

impl Controller for Mirror {
    const NAME: &'static str = "mirror";
    type Key = ObjectKey;
    type World = (Option<Arc<Partial>>, Option<Arc<Partial>>);
    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.maps, |change| vec![change.key()]);
        routes.on(&self.secrets, |change| vec![change.key()]);
    }
    fn gather(&self, key: &ObjectKey) -> Self::World {
        (self.maps.get_key(key), self.secrets.get_key(key))
    }
    fn plan(&self, key: &ObjectKey, world: &Self::World, _now: WallTime) -> Plan {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut plan = Plan::nothing();
        match world {
            // Not tolerant: a run on an old cache would fail here.
            (Some(_), None) => {
                plan.push(Op::create(&resources::SECRETS, &key.namespace, json!({"metadata": {"name": key.name}})))
            }
            (None, Some(secret)) => {
                plan.push(Op::delete(
                    Target::new(&resources::SECRETS, &key.namespace, &key.name),
                    &secret.metadata.uid,
                ));
            }
            _ => {}
        }
        plan
    }
}

#[tokio::test(start_paused = true)]
async fn the_runner_reads_its_own_writes() {
    let (env, api) = (env(), FakeApi::default());
    let client = Client::new(Arc::new(api.clone()), "test");
    let maps = Informer::start(&env, &client, Selection::metadata(&resources::CONFIGMAPS));
    let secrets = Informer::start(&env, &client, Selection::metadata(&resources::SECRETS));
    let recorder = Recorder::start(&env, &client, "test", "");
    let mirror = Mirror { maps, secrets: secrets.clone(), runs: Arc::default() };
    let running = run(&env, &client, &recorder, mirror, 3);
    for i in 0..20 {
        client
            .create(&resources::CONFIGMAPS, "default", json!({"metadata": {"name": format!("m{i}")}}))
            .await
            .expect("create");
    }
    secrets.until(|s| s.len() == 20).await;
    for i in 0..10 {
        let name = format!("m{i}");
        client
            .delete(
                At { resource: &resources::CONFIGMAPS, namespace: "default", name: &name },
                &DeleteOptions::default(),
            )
            .await
            .expect("delete");
    }
    secrets.until(|s| s.len() == 10).await;
    assert_eq!(running.counters.failures.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn events_are_told_once_and_counted() {
    let (env, api) = (env(), FakeApi::default());
    let client = Client::new(Arc::new(api.clone()), "test");
    let recorder = Recorder::start(&env, &client, "test", "");
    let pod = Regarding {
        kind: "Pod".into(),
        namespace: "default".into(),
        name: "a".into(),
        uid: "u".into(),
        ..Regarding::default()
    };
    for _ in 0..3 {
        recorder.normal(pod.clone(), "Pulled", "image is here");
    }
    let events: Informer<Event2> = Informer::start(&env, &client, Selection::all(&resources::EVENTS));
    events.until(|e| e.all().iter().any(|e| e.count == 3)).await;
    assert_eq!(events.len(), 1);
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Event2 {
    metadata: Meta,
    count: u64,
}

impl View for Event2 {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[tokio::test(start_paused = true)]
async fn one_leader_at_a_time() {
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api), "test");
    let (first, second) = (env(), env());
    let mut one = Candidate::new(&first, &client, Election::new("scheduler", "one"));
    let mut two = Candidate::new(&second, &client, Election::new("scheduler", "two"));
    one.acquire().await;
    let start = second.now();
    two.acquire().await; // one never renews
    assert!(start.elapsed() >= platform::time::Duration::from_secs(15));
    one.hold().await; // and finds out
    two.release().await.expect("release");
    one.acquire().await;
}

/// A TLS server with one list and one watch, over HTTP/2 with a client certificate.
async fn serve(env: &Env, http2: bool) -> (Config, u16) {
    let key = rcgen::KeyPair::generate().expect("key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()])
        .expect("params")
        .self_signed(&key)
        .expect("certificate");
    let chain = vec![certificate.der().clone()];
    let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut tls = builder.with_no_client_auth().with_single_cert(chain, der).expect("tls");
    tls.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let tasks = env.clone();
    drop(env.spawn("server", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            let io = hyper_util::rt::TokioIo::new(stream);
            let service = hyper::service::service_fn(respond);
            drop(tasks.spawn("connection", async move {
                if http2 {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            }));
        }
    }));
    let config = Config {
        server: format!("https://127.0.0.1:{port}"),
        tls_server_name: Some("localhost".into()),
        authorities: Some(certificate.pem().into_bytes()),
        token: Some("t0ken".into()),
        ..Config::default()
    };
    (config, port)
}

async fn respond(
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<String>, std::convert::Infallible> {
    let token = request.headers().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let body = match (token, request.uri().path(), request.uri().query().unwrap_or_default().contains("watch=true")) {
        ("Bearer t0ken", "/api/v1/pods", true) => concat!(
            r#"{"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"8"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#,
            "\n"
        )
        .to_string(),
        ("Bearer t0ken", "/api/v1/pods", false) => {
            json!({"metadata": {"resourceVersion": "7", "continue": ""}, "items": [{"metadata": {"name": "a"}}]})
                .to_string()
        }
        _ => {
            let mut refused =
                http::Response::new(json!({"reason": "Forbidden", "message": "no", "code": 403}).to_string());
            *refused.status_mut() = http::StatusCode::FORBIDDEN;
            return Ok(refused);
        }
    };
    Ok(http::Response::new(body))
}

#[tokio::test]
async fn https_lists_watches_and_is_refused() {
    use futures_util::StreamExt;
    for http2 in [true, false] {
        let env = Env::system("test");
        let (config, _) = serve(&env, http2).await;
        let https = Https::new(&env, config).expect("client");
        let client = Client::new(Arc::new(https), "test");
        let page = client.list(ListRequest::all(resources::PODS)).await.expect("list");
        assert_eq!((page.items.len(), page.revision, page.continue_token), (1, 7, None));
        let request = WatchRequest { resource: resources::PODS, after: 7, bookmarks: true, ..WatchRequest::default() };
        let mut events = client.watch(request).await.expect("watch");
        let added = events.next().await.expect("event").expect("event");
        assert_eq!((added.kind, added.revision), (EventKind::Added, 8));
        assert_eq!(events.next().await.expect("event").expect("event").kind, EventKind::Bookmark);
        let refused = client.list(ListRequest::all(resources::NODES)).await;
        assert_eq!(refused.as_ref().err().and_then(Error::reason), Some(&Reason::Forbidden), "{refused:?}");
        env.kill();
    }
}

#[test]
fn kubeconfigs_are_read() {
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster:\n    server: https://h:1\n    certificate-authority-data: aGk=\ncontexts:\n- name: c\n  context: {cluster: k, user: u, namespace: n}\nusers:\n- name: u\n  user: {token: t}\n";
    let config = Config::parse(text, std::path::Path::new("/x/config"), None).expect("config");
    assert_eq!(
        (config.server.as_str(), config.token.as_deref(), config.namespace.as_deref()),
        ("https://h:1", Some("t"), Some("n"))
    );
    assert_eq!(config.authorities.as_deref(), Some(&b"hi"[..]));
    let missing = Config::parse(text, std::path::Path::new("/x/config"), Some("d")).err().expect("an error");
    assert!(missing.to_string().contains("no context \"d\""));
}

#[test]
fn a_null_is_an_absent_member() {
    #[derive(serde::Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct V {
        endpoints: Vec<String>,
        name: String,
    }
    let v: V = crate::decode(br#"{"endpoints":null,"name":"a"}"#).expect("decodes");
    assert_eq!((v.endpoints.len(), v.name.as_str()), (0, "a"));
}
