//! Extractors: the caller, the shop, and the values of a request. The common beginnings of handlers
//! are here.

mod body;
mod caller;
mod keyed;
mod landlord;
mod parts;
mod rates;
mod shop;

pub(in crate::http) use body::parse as parse_body;
pub use body::{Body, FromBody, Object};
pub(super) use caller::{KnownPrincipal, has_several_keys, principal_of};
pub use caller::{Local, RequestId};
pub(in crate::http) use keyed::key_of;
pub use keyed::{Keyed, MayBeKeyed, Replayable};
pub use landlord::Landlord;
pub use parts::{IfMatch, PageBeside, PageQuery, PathId, PathText, QueryOf, WalkBeside, with_etag};
pub use shop::{Permission, Shop, permission};
pub(in crate::http) use shop::{open as open_shop, require_room};
