//! L4: the outside world. What is sent is built and what comes back is read here; nothing here
//! opens a file of a tenant.

pub mod ecb;
pub mod http;
pub mod mail;
pub mod reach;
pub mod standard_webhooks;
