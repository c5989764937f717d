//! `/v1/catalog`: products and categories.

use std::sync::Arc;

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::form::{
    IfMatchParams, MayBeKeyedParams, PageParams, PageView, nullable, present, price,
};
use super::schema::Price;
use super::view::views;
use crate::app::App;
use crate::http::extract::permission::{CatalogRead, CatalogWrite};
use crate::http::extract::{
    Body, FromBody, IfMatch, MayBeKeyed, PageBeside, PageQuery, PathId, QueryOf, Shop, with_etag,
};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::platform::page::Page;
use crate::primitives::id::{CategoryId, ProductId, ProductKind};
use crate::primitives::{
    Barcode, Currency, Measure, Name, QuantityScale, Sku, TaxClass, Timestamp, Unit,
};
use crate::tenant::catalog::{
    self, Category, ChangeProduct, CreateProduct, FIRST_VERSION, Label, Product, Selection,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_product, list_products))
        .routes(routes!(get_product, change_product))
        .routes(routes!(activate_product))
        .routes(routes!(deactivate_product))
        .routes(routes!(create_category, list_categories))
}

views! {
    struct ProductView from Product as product {
        id: ProductId,
        sku: Sku,
        barcode: Option<Barcode>,
        name: Name,
        price_minor: i64 = product.price.minor(),
        currency: Currency = product.price.currency(),
        tax_class: TaxClass,
        track_stock: bool,
        category_id: Option<CategoryId>,
        active: bool,
        unit: Unit = product.measure.unit,
        quantity_scale: QuantityScale = product.measure.scale,
        updated_at: Timestamp,
    }
}

fn product_answer(status: StatusCode, product: Product) -> Response {
    let version = product.version;
    with_etag(version, (status, Json(ProductView::from(product))))
}

/// A new product.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProductBody {
    #[schema(value_type = Sku)]
    sku: String,
    #[schema(value_type = Name)]
    name: String,
    /// The price of one whole unit.
    #[schema(value_type = Price)]
    price_minor: i64,
    #[schema(value_type = Option<Currency>)]
    currency: Option<String>,
    #[schema(value_type = Option<TaxClass>)]
    tax_class: Option<String>,
    #[serde(default)]
    track_stock: bool,
    #[schema(value_type = Option<Barcode>)]
    barcode: Option<String>,
    #[schema(value_type = Option<CategoryId>)]
    category_id: Option<String>,
    /// Default: `C62`, a piece. Fixed once the product was in a cart, was sold, or its stock moved.
    #[schema(value_type = Option<Unit>)]
    unit: Option<String>,
    /// Default: 0. A quantity is an integer of 10^-`quantity_scale` units: 250 with the scale 3 and
    /// the unit `KGM` is 0.250 kg. Fixed as the unit.
    #[schema(value_type = Option<QuantityScale>)]
    quantity_scale: Option<i64>,
}

impl FromBody for CreateProduct {
    type Wire = CreateProductBody;

    fn from_wire(wire: CreateProductBody, faults: &mut RequestFaults) -> Option<Self> {
        let sku = faults.check("/sku", Sku::parse(&wire.sku));
        let name = faults.check("/name", Name::parse(&wire.name));
        let price_minor = faults.check("/price_minor", price(wire.price_minor));
        let currency = faults.optional("/currency", wire.currency.as_deref().map(Currency::parse));
        let tax_class =
            faults.optional("/tax_class", wire.tax_class.as_deref().map(TaxClass::parse));
        let barcode = faults.optional("/barcode", wire.barcode.as_deref().map(Barcode::parse));
        let category_id = faults.optional(
            "/category_id",
            wire.category_id.as_deref().map(CategoryId::parse),
        );
        let unit = faults.optional("/unit", wire.unit.as_deref().map(Unit::parse));
        let scale = wire.quantity_scale.map(QuantityScale::new);
        let scale = faults.optional("/quantity_scale", scale);
        Some(Self {
            sku: sku?,
            barcode: barcode?,
            name: name?,
            price_minor: price_minor?,
            currency: currency?,
            tax_class: tax_class?,
            track_stock: wire.track_stock,
            category_id: category_id?,
            measure: Measure {
                unit: unit?.unwrap_or_default(),
                scale: scale?.unwrap_or_default(),
            },
        })
    }
}

/// A change of a product; fields that are left out stay unchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProductBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Sku)]
    sku: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Name)]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Price)]
    price_minor: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = TaxClass)]
    tax_class: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool)]
    track_stock: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Barcode>)]
    barcode: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<CategoryId>)]
    category_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Unit)]
    unit: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = QuantityScale)]
    quantity_scale: Option<i64>,
}

impl FromBody for ChangeProduct {
    type Wire = ChangeProductBody;

    fn from_wire(wire: ChangeProductBody, faults: &mut RequestFaults) -> Option<Self> {
        let sku = faults.optional("/sku", wire.sku.as_deref().map(Sku::parse));
        let name = faults.optional("/name", wire.name.as_deref().map(Name::parse));
        let price_minor = faults.optional("/price_minor", wire.price_minor.map(price));
        let tax_class =
            faults.optional("/tax_class", wire.tax_class.as_deref().map(TaxClass::parse));
        let barcode = faults.optional(
            "/barcode",
            wire.barcode
                .map(|barcode| barcode.as_deref().map(Barcode::parse).transpose()),
        );
        let category_id = faults.optional(
            "/category_id",
            wire.category_id
                .map(|id| id.as_deref().map(CategoryId::parse).transpose()),
        );
        let unit = faults.optional("/unit", wire.unit.as_deref().map(Unit::parse));
        let scale = wire.quantity_scale.map(QuantityScale::new);
        let scale = faults.optional("/quantity_scale", scale);
        Some(Self {
            sku: sku?,
            barcode: barcode?,
            name: name?,
            price_minor: price_minor?,
            tax_class: tax_class?,
            track_stock: wire.track_stock,
            category_id: category_id?,
            unit: unit?,
            quantity_scale: scale?,
        })
    }
}

/// Creates a product.
#[utoipa::path(post, path = "/catalog/products", tag = "catalog", params(MayBeKeyedParams),
    request_body = CreateProductBody,
    responses((status = 201, body = ProductView), (status = 409, description = "`sku_taken`, \
        `barcode_taken`"), (status = 422, description = "`validation_failed`, \
        `category_not_found`, `unknown_tax_class`")))]
async fn create_product(
    shop: Shop<CatalogWrite>,
    MayBeKeyed { key, command }: MayBeKeyed<CreateProduct>,
) -> Result<Response, Problem> {
    let created = shop.once(key, StatusCode::CREATED, move |work| {
        Ok(ProductView::from(catalog::create_product(work, &command)?))
    });
    Ok(with_etag(FIRST_VERSION, created.await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProductFilter {
    /// Only products of this category.
    category_id: Option<String>,
    /// Only active or only inactive products. A storefront without a key sees active ones only.
    active: Option<bool>,
    /// Only the product with this SKU.
    #[param(value_type = Option<Sku>)]
    sku: Option<String>,
    /// Only the product with this barcode.
    #[param(value_type = Option<Barcode>)]
    barcode: Option<String>,
}

impl ProductFilter {
    fn parse(self, is_storefront: bool) -> Result<ProductQuery, Problem> {
        let mut faults = RequestFaults::default();
        let category = faults.optional(
            "?category_id",
            self.category_id.as_deref().map(CategoryId::parse),
        );
        let sku = faults.optional("?sku", self.sku.as_deref().map(Sku::parse));
        let barcode = faults.optional("?barcode", self.barcode.as_deref().map(Barcode::parse));
        if self.sku.is_some() && self.barcode.is_some() {
            faults.add(
                "?barcode",
                "invalid",
                "cannot be combined with sku; send one of the two",
            );
        }
        let active = if is_storefront {
            Some(true)
        } else {
            self.active
        };
        let parsed = || {
            let selection = Selection {
                category: category?,
                active,
            };
            Some(match (sku?, barcode?) {
                (Some(sku), _) => ProductQuery::One(selection, Label::Sku(sku)),
                (None, Some(barcode)) => ProductQuery::One(selection, Label::Barcode(barcode)),
                (None, None) => ProductQuery::All(selection),
            })
        };
        let query = parsed();
        faults.finish(query)
    }
}

/// A parsed product query.
enum ProductQuery {
    All(Selection),
    One(Selection, Label),
}

/// Lists products, newest first.
#[utoipa::path(get, path = "/catalog/products", tag = "catalog", security((), ("api_key" = [])),
    params(PageParams, ProductFilter),
    responses((status = 200, body = PageView<ProductView>)))]
async fn list_products(
    shop: Shop<CatalogRead>,
    PageBeside(page): PageBeside,
    QueryOf(filter): QueryOf<ProductFilter>,
) -> Result<Json<PageView<ProductView>>, Problem> {
    let query = filter.parse(shop.is_storefront())?;
    let products = shop.read(move |view| match query {
        ProductQuery::All(selection) => Ok(catalog::list_products(view, page, selection)?),
        ProductQuery::One(selection, label) => {
            let found = catalog::find_product_by_label(view, &label)?;
            Ok(Page::whole(
                found
                    .into_iter()
                    .filter(|product| selection.holds(product))
                    .collect(),
            ))
        }
    });
    Ok(Json(PageView::of(products.await?, ProductView::from)))
}

/// Shows a product. A storefront without a key sees active products only.
#[utoipa::path(get, path = "/catalog/products/{id}", tag = "catalog", security((),
    ("api_key" = [])), params(("id" = String, Path)),
    responses((status = 200, body = ProductView), (status = 404,
        description = "`product_not_found`")))]
async fn get_product(
    shop: Shop<CatalogRead>,
    PathId(id): PathId<ProductKind>,
) -> Result<Response, Problem> {
    let sees_inactive = !shop.is_storefront();
    let product = shop
        .read(move |view| Ok(catalog::find_product(view, id)?))
        .await?;
    let product = product.filter(|product| product.active || sees_inactive);
    Ok(product_answer(
        StatusCode::OK,
        product.ok_or_else(|| Problem::not_found("product_not_found", "product"))?,
    ))
}

/// Changes a product.
#[utoipa::path(patch, path = "/catalog/products/{id}", tag = "catalog", params(("id" = String,
    Path), IfMatchParams), request_body = ChangeProductBody,
    responses((status = 200, body = ProductView), (status = 404,
        description = "`product_not_found`"), (status = 409, description = "`sku_taken`, \
            `barcode_taken`, `unit_in_use`"),
    (status = 412, description = "`stale_version`"), (status = 422,
        description = "`validation_failed`, `category_not_found`, `unknown_tax_class`")))]
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

/// Activates a product: it is sold again.
#[utoipa::path(post, path = "/catalog/products/{id}/activate", tag = "catalog",
    params(("id" = String, Path), IfMatchParams),
    responses((status = 200, body = ProductView), (status = 404,
        description = "`product_not_found`"), (status = 412, description = "`stale_version`")))]
async fn activate_product(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<ProductKind>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let product = shop
        .write(move |work| Ok(catalog::set_active(work, id, expected, true)?))
        .await?;
    Ok(product_answer(StatusCode::OK, product))
}

/// Deactivates a product: it is no longer sold.
#[utoipa::path(post, path = "/catalog/products/{id}/deactivate", tag = "catalog",
    params(("id" = String, Path), IfMatchParams),
    responses((status = 200, body = ProductView), (status = 404,
        description = "`product_not_found`"), (status = 412, description = "`stale_version`")))]
async fn deactivate_product(
    shop: Shop<CatalogWrite>,
    PathId(id): PathId<ProductKind>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let product = shop
        .write(move |work| Ok(catalog::set_active(work, id, expected, false)?))
        .await?;
    Ok(product_answer(StatusCode::OK, product))
}

views! {
    struct CategoryView from Category as category {
        id: CategoryId,
        name: Name,
    }
}

/// A new category.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCategoryBody {
    #[schema(value_type = Name)]
    name: String,
}

struct CreateCategory(Name);

impl FromBody for CreateCategory {
    type Wire = CreateCategoryBody;

    fn from_wire(wire: CreateCategoryBody, faults: &mut RequestFaults) -> Option<Self> {
        faults.check("/name", Name::parse(&wire.name)).map(Self)
    }
}

/// Creates a category.
#[utoipa::path(post, path = "/catalog/categories", tag = "catalog", params(MayBeKeyedParams),
    request_body = CreateCategoryBody, responses((status = 201, body = CategoryView), (status = 409,
    description = "`category_taken`")))]
async fn create_category(
    shop: Shop<CatalogWrite>,
    MayBeKeyed { key, command }: MayBeKeyed<CreateCategory>,
) -> Result<Response, Problem> {
    let CreateCategory(name) = command;
    shop.once(key, StatusCode::CREATED, move |work| {
        Ok(CategoryView::from(catalog::create_category(work, &name)?))
    })
    .await
}

/// Lists categories, newest first.
#[utoipa::path(get, path = "/catalog/categories", tag = "catalog", security((), ("api_key" = [])),
    params(PageParams), responses((status = 200, body = PageView<CategoryView>)))]
async fn list_categories(
    shop: Shop<CatalogRead>,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<CategoryView>>, Problem> {
    shop.page(move |view| catalog::list_categories(view, page))
        .await
}
