//! What the house knows of currencies, for a shop's call: fetched before its transaction begins,
//! because none spans two files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shop::{Permission, Shop};
use crate::http::problem::Problem;
use crate::platform::cache::CacheLookup;
use crate::primitives::{Currency, Timestamp};
use crate::tenant::Policy;
use crate::tenant::currency::{self, Published, SoldIn};

impl<P: Permission> Shop<P> {
    /// The present instant, for a question that names none.
    pub fn now(&self) -> Timestamp {
        self.app().clock.now()
    }

    /// What the configuration and the house decide about selling. A shop that sells in its own
    /// currency alone pays nothing for this.
    ///
    /// # Errors
    /// The storage's.
    pub async fn selling_policy(&self) -> Result<Arc<Policy>, Problem> {
        let sold_in = self.sold_in().await?;
        if sold_in.others.is_empty() {
            return Ok(self.app().policy.clone());
        }
        let currencies = sold_in.others.iter().copied().chain([sold_in.base]);
        let published = self.published(currencies).await?;
        Ok(Arc::new(Policy {
            published,
            ..Policy::clone(&self.app().policy)
        }))
    }

    /// The published rates of some currencies.
    ///
    /// # Errors
    /// The storage's.
    pub async fn published(
        &self,
        currencies: impl IntoIterator<Item = Currency>,
    ) -> Result<Published, Problem> {
        let mut found = BTreeMap::new();
        for currency in currencies {
            found.insert(currency, self.app().published.series(currency).await?);
        }
        Ok(Published::new(found))
    }

    async fn sold_in(&self) -> Result<Arc<SoldIn>, Problem> {
        let (cache, id) = (self.app().sold_in.clone(), self.tenant_id());
        let ticket = match cache.get(&id) {
            CacheLookup::Hit(sold_in) => return Ok(sold_in),
            CacheLookup::Miss(ticket) => ticket,
        };
        self.read(move |view| {
            let sold_in = Arc::new(currency::sold_in(view)?);
            cache.insert(id, ticket, sold_in.clone());
            Ok(sold_in)
        })
        .await
    }

    /// What is to be done when a change of the shop's currencies is on disk.
    pub fn forget_sold_in(&self) -> impl FnOnce() + Clone + Send + use<P> {
        let (cache, id) = (self.app().sold_in.clone(), self.tenant_id());
        move || cache.invalidate(&id)
    }
}
