//! Steps with the landlord API: shops and keys that are created and removed.

use http::Method;
use serde_json::{Value, json};

use super::{
    CALLS_OF_A_BATCH, CALLS_OF_A_SHOP, CALLS_OF_AN_ACTION, Disruption, LiveShop, TEMPORARY,
    Verdict, World, landlord,
};
use crate::instance::{Call, Reply};
use crate::model::ModelShop;

impl World {
    pub(super) fn ask_landlord(&mut self, method: Method, path: String, body: Value) -> Reply {
        let call = landlord(method, path, body);
        self.runtime.block_on(self.instance().send(&call))
    }

    /// Sends a call of the landlord API, which has no key. After a lost answer, the caller reads
    /// the state after the restart.
    pub(super) fn try_landlord(
        &mut self,
        method: Method,
        path: String,
        body: Value,
        calls: u64,
    ) -> Verdict<Option<Reply>> {
        let disruption = Disruption::random(&mut self.rng, calls);
        self.log_step(format_args!("{method} {path}; disruption: {disruption:?}"));
        let reply = self.send(&landlord(method, path, body), disruption)?;
        match reply {
            Some(reply) if reply.status < 500 => Ok(Some(reply)),
            Some(reply) if matches!(disruption, Disruption::None) => {
                Err(format!("the landlord call got {reply:?} without a disruption").into())
            }
            Some(_) => {
                self.restart(false)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Creates a shop. When the answer was lost, the shop is complete or does not exist.
    pub(super) fn create_shop(&mut self, slug: &'static str) -> Verdict {
        let body = json!({"slug": slug, "name": slug, "no_tax": true});
        let made = self.try_landlord(
            Method::POST,
            "/v1/landlord/tenants".to_owned(),
            body,
            CALLS_OF_A_SHOP,
        )?;
        let (id, secret) = match made {
            Some(reply) if reply.status == 201 => (reply.text("/id"), reply.text("/api_key")),
            Some(reply) => return Err(format!("the shop {slug} is not created: {reply:?}").into()),
            None => {
                let found = self.ask_landlord(
                    Method::GET,
                    format!("/v1/landlord/tenants/{slug}"),
                    Value::Null,
                );
                match (found.status, found.text("/status").as_str()) {
                    (404, _) => return self.compare(),
                    (200, "active") => (found.text("/id"), self.new_key(slug)?.1),
                    _ => {
                        return Err(format!("the shop {slug} is half created: {found:?}").into());
                    }
                }
            }
        };
        let shop = LiveShop {
            id,
            secret,
            model: ModelShop::default(),
            sent: Vec::new(),
            revoked: Vec::new(),
        };
        self.shops.insert(slug, shop);
        self.enable_second_currency(slug);
        self.compare()
    }

    /// Lets a shop sell in its second currency, without disruptions; other steps test the same
    /// calls with them.
    pub(super) fn enable_second_currency(&mut self, slug: &str) {
        let rate = json!({"base": "JPY", "quote": "EUR", "rate": "0.006",
            "effective_at": "2000-01-01T00:00:00Z"});
        for (path, body) in [
            ("/v1/currencies", json!({"code": "JPY"})),
            ("/v1/exchange-rates", rate),
        ] {
            let call = Call {
                secret: Some(self.shops[slug].secret.clone()),
                ..landlord(Method::POST, path.to_owned(), body)
            };
            let reply = self.runtime.block_on(self.instance().send(&call));
            assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
        }
    }

    /// Removes the temporary shop.
    pub(super) fn remove_shop(&mut self) -> Verdict {
        let path = format!("/v1/landlord/tenants/{TEMPORARY}");
        let removed =
            self.try_landlord(Method::DELETE, path.clone(), Value::Null, CALLS_OF_A_BATCH)?;
        let is_gone = match removed {
            Some(reply) if reply.status == 204 => true,
            Some(reply) => return Err(format!("the shop is not removed: {reply:?}").into()),
            None => {
                let found = self.ask_landlord(Method::GET, path, Value::Null);
                match (found.status, found.text("/status").as_str()) {
                    (404, _) => true,
                    (200, "active") => false,
                    _ => {
                        return Err(format!("the shop is half removed: {found:?}").into());
                    }
                }
            }
        };
        if is_gone {
            self.shops.remove(TEMPORARY);
        }
        self.compare()
    }

    pub(super) fn new_key(&mut self, slug: &str) -> Verdict<(String, String)> {
        let scopes = [
            "admin",
            "catalog:write",
            "checkout",
            "orders",
            "payments",
            "inventory",
            "finance",
            "pos",
        ];
        let body = json!({"name": "another key", "scopes": scopes});
        let made = self.ask_landlord(
            Method::POST,
            format!("/v1/landlord/tenants/{slug}/api-keys"),
            body,
        );
        if made.status == 201 {
            Ok((made.text("/id"), made.text("/api_key")))
        } else {
            Err(format!("the key is not created: {made:?}").into())
        }
    }

    /// Creates, uses and revokes a key.
    pub(super) fn revoke(&mut self, slug: &'static str) -> Verdict {
        let (id, secret) = self.new_key(slug)?;
        self.require_key_status(&secret, 200)?;
        let path = format!("/v1/landlord/api-keys/{id}");
        let mut revoked = self.try_landlord(
            Method::DELETE,
            path.clone(),
            Value::Null,
            CALLS_OF_AN_ACTION,
        )?;
        if revoked.is_none() {
            revoked = Some(self.ask_landlord(Method::DELETE, path, Value::Null));
        }
        match revoked {
            Some(reply) if reply.status < 300 || reply.status == 404 => {}
            other => return Err(format!("the key is not revoked: {other:?}").into()),
        }
        self.shops
            .get_mut(slug)
            .expect("the shop exists")
            .revoked
            .push(secret);
        self.compare()
    }

    pub(super) fn require_key_status(&self, secret: &str, status: u16) -> Verdict {
        let call = Call {
            secret: Some(secret.to_owned()),
            ..landlord(Method::GET, "/v1/orders?limit=1".to_owned(), Value::Null)
        };
        let found = self.runtime.block_on(self.instance().send(&call));
        if found.status == status {
            Ok(())
        } else {
            Err(format!("a key got {found:?} instead of status {status}").into())
        }
    }
}
