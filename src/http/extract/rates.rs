//! Published exchange rates for a tenant's call. They are fetched before its transaction begins,
//! because no transaction spans two files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shop::{Permission, Shop};
use crate::http::problem::Problem;
use crate::primitives::{Currency, Timestamp};
use crate::storage::TenantView;
use crate::tenant::currency::{self, Published, SoldIn};

impl<P: Permission> Shop<P> {
    /// The current time, for a query that names none.
    pub fn now(&self) -> Timestamp {
        self.app().ports.clock.now()
    }

    /// Returns the published rates that a sale may need: none when the shop sells only in its own
    /// currency.
    pub async fn published_for_sale(&self) -> Result<Published, Problem> {
        let sold_in = self.sold_in().await?;
        if sold_in.others.is_empty() {
            return Ok(Published::default());
        }
        let currencies = sold_in.others.iter().copied().chain([sold_in.base]);
        self.published(currencies).await
    }

    /// Returns the published rates of some currencies.
    pub async fn published(
        &self,
        currencies: impl IntoIterator<Item = Currency>,
    ) -> Result<Published, Problem> {
        let mut series = BTreeMap::new();
        for currency in currencies {
            series.insert(
                currency,
                self.app().stores.published.series(currency).await?,
            );
        }
        Ok(Published::new(series))
    }

    async fn sold_in(&self) -> Result<Arc<SoldIn>, Problem> {
        let load = |view: &TenantView| Ok(Arc::new(currency::sold_in(view)?));
        let (cache, id) = (&self.app().stores.sold_in, self.tenant_id());
        cache.read(&self.db, id, load).await
    }

    /// Returns the cache invalidation to run when a change of the shop's currencies is on disk.
    pub fn forget_sold_in(&self) -> impl FnOnce() + Clone + Send + use<P> {
        let (cache, id) = (self.app().stores.sold_in.clone(), self.tenant_id());
        move || cache.invalidate(&id)
    }
}
