//! L4: connections to other servers. Builds requests and parses answers; opens no file of a tenant.

pub mod ecb;
pub mod http;
pub mod mail;
pub mod reach;
pub mod standard_webhooks;
