//! `/v1/catalog`: products and categories.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{PageView, nullable, price};
use crate::app::App;
use crate::http::extract::permission::{CatalogRead, CatalogWrite};
use crate::http::extract::{Body, FromBody, IfMatch, PageBeside, PageQuery, PathId, QueryOf, Shop, with_etag};
use crate::http::faults::Faults;
use crate::http::problem::Problem;
use crate::primitives::id::{CategoryId, ProductId, ProductKind};
use crate::primitives::{Barcode, Currency, Name, Sku, TaxClass};
use crate::tenant::catalog::{self, Category, ChangeProduct, CreateProduct, Product};

/// The routes of the catalog.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_product, list_products))
        .routes(routes!(get_product, change_product))
        .routes(routes!(activate_product))
        .routes(routes!(deactivate_product))
        .routes(routes!(create_category, list_categories))
}

#[derive(Serialize, ToSchema)]
struct ProductView {
    id: ProductId,
    sku: Sku,
    barcode: Option<Barcode>,
    name: Name,
    price_minor: i64,
    currency: Currency,
    tax_class: TaxClass,
    track_stock: bool,
    category_id: Option<CategoryId>,
    active: bool,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        Self {
            id: product.id,
            sku: product.sku,
            barcode: product.barcode,
            name: product.name,
            price_minor: product.price.minor(),
            currency: product.price.currency(),
            tax_class: product.tax_class,
            track_stock: product.track_stock,
            category_id: product.category_id,
            active: product.active,
        }
    }
}

fn product_answer(status: StatusCode, product: Product) -> Response {
    let version = product.version;
    with_etag(version, (status, Json(ProductView::from(product))))
}

/// A product that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProductBody {
    sku: String,
    name: String,
    price_minor: i64,
    currency: Option<String>,
    tax_class: Option<String>,
    #[serde(default)]
    track_stock: bool,
    barcode: Option<String>,
    category_id: Option<String>,
}

impl FromBody for CreateProduct {
    type Wire = CreateProductBody;

    fn from_wire(wire: CreateProductBody, faults: &mut Faults) -> Option<Self> {
        let sku = faults.take("/sku", Sku::parse(&wire.sku));
        let name = faults.take("/name", Name::parse(&wire.name));
        let price_minor = faults.take("/price_minor", price(wire.price_minor));
        let currency = faults.optional("/currency", wire.currency.as_deref().map(Currency::parse));
        let tax_class = faults.optional("/tax_class", wire.tax_class.as_deref().map(TaxClass::parse));
        let barcode = faults.optional("/barcode", wire.barcode.as_deref().map(Barcode::parse));
        let category_id = faults.optional("/category_id", wire.category_id.as_deref().map(CategoryId::parse));
        Some(Self {
            sku: sku?,
            barcode: barcode?,
            name: name?,
            price_minor: price_minor?,
            currency: currency?,
            tax_class: tax_class?,
            track_stock: wire.track_stock,
            category_id: category_id?,
        })
    }
}

/// A change of a product; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProductBody {
    sku: Option<String>,
    name: Option<String>,
    price_minor: Option<i64>,
    tax_class: Option<String>,
    track_stock: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    barcode: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    category_id: Option<Option<String>>,
}

impl FromBody for ChangeProduct {
    type Wire = ChangeProductBody;

    fn from_wire(wire: ChangeProductBody, faults: &mut Faults) -> Option<Self> {
        let sku = faults.optional("/sku", wire.sku.as_deref().map(Sku::parse));
        let name = faults.optional("/name", wire.name.as_deref().map(Name::parse));
        let price_minor = faults.optional("/price_minor", wire.price_minor.map(price));
        let tax_class = faults.optional("/tax_class", wire.tax_class.as_deref().map(TaxClass::parse));
        let barcode = faults.optional(
            "/barcode",
            wire.barcode.map(|barcode| barcode.as_deref().map(Barcode::parse).transpose()),
        );
        let category_id = faults.optional(
            "/category_id",
            wire.category_id.map(|id| id.as_deref().map(CategoryId::parse).transpose()),
        );
        Some(Self {
            sku: sku?,
            barcode: barcode?,
            name: name?,
            price_minor: price_minor?,
            tax_class: tax_class?,
            track_stock: wire.track_stock,
            category_id: category_id?,
        })
    }
}

/// Takes a product into the catalog.
#[utoipa::path(post, path = "/catalog/products", tag = "catalog", request_body = CreateProductBody,
    responses((status = 201, body = ProductView), (status = 409, description = "`sku_taken`, `barcode_taken`"), (status = 422, description = "`validation_failed`")))]
async fn create_product(shop: Shop<CatalogWrite>, Body(command): Body<CreateProduct>) -> Result<Response, Problem> {
    let product = shop.write(move |work| Ok(catalog::create_product(work, &command)?)).await?;
    Ok(product_answer(StatusCode::CREATED, product))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ProductFilter {
    /// Only products of this category.
    category_id: Option<String>,
    /// Only the product with this SKU.
    sku: Option<String>,
}

/// Lists products, the newest first.
#[utoipa::path(get, path = "/catalog/products", tag = "catalog", params(ProductFilter), responses((status = 200, body = PageView<ProductView>)))]
async fn list_products(
    shop: Shop<CatalogRead>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<ProductFilter>,
) -> Result<Json<PageView<ProductView>>, Problem> {
    let mut faults = Faults::default();
    let category = faults.optional("?category_id", filter.category_id.as_deref().map(CategoryId::parse));
    let sku = faults.optional("?sku", filter.sku.as_deref().map(Sku::parse));
    let (category, sku) = faults.finish(category.zip(sku))?;
    let products = shop.read(move |view| match sku {
        Some(sku) => Ok(crate::platform::page::Page {
            data: catalog::find_product_by_sku(view, &sku)?.into_iter().collect(),
            next_cursor: None,
        }),
        None => Ok(catalog::list_products(view, page, category)?),
    });
    Ok(Json(PageView::of(products.await?, ProductView::from)))
}

/// Shows a product.
#[utoipa::path(get, path = "/catalog/products/{id}", tag = "catalog", params(("id" = String, Path)), responses((status = 200, body = ProductView), (status = 404, description = "`not_found`")))]
async fn get_product(shop: Shop<CatalogRead>, PathId(id): PathId<ProductKind>) -> Result<Response, Problem> {
    let product = shop.read(move |view| Ok(catalog::find_product(view, id)?)).await?;
    Ok(product_answer(
        StatusCode::OK,
        product.ok_or_else(|| Problem::not_found("product"))?,
    ))
}

/// Changes a product.
#[utoipa::path(patch, path = "/catalog/products/{id}", tag = "catalog", params(("id" = String, Path)), request_body = ChangeProductBody,
    responses((status = 200, body = ProductView), (status = 404, description = "`product_not_found`"), (status = 412, description = "`stale_version`")))]
async fn change_product(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<ProductKind>,
    IfMatch(expected): IfMatch,
    Body(change): Body<ChangeProduct>,
) -> Result<Response, Problem> {
    let product = shop
        .write(move |work| Ok(catalog::change_product(work, id, expected, &change)?))
        .await?;
    Ok(product_answer(StatusCode::OK, product))
}

/// Puts a product back into sale.
#[utoipa::path(post, path = "/catalog/products/{id}/activate", tag = "catalog", params(("id" = String, Path)), responses((status = 200, body = ProductView), (status = 404, description = "`product_not_found`")))]
async fn activate_product(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<ProductKind>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let product = shop.write(move |work| Ok(catalog::set_active(work, id, expected, true)?)).await?;
    Ok(product_answer(StatusCode::OK, product))
}

/// Takes a product out of sale.
#[utoipa::path(post, path = "/catalog/products/{id}/deactivate", tag = "catalog", params(("id" = String, Path)), responses((status = 200, body = ProductView), (status = 404, description = "`product_not_found`")))]
async fn deactivate_product(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<ProductKind>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let product = shop.write(move |work| Ok(catalog::set_active(work, id, expected, false)?)).await?;
    Ok(product_answer(StatusCode::OK, product))
}

#[derive(Serialize, ToSchema)]
struct CategoryView {
    id: CategoryId,
    name: Name,
}

impl From<Category> for CategoryView {
    fn from(category: Category) -> Self {
        Self {
            id: category.id,
            name: category.name,
        }
    }
}

/// A category that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCategoryBody {
    name: String,
}

struct CreateCategory(Name);

impl FromBody for CreateCategory {
    type Wire = CreateCategoryBody;

    fn from_wire(wire: CreateCategoryBody, faults: &mut Faults) -> Option<Self> {
        faults.take("/name", Name::parse(&wire.name)).map(Self)
    }
}

/// Makes a category.
#[utoipa::path(post, path = "/catalog/categories", tag = "catalog", request_body = CreateCategoryBody, responses((status = 201, body = CategoryView), (status = 409, description = "`category_taken`")))]
async fn create_category(shop: Shop<CatalogWrite>, Body(CreateCategory(name)): Body<CreateCategory>) -> Result<Response, Problem> {
    let category = shop.write(move |work| Ok(catalog::create_category(work, &name)?)).await?;
    Ok((StatusCode::CREATED, Json(CategoryView::from(category))).into_response())
}

/// Lists categories, the newest first.
#[utoipa::path(get, path = "/catalog/categories", tag = "catalog", responses((status = 200, body = PageView<CategoryView>)))]
async fn list_categories(shop: Shop<CatalogRead>, PageQuery(page): PageQuery) -> Result<Json<PageView<CategoryView>>, Problem> {
    let categories = shop.read(move |view| Ok(catalog::list_categories(view, page)?)).await?;
    Ok(Json(PageView::of(categories, CategoryView::from)))
}
