//! `/v1/landlord/tenants`: the tenants and their domains. The data inside a shop cannot be reached
//! from here.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Limits, Stores};
use crate::http::api::form::{PageParams, PageView};
use crate::http::api::view::views;
use crate::http::extract::{Body, FromBody, Landlord, PageQuery, PathText, require_room};
use crate::http::faults::RequestFaults;
use crate::http::problem::Problem;
use crate::maintenance::tenant_files;
use crate::primitives::id::TenantId;
use crate::primitives::limits::NEW_RATES_MAX;
use crate::primitives::{
    Country, Currency, DayOrInstant, HostName, Name, Slug, TaxClass, TaxRate, TimeZone, Timestamp,
};
use crate::storage::StorageErrorKind;
use crate::tenancy::commands::{self, DirectoryRefused, TenantRow};
use crate::tenancy::provision::CreateTenant;
use crate::tenancy::{TenantAccess, TenantStatus};
use crate::tenant::disk_usage::Parts;
use crate::tenant::new_shop::{NewShop, NewShopTax};
use crate::tenant::settings::NewSettings;
use crate::tenant::tax::AddRate;
use crate::tenant::tax_presets::{self, Preset};

/// The default currency of a new tenant.
const DEFAULT_CURRENCY: &str = "EUR";

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant, list_tenants))
        .routes(routes!(get_tenant, delete_tenant))
        .routes(routes!(suspend_tenant))
        .routes(routes!(resume_tenant))
        .routes(routes!(add_domain))
        .merge(super::keys::routes())
        .merge(super::queue::routes())
        .merge(super::retention::routes())
}

views! {
    struct TenantView from TenantRow as tenant {
        id: TenantId,
        slug: Slug,
        name: Name,
        currency: Currency,
        /// `active` or `suspended`; `creating` and `deleting` while that goes on.
        #[schema(value_type = String)]
        status: TenantStatus,
        domains: Vec<String>,
        created_at: Timestamp,
    }
}

/// The disk space of a tenant, in bytes.
#[derive(Serialize, ToSchema)]
struct DiskView {
    /// The size of its file and its WAL.
    used_bytes: u64,
    /// The limit before its growth is refused; `null` while the disk is below its reserve.
    share_bytes: Option<u64>,
    file_bytes: u64,
    wal_bytes: u64,
    /// Free pages of the file: reused, or returned by a prune. `null` when the file cannot be read.
    free_bytes: Option<u64>,
    /// The use of the rest of the file. `null` when it could not be measured, which `note`
    /// explains.
    parts: Option<Parts>,
    note: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ShownTenantView {
    #[serde(flatten)]
    tenant: TenantView,
    disk: DiskView,
}

#[derive(Serialize, ToSchema)]
struct CreatedTenantView {
    #[serde(flatten)]
    tenant: TenantView,
    /// The first key, with every scope of a tenant. Shown only here.
    api_key: String,
    /// The known tax rates of the country, for a tenant that has none yet.
    tax_presets: Vec<PresetView>,
}

/// A proposed tax rate.
#[derive(Serialize, ToSchema)]
struct PresetView {
    tax_class: TaxClass,
    name: Name,
    rate_ppm: TaxRate,
    valid_from: String,
    /// The law that sets the rate.
    source: Name,
    /// The date of the text that confirms it.
    checked: String,
}

impl From<&Preset> for PresetView {
    fn from(preset: &Preset) -> Self {
        Self {
            tax_class: preset.tax_class.clone(),
            name: preset.name.clone(),
            rate_ppm: preset.rate,
            valid_from: preset.valid_from.to_string(),
            source: preset.source.clone(),
            checked: preset.checked.to_string(),
        }
    }
}

/// A new tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenantBody {
    #[schema(value_type = Slug)]
    slug: String,
    #[schema(value_type = Name)]
    name: String,
    /// ISO 4217; default: `EUR`. It cannot be changed later.
    #[schema(value_type = Option<Currency>)]
    currency: Option<String>,
    /// Host names of the storefront.
    #[serde(default)]
    #[schema(value_type = Vec<HostName>)]
    domains: Vec<String>,
    /// The seller's country. Its tax rates are proposed in the answer, or taken with `tax_preset`.
    #[schema(value_type = Option<Country>)]
    country: Option<String>,
    /// Take the proposed tax rates of the country.
    #[serde(default)]
    tax_preset: bool,
    /// The shop's time zone; default: `UTC`.
    #[schema(value_type = Option<TimeZone>)]
    timezone: Option<String>,
    /// Whether prices include tax, as consumer prices in Europe do.
    #[serde(default)]
    prices_include_tax: bool,
    /// The tax rates from now on. A shop sells nothing before it has a rate, or `no_tax`.
    #[serde(default)]
    #[schema(max_items = 20)] // NEW_RATES_MAX
    tax: Vec<NewRateBody>,
    /// The shop charges no tax.
    #[serde(default)]
    no_tax: bool,
}

/// A tax rate of a new tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRateBody {
    #[schema(value_type = TaxClass)]
    tax_class: String,
    /// The name on documents; default: the percentage.
    #[schema(value_type = Option<Name>)]
    name: Option<String>,
    #[schema(value_type = TaxRate)]
    rate_ppm: i64,
}

/// The command to create a tenant with the settings of its shop.
pub struct NewTenant {
    tenant: CreateTenant,
    shop: NewShop,
}

/// The tax rates of a new tenant.
fn parse_tax(
    wire: &CreateTenantBody,
    country: Option<Country>,
    faults: &mut RequestFaults,
) -> Option<NewShopTax> {
    if wire.no_tax && (wire.tax_preset || !wire.tax.is_empty()) {
        let text = "contradicts `tax` and `tax_preset`; leave out either";
        faults.add("/no_tax", "invalid", text);
    }
    if wire.tax.len() > NEW_RATES_MAX {
        let text = format!("has more than {NEW_RATES_MAX} rates; add them later");
        faults.add("/tax", "invalid", text);
        return None;
    }
    let mut rates: Vec<AddRate> = match wire.tax_preset {
        true => preset_rates(country, faults)?,
        false => Vec::new(),
    };
    let count = rates.len() + wire.tax.len();
    for (index, rate) in wire.tax.iter().enumerate() {
        let at = |field: &str| format!("/tax/{index}/{field}");
        let tax_class = faults.check(at("tax_class"), TaxClass::parse(&rate.tax_class));
        let ppm = faults.check(at("rate_ppm"), TaxRate::from_ppm(rate.rate_ppm));
        let name = match &rate.name {
            Some(name) => faults.check(at("name"), Name::parse(name)),
            None => ppm.map(|rate| Name::parse(&rate.percent()).expect("a plain name")),
        };
        let (Some(tax_class), Some(rate), Some(name)) = (tax_class, ppm, name) else {
            continue;
        };
        if rates.iter().any(|known| known.tax_class == tax_class) {
            let text = "stands twice; one rate of a class can be valid from now on";
            faults.add(at("tax_class"), "invalid", text);
        }
        rates.push(AddRate {
            tax_class,
            name,
            rate,
            valid_from: None,
        });
    }
    (rates.len() == count).then_some(match (wire.no_tax, rates.is_empty()) {
        (true, _) => NewShopTax::None,
        (false, true) => NewShopTax::Later,
        (false, false) => NewShopTax::Rates(rates),
    })
}

/// The proposed rates of a country, from their own beginnings on.
fn preset_rates(country: Option<Country>, faults: &mut RequestFaults) -> Option<Vec<AddRate>> {
    let presets = country.map(tax_presets::presets_of).unwrap_or_default();
    if presets.is_empty() {
        let text = "needs `country`, and one whose rates are known: AT, BE, CH, DE, ES, FR, GB, \
            IT, NL or PL; give the rates in `tax` instead";
        faults.add("/tax_preset", "invalid", text);
        return None;
    }
    let rate = |preset: &Preset| AddRate {
        tax_class: preset.tax_class.clone(),
        name: preset.name.clone(),
        rate: preset.rate,
        valid_from: Some(DayOrInstant::Day(preset.valid_from)),
    };
    Some(presets.iter().map(rate).collect())
}

impl FromBody for NewTenant {
    type Wire = CreateTenantBody;

    fn from_wire(wire: CreateTenantBody, faults: &mut RequestFaults) -> Option<Self> {
        let slug = faults.check("/slug", Slug::parse(&wire.slug));
        let name = faults.check("/name", Name::parse(&wire.name));
        let currency = wire.currency.as_deref().unwrap_or(DEFAULT_CURRENCY);
        let currency = faults.check("/currency", Currency::parse(currency));
        let hosts = wire.domains.iter().enumerate();
        let domains: Vec<Option<HostName>> = hosts
            .map(|(index, host)| faults.check(format!("/domains/{index}"), HostName::parse(host)))
            .collect();
        let timezone = wire.timezone.as_deref().unwrap_or("UTC");
        let timezone = faults.check("/timezone", TimeZone::parse(timezone));
        let country = faults.optional("/country", wire.country.as_deref().map(Country::parse));
        let tax = parse_tax(&wire, country.flatten(), faults);
        let tenant = CreateTenant {
            slug: slug?,
            name: name?,
            currency: currency?,
            domains: domains.into_iter().collect::<Option<_>>()?,
        };
        let settings = NewSettings {
            country: country?,
            prices_include_tax: wire.prices_include_tax,
            timezone: timezone?,
        };
        let shop = NewShop {
            settings,
            tax: tax?,
        };
        Some(Self { tenant, shop })
    }
}

/// Returns the slug of the tenant that a path names, by slug or id. Any other text names no tenant.
pub(super) async fn slug_in_path(stores: &Stores, text: &str) -> Result<Slug, Problem> {
    if let Ok(id) = TenantId::parse(text)
        && let Some(tenant) = stores.directory.tenant_of_id(id).await?
    {
        return Ok(tenant.slug().clone());
    }
    Slug::parse(text).map_err(|_| DirectoryRefused::TenantNotFound(text.to_owned()).into())
}

/// Creates a tenant: its file, its settings and its first key.
#[utoipa::path(post, path = "/landlord/tenants", tag = "landlord", request_body = CreateTenantBody,
    responses((status = 201, body = CreatedTenantView), (status = 409,
        description = "`slug_taken`, `domain_taken`"), (status = 422,
        description = "`validation_failed`")))]
async fn create_tenant(
    landlord: Landlord,
    Body(NewTenant { tenant, shop }): Body<NewTenant>,
) -> Result<(StatusCode, Json<CreatedTenantView>), Problem> {
    let proposed = match (&shop.tax, shop.settings.country) {
        (NewShopTax::Later, Some(country)) => tax_presets::presets_of(country),
        _ => &[],
    };
    require_room(
        &landlord.app.limits,
        landlord.app.config.storage.disk_reserve,
    )?;
    let create = move |landlord: &Landlord| {
        Ok(landlord
            .app
            .create_tenant(&landlord.origin, &tenant, shop)?)
    };
    let created = landlord.blocking(create).await?;
    let view = CreatedTenantView {
        tenant: created.tenant.into(),
        api_key: created.key.secret,
        tax_presets: proposed.iter().map(PresetView::from).collect(),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Lists tenants, newest first.
#[utoipa::path(get, path = "/landlord/tenants", tag = "landlord", params(PageParams),
    responses((status = 200, body = PageView<TenantView>)))]
async fn list_tenants(
    landlord: Landlord,
    PageQuery(page): PageQuery,
) -> Result<Json<PageView<TenantView>>, Problem> {
    let directory = &landlord.app.stores.directory;
    let tenants: Result<_, Problem> = directory
        .read(move |view| Ok(commands::list_tenants(view, page)?))
        .await;
    Ok(Json(PageView::of(tenants?, TenantView::from)))
}

/// Shows a tenant and the use of its disk space, which is measured for at most five seconds.
#[utoipa::path(get, path = "/landlord/tenants/{slug}", tag = "landlord", params(("slug" = String,
    Path)), responses((status = 200, body = ShownTenantView), (status = 404,
    description = "`tenant_not_found`")))]
async fn get_tenant(
    landlord: Landlord,
    PathText(slug): PathText<String>,
) -> Result<Json<ShownTenantView>, Problem> {
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    let directory = &landlord.app.stores.directory;
    let access = directory.tenant_of_slug(&slug).await?;
    let tenant: Result<_, Problem> = directory
        .read(move |view| Ok(commands::show_tenant(view, slug.as_str())?))
        .await;
    let tenant = TenantView::from(tenant?);
    let disk = landlord.blocking(move |landlord| {
        Ok(measure(
            &landlord.app.stores,
            &landlord.app.limits,
            tenant.id,
            access,
        ))
    });
    Ok(Json(ShownTenantView {
        disk: disk.await?,
        tenant,
    }))
}

/// Measures a tenant's disk space. A fault of its file becomes a note, so that the tenant is still
/// shown.
fn measure(
    stores: &Stores,
    limits: &Limits,
    id: TenantId,
    access: Option<TenantAccess>,
) -> DiskView {
    let has_file = |access: &TenantAccess| {
        matches!(
            access.status(),
            TenantStatus::Active | TenantStatus::Suspended
        )
    };
    let measured = access
        .filter(has_file)
        .map(|access| tenant_files::measure_tenant(stores, &access));
    let (free_bytes, parts, note) = match measured {
        None => (None, None, None),
        Some(Err(error)) => (None, None, Some(error.to_string())),
        Some(Ok(usage)) => match usage.parts {
            Ok(parts) => (Some(usage.free_bytes), Some(parts), None),
            Err(StorageErrorKind::Interrupted) => {
                let note = "the file is too large to measure within five seconds";
                (Some(usage.free_bytes), None, Some(note.to_owned()))
            }
            Err(kind) => (Some(usage.free_bytes), None, Some(kind.to_string())),
        },
    };
    let usage = limits.shares.refresh_now(id);
    let (file_bytes, wal_bytes) = limits.shares.measure(id);
    DiskView {
        used_bytes: file_bytes + wal_bytes,
        share_bytes: usage.map(|usage| usage.share),
        file_bytes,
        wal_bytes,
        free_bytes,
        parts,
        note,
    }
}

/// Deletes a tenant permanently: its file, its keys, its domains.
#[utoipa::path(delete, path = "/landlord/tenants/{slug}", tag = "landlord", params(("slug" = String,
    Path)), responses((status = 204), (status = 404, description = "`tenant_not_found`")))]
async fn delete_tenant(
    landlord: Landlord,
    PathText(slug): PathText<String>,
) -> Result<StatusCode, Problem> {
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    let delete = move |landlord: &Landlord| {
        let found = landlord.app.stores.directory.tenant_of_slug(&slug).wait()?;
        landlord
            .app
            .stores
            .provisioner
            .delete(&landlord.origin, &slug)?;
        if let Some(access) = found {
            landlord.app.stores.pauses.forget(access.id());
            landlord.app.observation.job_stats.forget(access.id());
            landlord.app.limits.shares.forget(access.id());
        }
        Ok(())
    };
    landlord.blocking(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Suspends a tenant: its data is kept, and it sells nothing.
#[utoipa::path(post, path = "/landlord/tenants/{slug}/suspend", tag = "landlord",
    params(("slug" = String, Path)), responses((status = 200, body = TenantView), (status = 404,
    description = "`tenant_not_found`")))]
async fn suspend_tenant(
    landlord: Landlord,
    PathText(slug): PathText<String>,
) -> Result<Json<TenantView>, Problem> {
    set_suspended(landlord, slug, true).await
}

/// Resumes a suspended tenant.
#[utoipa::path(post, path = "/landlord/tenants/{slug}/resume", tag = "landlord",
    params(("slug" = String, Path)), responses((status = 200, body = TenantView), (status = 404,
    description = "`tenant_not_found`")))]
async fn resume_tenant(
    landlord: Landlord,
    PathText(slug): PathText<String>,
) -> Result<Json<TenantView>, Problem> {
    set_suspended(landlord, slug, false).await
}

async fn set_suspended(
    landlord: Landlord,
    slug: String,
    suspended: bool,
) -> Result<Json<TenantView>, Problem> {
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    let change = landlord
        .app
        .stores
        .directory
        .change(landlord.origin, move |work| {
            Ok::<_, Problem>(commands::set_suspended(work, &slug, suspended)?)
        });
    Ok(Json(change.await?.into()))
}

/// A host name to add to a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDomainBody {
    #[schema(value_type = HostName)]
    host: String,
}

struct AddDomain(HostName);

impl FromBody for AddDomain {
    type Wire = AddDomainBody;

    fn from_wire(wire: AddDomainBody, faults: &mut RequestFaults) -> Option<Self> {
        faults.check("/host", HostName::parse(&wire.host)).map(Self)
    }
}

/// Adds a host name to a tenant; adding it again changes nothing.
#[utoipa::path(post, path = "/landlord/tenants/{slug}/domains", tag = "landlord",
    params(("slug" = String, Path)), request_body = AddDomainBody,
    responses((status = 200, body = TenantView), (status = 404, description = "`tenant_not_found`"),
        (status = 409, description = "`domain_taken`")))]
async fn add_domain(
    landlord: Landlord,
    PathText(slug): PathText<String>,
    Body(AddDomain(host)): Body<AddDomain>,
) -> Result<Json<TenantView>, Problem> {
    let slug = slug_in_path(&landlord.app.stores, &slug).await?;
    let change = landlord
        .app
        .stores
        .directory
        .change(landlord.origin, move |work| {
            Ok::<_, Problem>(commands::add_domain(work, &slug, &host)?)
        });
    Ok(Json(change.await?.into()))
}
