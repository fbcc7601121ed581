//! The way over HTTP without its sockets: requests as the server parses them, answers and watches as a client parses them. The
//! other transport beside `Local`: which component uses which follows from the seed.

use apiserver::{Server, User};
use bytes::Bytes;
use client::{BoxFuture, Error, ListPage, ListRequest, Transport, WatchRequest, WatchStream, parse_list, watch_lines};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use std::sync::Arc;

/// See the file's head.
#[derive(Clone)]
pub struct Wire {
    server: Arc<Server>,
    user: Arc<User>,
}

fn get(uri: &str) -> Result<http::Request<Bytes>, Error> {
    let request = http::Request::get(uri).header(http::header::ACCEPT, "application/json").body(Bytes::new());
    request.map_err(|e| Error::Config(format!("{uri}: {e}")))
}

impl Wire {
    /// For an authenticated user.
    pub fn new(server: Arc<Server>, user: User) -> Wire {
        Wire { server, user: Arc::new(user) }
    }
}

impl Transport for Wire {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Error>> {
        Box::pin(async move {
            let (parts, body) = self.server.handle(request, Some(&self.user)).await.into_parts();
            let bytes = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            Ok(http::Response::from_parts(parts, bytes))
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<ListPage, Error>> {
        Box::pin(async move {
            let response = self.call(get(&request.uri())?).await?;
            let (status, body) = (response.status(), response.into_body());
            if status.is_success() { parse_list(&body) } else { Err(Error::from_status(status.as_u16(), body)) }
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<WatchStream, Error>> {
        Box::pin(async move {
            let response = self.server.handle(get(&request.uri())?, Some(&self.user)).await;
            let status = response.status();
            if status.is_success() {
                let body = response.into_body().into_data_stream().map_err(|never| match never {});
                return Ok(watch_lines(body.boxed()));
            }
            let body = match response.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            Err(Error::from_status(status.as_u16(), body))
        })
    }
}
