//! How images travel: a client of container registries, usable on its own.
//!
//! [`Hosts`] says which hosts serve a registry (containerd's `hosts.toml`, docker's `certs.d`), [`Credentials`] who
//! we are there, and [`Repository`] resolves, fetches and pushes. It knows nothing of a content store: bytes come
//! out as streams and go in from them.

mod auth;
mod hosts;
mod http;
mod observer;
mod proxy;
mod reference;
mod registry;
mod tls;

pub use auth::{Anonymous, Answer, Credential, Credentials, DockerConfig, Fixed};
pub use hosts::{Capabilities, Host, Hosts, Tls};
pub use http::{Limits, install_crypto};
pub use observer::Observer;
pub use reference::Reference;
pub use registry::{Blob, Body, Document, Mounted, Place, Repository, Resolved, Rests, Upload, Uploads};
