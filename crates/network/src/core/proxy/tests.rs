//! Tests of the proxy core.
