//! The demo shop of `serve --dev`: a corner shop in Berlin with stock, and its API key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::failure::Failure;
use crate::app::{App, Ports, Stores};
use crate::primitives::quantity::QuantityDelta;
use crate::primitives::{
    Country, Currency, DayOrInstant, Measure, Name, Note, Origin, Sku, Slug, TaxClass, TaxRate,
    TimeZone,
};
use crate::storage::{Database, StorageError, Tenant, TenantWork};
use crate::tenancy::commands;
use crate::tenancy::provision::{CreateTenant, ProvisionRefused};
use crate::tenancy::{Scopes, TenantAccess, keys};
use crate::tenant::catalog::{self, CatalogRefused, CreateProduct, Product};
use crate::tenant::inventory::{self, AdjustRefused, AdjustStock};
use crate::tenant::new_shop::{self, NewShop, NewShopTax};
use crate::tenant::settings::NewSettings;
use crate::tenant::tax;

const SLUG: &str = "demo";
const KEY_FILE: &str = "demo.key";

/// SKU, name, price with tax, tax class, stock (`None`: not counted).
const PRODUCTS: &[(&str, &str, i64, &str, Option<i64>)] = &[
    (
        "FLAT-WHITE",
        "Flat white, double shot",
        360,
        tax::STANDARD,
        None,
    ),
    (
        "CROISSANT",
        "Butter croissant, still warm",
        240,
        REDUCED,
        Some(24),
    ),
    ("RYE-LOAF", "Rye sourdough, 1 kg", 690, REDUCED, Some(12)),
    (
        "HONEY-LIME",
        "Linden honey from the park, 250 g",
        850,
        REDUCED,
        Some(18),
    ),
    (
        "LICORICE",
        "Licorice snails, a paper bag",
        190,
        REDUCED,
        Some(60),
    ),
    ("SEA-SALT", "Sea salt in a tin", 520, REDUCED, Some(15)),
    (
        "NOTEBOOK",
        "Notebook, squared, thread-bound",
        1_250,
        tax::STANDARD,
        Some(10),
    ),
    (
        "UMBRELLA",
        "Umbrella, optimist yellow",
        2_490,
        tax::STANDARD,
        Some(3),
    ),
];
const REDUCED: &str = "reduced";
const STANDARD_PPM: i64 = 190_000;
const REDUCED_PPM: i64 = 70_000;

/// The data of the demo shop for the banner.
pub struct Demo {
    /// A key with every scope of a tenant.
    pub key: String,
    /// A product without stock tracking, which never runs out.
    pub product: Product,
}

/// Creates the demo shop at the first start and finds it at later ones. `None` when its file is
/// unavailable; the other tenants still work. Blocks.
pub fn prepare(app: &App) -> Result<Option<Demo>, Failure> {
    let slug = Slug::parse(SLUG).expect("a good slug");
    let path = app.config.storage.data_dir.join(KEY_FILE);
    let found = app
        .stores
        .directory
        .tenant_of_slug(&slug)
        .wait()
        .map_err(failed)?;
    let (access, key) = match found {
        Some(access) => {
            let key = load_or_create_key(&app.stores, &app.ports, &access, &path)?;
            (access, key)
        }
        None => {
            let key = create(&app.stores, slug.clone())?;
            store_key(&path, &key)?;
            let access = app
                .stores
                .directory
                .tenant_of_slug(&slug)
                .wait()
                .map_err(failed)?;
            (access.expect("it was just created"), key)
        }
    };
    match app.stores.registry.open(&access) {
        Ok(db) => Ok(Some(Demo {
            key,
            product: product_to_sell(&db)?,
        })),
        Err(unavailable) => {
            tracing::error!(tenant_id = %access.id(), error = %unavailable,
                "the demo shop is unavailable; the daemon continues without it");
            Ok(None)
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the demo shop cannot be prepared: {error}"))
}

/// Creates tenant, settings and catalog in one step, so that an aborted start leaves no part of
/// them.
fn create(stores: &Stores, slug: Slug) -> Result<String, Failure> {
    let command = CreateTenant {
        slug,
        name: Name::parse("Demo shop").expect("a good name"),
        currency: Currency::parse("EUR").expect("a currency"),
        domains: Vec::new(),
    };
    let created = stores
        .provisioner
        .create(&Origin::system(), &command, |work, command| {
            let shop = NewShop {
                settings: NewSettings {
                    country: Some(Country::parse("DE").expect("a country")),
                    prices_include_tax: true,
                    timezone: TimeZone::parse("Europe/Berlin").expect("a zone"),
                },
                tax: NewShopTax::Rates(rates()),
            };
            new_shop::seed(work, &command.name, command.currency, &shop)?;
            fill(work)
        });
    created
        .map(|created| created.key.secret)
        .map_err(|refused: ProvisionRefused| failed(refused))
}

/// Valid since long ago, so that imported past sales find them.
fn rates() -> Vec<tax::AddRate> {
    let rate = |(class, name, ppm)| tax::AddRate {
        tax_class: TaxClass::parse(class).expect("a good class"),
        name: Name::parse(name).expect("a good name"),
        rate: TaxRate::from_ppm(ppm).expect("a good rate"),
        valid_from: Some(DayOrInstant::parse("2007-01-01").expect("a day")),
    };
    [
        (tax::STANDARD, "VAT 19 %", STANDARD_PPM),
        (REDUCED, "VAT 7 %", REDUCED_PPM),
    ]
    .map(rate)
    .to_vec()
}

fn fill(work: &mut TenantWork) -> Result<(), StorageError> {
    let category =
        catalog::create_category(work, &Name::parse("Corner shop").expect("a good name"))
            .map_err(catalog_fault)?;
    for (sku, name, price_minor, tax_class, stock) in PRODUCTS {
        let product = CreateProduct {
            sku: Sku::parse(sku).expect("a good SKU"),
            barcode: None,
            name: Name::parse(name).expect("a good name"),
            price_minor: *price_minor,
            currency: None,
            tax_class: Some(TaxClass::parse(tax_class).expect("a good class")),
            track_stock: stock.is_some(),
            category_id: Some(category.id),
            measure: Measure::default(),
        };
        let product = catalog::create_product(work, &product).map_err(catalog_fault)?;
        if let Some(stock) = stock {
            let adjustment = AdjustStock {
                product_id: product.id,
                quantity_delta: QuantityDelta::new(*stock).expect("a good number"),
                reason: Note::parse("first delivery").expect("a good note"),
            };
            inventory::adjust_stock(work, &adjustment).map_err(|refused| match refused {
                AdjustRefused::Storage(error) => error,
                refused => panic_on_refusal(&refused),
            })?;
        }
    }
    Ok(())
}

fn catalog_fault(refused: CatalogRefused) -> StorageError {
    match refused {
        CatalogRefused::Storage(error) => error,
        refused => panic_on_refusal(&refused),
    }
}

/// Panics, because the constant demo catalog is valid: only the storage can fail.
fn panic_on_refusal(refused: &dyn std::error::Error) -> ! {
    panic!("the demo shop is refused: {refused}")
}

/// Loads the key from the file if it is still valid for the demo shop, else creates a new one.
fn load_or_create_key(
    stores: &Stores,
    ports: &Ports,
    access: &TenantAccess,
    path: &Path,
) -> Result<String, Failure> {
    if let Ok(stored) = fs::read_to_string(path) {
        let stored = stored.trim();
        let principal = stores.directory.principal(stored).wait().map_err(failed)?;
        if principal
            .and_then(|principal| principal.access)
            .is_some_and(|owner| owner.id() == access.id())
        {
            return Ok(stored.to_owned());
        }
    }
    let key = keys::generate(ports.entropy.as_ref());
    let (id, stored) = (access.id(), key.clone());
    let change = stores.directory.change(Origin::system(), move |work| {
        let name = Name::parse("demo key").expect("a good name");
        commands::insert_key(work, Some(id), &name, Scopes::all_of_a_tenant(), &stored)
    });
    change.wait().map_err(failed)?;
    store_key(path, &key.secret)?;
    Ok(key.secret)
}

fn store_key(path: &Path, key: &str) -> Result<(), Failure> {
    let store = || -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{key}")?;
        file.sync_all()
    };
    store().map_err(|error| failed(format!("cannot write {}: {error}", path.display())))
}

/// Finds the product for the banner's example sale: the first without stock tracking, at its
/// current price.
fn product_to_sell(db: &Database<Tenant>) -> Result<Product, Failure> {
    let sku = Sku::parse(PRODUCTS[0].0).expect("a good SKU");
    let read = db.read(move |view| catalog::find_product_by_sku(view, &sku));
    let product = read.wait().map_err(failed)?;
    product.ok_or_else(|| {
        failed(format!(
            "its product {} is missing; delete the tenant `{SLUG}` and start again",
            PRODUCTS[0].0
        ))
    })
}
