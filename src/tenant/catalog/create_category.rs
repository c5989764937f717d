//! Use case: Create a category.

use serde_json::json;

use super::model::{CatalogRefused, Category};
use super::store;
use crate::platform::audit;
use crate::primitives::Name;
use crate::primitives::id::CategoryKind;
use crate::storage::TenantWork;

pub fn create_category(work: &mut TenantWork, name: &Name) -> Result<Category, CatalogRefused> {
    if store::find_category(work, name)?.is_some() {
        return Err(CatalogRefused::CategoryTaken(name.clone()));
    }
    let category = Category {
        id: work.new_id::<CategoryKind>(),
        name: name.clone(),
    };
    store::insert_category(work, &category)?;
    audit::record(
        work,
        "category.created",
        &format!("category:{}", category.id),
        json!({"name": name}),
    )?;
    Ok(category)
}
