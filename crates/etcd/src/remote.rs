//! The connection: calls with deadlines, another endpoint after a failure, and what each error means.
//!
//! The defaults of gRPC clients are not usable with etcd (api-findings §3): a dead peer must be noticed within seconds, so
//! HTTP/2 pings go out even when nothing else does, and every call has a deadline.

use crate::proto::{
    CompactionRequest, CompactionResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchRequest,
    WatchResponse,
};
use platform::EtcdLimits;
use platform::time::timeout;
use std::sync::{Mutex, PoisonError};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// How etcd is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `http://` or `https://` addresses of members.
    pub endpoints: Vec<String>,
    /// PEM of the authority of their certificates.
    pub authority: Option<Vec<u8>>,
    /// PEM of our certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A call that did not succeed.
#[derive(Debug)]
pub enum Failed {
    /// It had no effect; why.
    Refused(Code, String),
    /// Nobody knows whether it had one.
    Unknown(String),
}

impl Failed {
    /// The text for people.
    pub fn text(&self) -> &str {
        match self {
            Failed::Refused(_, text) | Failed::Unknown(text) => text,
        }
    }
}

/// The members of one etcd.
pub struct Remote {
    channels: Vec<Channel>,
    current: Mutex<usize>,
    /// How long things may take.
    pub limits: EtcdLimits,
}

impl Remote {
    /// Connects when first used.
    pub fn new(access: &Access, limits: EtcdLimits) -> Result<Remote, String> {
        if access.endpoints.is_empty() {
            return Err("no etcd endpoint is given".into());
        }
        let channels: Result<Vec<Channel>, String> =
            access.endpoints.iter().map(|e| channel(e, access, &limits)).collect();
        Ok(Remote { channels: channels?, current: Mutex::new(0), limits })
    }

    fn grpc(&self) -> (usize, Grpc<Channel>) {
        let current = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let grpc = Grpc::new(self.channels[current].clone());
        (current, grpc.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
    }

    /// The next call goes to another member, unless another call has said so already.
    fn leave(&self, failed: usize) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == failed {
            *current = (failed + 1) % self.channels.len();
        }
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failed>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let (member, mut grpc) = self.grpc();
        let work = async {
            grpc.ready()
                .await
                .map_err(|e| Failed::Refused(Code::Unavailable, format!("etcd cannot be reached: {e}")))?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(&status))
        };
        let result = timeout(self.limits.call, work)
            .await
            .unwrap_or_else(|_| Err(Failed::Unknown(format!("etcd did not answer within {:?}", self.limits.call))));
        if matches!(&result, Err(Failed::Unknown(_) | Failed::Refused(Code::Unavailable, _))) {
            self.leave(member);
        }
        result
    }

    /// Reads keys.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failed> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    /// Runs a transaction.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failed> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    /// Forgets old revisions.
    pub async fn compact(&self, request: CompactionRequest) -> Result<CompactionResponse, Failed> {
        self.call("/etcdserverpb.KV/Compact", request).await
    }

    /// Opens a watch stream: it ends with an error when the member has no leader.
    pub async fn watch(
        &self,
        requests: impl Stream<Item = WatchRequest> + Send + 'static,
    ) -> Result<Streaming<WatchResponse>, Failed> {
        let (member, mut grpc) = self.grpc();
        let work = async {
            grpc.ready()
                .await
                .map_err(|e| Failed::Refused(Code::Unavailable, format!("etcd cannot be reached: {e}")))?;
            let mut request = Request::new(requests);
            request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
            let codec: ProstCodec<WatchRequest, WatchResponse> = ProstCodec::default();
            let answer = grpc.streaming(request, PathAndQuery::from_static("/etcdserverpb.Watch/Watch"), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(&status))
        };
        let result = timeout(self.limits.call, work)
            .await
            .unwrap_or_else(|_| Err(Failed::Unknown("etcd did not open a watch in time".into())));
        if result.is_err() {
            self.leave(member);
        }
        result
    }

    /// The stream that just broke came from here: try another member.
    pub fn lost(&self) {
        let member = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.leave(member);
    }
}

fn failed(status: &Status) -> Failed {
    let text = format!("etcd: {}", status.message());
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::Aborted => Failed::Unknown(text),
        code => Failed::Refused(code, text),
    }
}

fn channel(address: &str, access: &Access, limits: &EtcdLimits) -> Result<Channel, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("etcd endpoint {address:?}: {e}");
    let mut endpoint = Endpoint::from_shared(address.to_string())
        .map_err(|e| wrong(&e))?
        .connect_timeout(limits.connect)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping)
        .keep_alive_while_idle(true);
    if address.starts_with("https://") {
        let mut tls = ClientTlsConfig::new();
        if let Some(pem) = &access.authority {
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        if let Some((certificate, key)) = &access.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        endpoint = endpoint.tls_config(tls).map_err(|e| wrong(&e))?;
    }
    Ok(endpoint.connect_lazy())
}
